"""cold_start: from nothing to the first token, in fresh processes one after another: what a new replica takes to answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from statistics import median

from lmbench.base.errors import WorkloadError
from lmbench.base.scratch import scratch
from lmbench.base.secrets import ending
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.statistics import distribution
from lmbench.suite.params import ColdStartParams
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described
from lmbench.workloads.generation import prompt_pool, require_room

CHILD = "lmbench.workloads.cold_start_child"
PARTS = ("startup", "import", "build", "load", "first_token")
LOG_TAIL_CHARS = 1500
FROM_PAGE_CACHE = "files were in the page cache: a machine that reads them from its disk for the first time takes longer"


def run(context: Context) -> Measurement:
    """Check the subject here, then start one process after another; each loads it and answers one prompt.

    `cold_start` is the sum of its parts. startup: the interpreter and lmbench. import: the engine's libraries. build: the weights
    into a model and the level's changes of it, 0 for an engine with a file of its own, whose making is `export_s`. load: model
    or file into the engine. first_token: one forward pass over the prompt, with whatever the engine does at its first call.
    """
    params = ColdStartParams.model_validate(context.case.params)
    subject = context.build.subject()
    try:
        require_room(subject, params.prompt_tokens, 1)
        facts = subject.engine.describe()
    finally:
        subject.close()
    starts = 1 if context.once else params.starts
    ids = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=1, seed=context.case.seed)
    found = []
    for index in range(starts):
        context.progress(f"cold start {index + 1} of {starts}")
        found.append(start(context, [int(one) for one in ids.take(1)[0]], params.start_timeout_s))
    series = {part: tuple(one[part] for one in found) for part in PARTS}
    series["cold_start"] = tuple(sum(one[part] for part in PARTS) for one in found)
    return Measurement(
        metrics=as_mapping([*_metrics(series), described("disk_bytes", facts)]),
        series=series,
        primary="cold_start",
        details={"starts": starts, "prompt_tokens": params.prompt_tokens, "uncounted_s": [one["uncounted"] for one in found]},
        notes=(FROM_PAGE_CACHE,),
    )


def start(context: Context, ids: list[int], timeout_s: float) -> Mapping[str, float]:
    """The parts of one cold start, in seconds; WorkloadError when the process fails."""
    with scratch("cold") as folder:
        answer = folder / "answer.json"
        request = {"case": context.case.to_json(), "ids": ids, "started": context.clock.now(), "answer": str(answer)}
        try:
            done = subprocess.run(
                [sys.executable, "-m", CHILD],
                input=json.dumps(request),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise WorkloadError(
                f"no first token {timeout_s:g} s after the process was started; raise start_timeout_s if it takes longer"
            ) from None
        if done.returncode or not answer.exists():
            words = ending((done.stderr or done.stdout).strip(), LOG_TAIL_CHARS)
            raise WorkloadError(f"the process of a cold start ended with status {done.returncode} and no answer:\n{words}")
        parts: Mapping[str, float] = json.loads(answer.read_text(encoding="utf-8"))
    return parts


def _metrics(series: Mapping[str, tuple[float, ...]]) -> list[Metric]:
    count = len(series["cold_start"])
    startup = tuple(a + b for a, b in zip(series["startup"], series["import"], strict=True))
    middle = {"startup_s": startup, "load_s": series["load"], "first_call_s": series["first_token"]}
    return [*distribution("cold_start", series["cold_start"]), *(metric(name, median(v), n=count) for name, v in middle.items())]
