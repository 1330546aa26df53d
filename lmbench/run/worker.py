"""The process a case runs in: reads one request from standard input, answers with JSON lines on its own pipe.

    python -m lmbench.run.worker PIPE_FD

Request   {"case": {...}, "setting": {...}, "pins": {...}}
Events    {"event": "progress", "text": "..."}                        any number
          {"event": "record", "record": {...}}                        last, or
          {"event": "unavailable", "reason": "...", "remedy": "..."}  last

Standard output and error belong to the engines, which print what they like there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TextIO

from lmbench.base.errors import Unavailable
from lmbench.measure.objectives import Pin
from lmbench.plan.case import Case
from lmbench.record.codec import to_json
from lmbench.record.record import ERROR, Failure, Record
from lmbench.run.execute import Setting, execute


def serve(request: Mapping[str, Any], pipe: TextIO) -> None:
    """Run the requested case and write its events to `pipe`."""

    def send(event: Mapping[str, Any]) -> None:
        pipe.write(json.dumps(event, allow_nan=False) + "\n")
        pipe.flush()

    try:
        record = execute(
            Case.from_json(request["case"]),
            Setting(**request["setting"], pins={name: Pin(**pin) for name, pin in request.get("pins", {}).items()}),
            progress=lambda text: send({"event": "progress", "text": text}),
        )
        send({"event": "record", "record": _plain(record)})
    except Unavailable as lack:
        send({"event": "unavailable", "reason": lack.reason, "remedy": lack.remedy})


def _plain(record: Record) -> dict[str, Any]:
    """The record as JSON; one that holds what JSON cannot is answered as a failure that says where."""
    try:
        return to_json(record)
    except (TypeError, ValueError) as error:
        failure = Failure(kind="RecordError", message=f"the case ended, and its record cannot be stored: {error}")
        empty: dict[str, Any] = {"metrics": {}, "series": {}, "details": {}, "subject": {}, "resources": {}}
        return to_json(replace(record, status=ERROR, failure=failure, primary=None, **empty))


def leave_with_parent(answered: threading.Event) -> None:
    """End this process when its standard input does before it has answered: whoever asked for the case is dead.

    What it started goes with it, where it leads a group of its own.
    """
    sys.stdin.read()
    if answered.is_set():
        return
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def main() -> None:
    """Entry point of the worker process."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the user's own models are imported from where pytest was started
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as pipe:
        request = json.loads(sys.stdin.readline())
        answered = threading.Event()
        threading.Thread(target=leave_with_parent, args=(answered,), daemon=True).start()
        serve(request, pipe)
        answered.set()


if __name__ == "__main__":
    main()
