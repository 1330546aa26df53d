"""Keeps a run's request log up to date from a thread of its own, so that neither Ctrl-C nor a slow disk meets the sender."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import SimpleQueue

from lmbench.base.files import why
from lmbench.load.request_log import RequestLogWriter
from lmbench.load.requests import PENDING, RequestLog


class LogKeeper:
    """Writes what it is handed within moments and in order; `finish` makes the log whole, `close` ends the thread."""

    def __init__(self, writer: RequestLogWriter) -> None:
        self._writer = writer
        self._queue: SimpleQueue[Sequence[RequestLog] | None] = SimpleQueue()
        self._fault: OSError | ValueError | None = None
        self.problem = ""
        """Why the log is not whole, once it is finished."""
        self._written, self._sum = 0, 0
        self._thread = threading.Thread(target=self._write, name="lmbench-request-log", daemon=True)
        self._thread.start()

    def keep(self, logs: Sequence[RequestLog]) -> None:
        """Hand requests over to be written. A log that cannot be written stops no run: `finish` tries once more."""
        if self._fault is None:
            self._queue.put(logs)

    def finish(self, logs: Sequence[RequestLog]) -> None:
        """End the log of a run whose requests are `logs`. It is written anew where it differs from what was handed over.

        It differs where an interruption fell between the taking of a request and its hand-over, and after a closed loop of
        several processes, whose numbers are made dense when it is over; and where an earlier write failed.
        """
        self.close()
        ended = [log for log in logs if log.status != PENDING]
        try:
            if self._fault is not None or (self._written, self._sum) != (len(ended), _sum(ended)):
                self._writer.replace(ended)
            self._writer.sync()
        except OSError as error:
            self.problem = why(error)

    def close(self) -> None:
        """Write what was handed over and end the thread; a second call does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _write(self) -> None:
        while (logs := self._queue.get()) is not None:
            if self._fault is not None:
                continue
            try:
                self._writer.write(logs)
            except (OSError, ValueError) as error:
                self._fault = error
            self._written += len(logs)
            self._sum += _sum(logs)


def _sum(logs: Sequence[RequestLog]) -> int:
    """A number that is the same for the same requests in any order."""
    return sum(hash((log.request.step, log.request.index)) for log in logs)
