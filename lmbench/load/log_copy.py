"""What a server prints, on its way through a pipe into its log: without secrets, also where one comes in two pieces."""

from __future__ import annotations

import os
import select
import threading

from lmbench.base.secrets import conceal

PIECE_BYTES = 1 << 16
HELD_BYTES = 1 << 16
"""The end of a line that has no end yet is held back so far, because the rest of a secret may follow."""
IDLE_S = 0.5
"""A line without an end is written when nothing more has come for so long."""


class LogCopy:
    """Copies from `source` to `target` in a thread, until every writer has closed the pipe."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._lock = threading.Lock()
        self._held = b""
        self._over = self._full = False
        os.set_blocking(source, False)
        self._thread = threading.Thread(target=self._run, name="lmbench-server-log", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Write everything that has been printed by now."""
        with self._lock:
            self._read()
            self._write(b"")

    def _run(self) -> None:
        while not self._over:
            ready = select.select([self._source], [], [], IDLE_S if self._held else None)[0]
            with self._lock:
                if ready:
                    self._read()
                else:
                    self._write(b"")

    def _read(self) -> None:
        """Take what is there, and write all of its whole lines."""
        while not self._over:
            try:
                piece = os.read(self._source, PIECE_BYTES)
            except BlockingIOError:
                return
            self._over = not piece
            whole, end, rest = (self._held + piece).rpartition(b"\n")
            self._held = whole + end + rest
            if self._over:
                self._write(b"")
            elif end:
                self._held = whole + end
                self._write(rest)
            elif len(rest) > 2 * HELD_BYTES:
                masked = _masked(rest)
                self._held = masked[:-HELD_BYTES]
                self._write(masked[-HELD_BYTES:])

    def _write(self, rest: bytes) -> None:
        """Write what is held, and hold `rest`; a log that takes no more must not stop the server."""
        data, self._held = _masked(self._held), rest
        while data and not self._full:
            try:
                data = data[os.write(self._target, data) :]
            except OSError:
                self._full = True


def _masked(data: bytes) -> bytes:
    return conceal(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")
