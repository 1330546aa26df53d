"""Starting and stopping the sampler process; what it saw is in lmbench.measure.samples."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lmbench.base.errors import WorkerError
from lmbench.base.scratch import scratch
from lmbench.measure.samples import Samples, parse

DEFAULT_HZ = 20.0
READY_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0


class Sampler:
    """A separate process that follows `pid` and its descendants (itself excluded), 20 times a second by default.

    `start` returns after the first sample, so that its start-up is over before anything is timed. `path` keeps
    the raw lines; without it they lie in a temporary folder that `stop` deletes. The process ends by itself when
    this one does, and then deletes that folder: it leads a session of its own, so that a kill of this one's group
    does not take it along. A sampler that fails never raises: `stop` gives Samples whose `problem` says what happened.
    """

    def __init__(self, pid: int, *, hz: float = DEFAULT_HZ, path: Path | None = None) -> None:
        if hz <= 0:
            raise ValueError(f"found hz={hz}; expected a positive number of samples per second")
        self._pid, self._hz = pid, hz
        self._path = path
        self._folder = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._samples: Samples | None = None

    @property
    def pid(self) -> int | None:
        """The sampler's own process id while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        if self._process is not None or self._samples is not None:
            raise WorkerError("this sampler was started before; make a new one")
        try:
            self._begin()
        except OSError as error:
            self._samples = parse([], f"the sampler cannot start: {error.strerror or error}")
            self._folder.close()

    def _begin(self) -> None:
        own = None
        if self._path is None:
            own = self._folder.enter_context(scratch("sampler"))
            self._path = own / "samples.jsonl"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        options = {"pid": self._pid, "hz": self._hz, "path": str(self._path), "parent": os.getpid()}
        if own is not None:
            options["folder"] = str(own.parent)
        # -P: a json.py in the current folder must not replace the standard library's.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lmbench.measure.sampler_main", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if self._process.stdout is not None:
            select.select([self._process.stdout], [], [], READY_TIMEOUT_S)

    def pause(self) -> None:
        """Freeze the sampler in place (SIGSTOP), to compare rounds with and without it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> Samples:
        """Take a last sample, end the process and return everything it saw; a second call returns the same."""
        if self._samples is None:
            problem = self._end()
            try:
                lines = self._path.read_text(encoding="utf-8").splitlines() if self._path else []
            except OSError as error:
                lines, problem = [], problem or f"the sampler's file cannot be read: {error.strerror}"
            self._samples = parse(lines, problem)
            self._folder.close()
        return self._samples

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self) -> str:
        """Stop the process; the reason why its samples are not complete, or an empty string."""
        process = self._process
        if process is None:
            return "the sampler was never started"
        self._process = None
        process.send_signal(signal.SIGCONT)
        try:
            _, errors = process.communicate(b"q", timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"the sampler did not stop within {STOP_TIMEOUT_S:g} s and was killed"
        if process.returncode == 0:
            return ""
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        return f"the sampler exited with status {process.returncode}: {last[0]}"
