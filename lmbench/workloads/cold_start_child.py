"""The process of one cold start: import, build, load, first token, each timed; the answer goes into a file.

    python -m lmbench.workloads.cold_start_child   < {"case": {...}, "ids": [...], "started": seconds, "answer": path}

What production would not do at a start is done between the parts and told as `uncounted`: reading the corpus, and for an engine
with a file of its own building the model the file was made of.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.registry import BACKENDS
from lmbench.data import corpora
from lmbench.measure.clock import CLOCK
from lmbench.plan.case import Case
from lmbench.subject import build


def parts(request: Mapping[str, Any]) -> dict[str, float]:
    """Seconds of each part; `started` of the request is on the same clock, read before this process was made."""
    case = Case.from_json(request["case"])
    backend = BACKENDS[case.backend.kind]
    moments = [float(request["started"]), CLOCK.now()]
    for need in backend.needs:
        importlib.import_module(need.module)
    moments.append(CLOCK.now())
    corpus = corpora.load(case.corpus)
    read = CLOCK.now()
    model = build.load_model(case, corpus)
    level = build.load_level(case, corpus)
    changed = build.compress(case, model, level)
    built = CLOCK.now()
    own_file = build.export(case, changed, level) is not None
    ready = CLOCK.now()
    subject = build.load(case, model, changed, level)
    loaded = CLOCK.now()
    subject.prefill(np.array([request["ids"]], dtype=np.int64))
    answered = CLOCK.now()
    return {
        "startup": moments[1] - moments[0],
        "import": moments[2] - moments[1],
        "build": 0.0 if own_file else built - read,
        "load": loaded - ready,
        "first_token": answered - loaded,
        "uncounted": (read - moments[2]) + (built - read if own_file else 0.0) + (ready - built),
    }


def main() -> None:
    """Entry point; standard output belongs to the engines."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the user's own models are imported from where pytest was started
    request = json.loads(sys.stdin.read())
    answer = Path(request["answer"])
    found = parts(request)
    scratch = answer.with_suffix(".part")
    scratch.write_text(json.dumps(found), encoding="utf-8")
    scratch.rename(answer)


if __name__ == "__main__":
    main()
