"""A client process as its parent holds it: started, spoken to in JSON lines, and killed with everything it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping
from typing import IO, Any

from lmbench.base.errors import WorkerError
from lmbench.base.scratch import unnamed_file
from lmbench.base.secrets import ending

GRACE_S = 5.0
TAIL_CHARS = 2000


class ClientProcess:
    """One `client_main`. It ends with this process, whatever becomes of it: its standard input is our pipe."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.sent = self.open = 0
        """Of the step being sent, and now, as the process last told."""
        self.cpu_s = self.step_cpu_s = 0.0
        """In all, and since the step began."""
        self.reopened = self.retried = 0
        self.done = False
        """Whether it has answered what it was last asked: to start, to carry out a step, to cancel."""
        self._log: IO[str] = unnamed_file("client")
        # -P: a json.py in the current folder must not replace the standard library's.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lmbench.load.http.client_main"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - Popen was given pipes
        self._input, self._output = self._process.stdin, self._process.stdout
        self._pending: list[bytes] = []
        self._end = weakref.finalize(self, _kill, self._process, self._log)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        """What a selector waits on."""
        return self._output.fileno()

    def say(self, command: Mapping[str, Any]) -> None:
        """Send a command; raises WorkerError when nobody is there to read it."""
        try:
            self._input.write(json.dumps(command, separators=(",", ":")).encode() + b"\n")
            self._input.flush()
        except (BrokenPipeError, ValueError):
            raise WorkerError(self._death()) from None

    def events(self) -> list[dict[str, Any]]:
        """What has come in; call it when there is something to read. Raises WorkerError when the process has ended."""
        piece = os.read(self.fileno(), 1 << 20)
        if not piece:
            raise WorkerError(self._death())
        *lines, rest = piece.split(b"\n")
        found = []
        for line in lines:
            found.append(json.loads(b"".join([*self._pending, line])))
            self._pending.clear()
        if rest:
            self._pending.append(rest)
        return found

    def kill(self) -> None:
        """Leave nothing of it behind."""
        self._end()

    def _death(self) -> str:
        try:
            status = self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            how = "closed its pipe while still running"
        else:
            how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        self._log.seek(0)
        said = ending(self._log.read(), TAIL_CHARS).strip()
        return f"client process {self.number} {how}" + (f"; its last output:\n{said}" if said else "")


def _kill(process: subprocess.Popen[bytes], log: IO[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    log.close()
