"""What the client processes have told of their requests, put together so that none is lost; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lmbench.load.http.columns import Batch
from lmbench.load.requests import FAILED, Request, RequestLog


class Ledger:
    """Every request by its number. Batches are only kept as they come in; they are read when somebody asks.

    The numbers a closed loop's processes give have gaps where one was faster; `close_gaps` makes them dense.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[int, Batch]] = []
        self._open: dict[int, tuple[int, Request]] = {}
        self._ended: dict[int, RequestLog] = {}
        self._fresh: list[RequestLog] = []
        self._gaps: dict[int, tuple[int, Sequence[int]]] = {}

    def take(self, process: int, batch: Batch) -> None:
        """Keep what a process told."""
        self._batches.append((process, batch))

    def logs(self) -> tuple[RequestLog, ...]:
        """Every request so far in order of number, pending where its end is not known."""
        self._read()
        pending = {index: RequestLog(request=request, started_s=request.sent_s) for index, (_, request) in self._open.items()}
        merged = self._ended | pending
        return tuple(merged[index] for index in sorted(merged))

    def take_fresh(self) -> list[RequestLog]:
        """What ended since the last call. In a closed loop of several processes the numbers may still have gaps."""
        self._read()
        fresh, self._fresh = self._fresh, []
        return fresh

    def close_gaps(self, step: int, first: int, sent: Sequence[int]) -> None:
        """Renumber a closed loop's step whose process p sent `sent[p]` requests, numbered `first + p + k * len(sent)`."""
        self._read()
        if len(sent) < 2:
            return
        open_then = [self._open.pop(index) for index, (_, request) in list(self._open.items()) if request.step == step]
        ended_then = [self._ended.pop(index) for index, log in list(self._ended.items()) if log.request.step == step]
        self._gaps[step] = (first, sent)
        for process, request in open_then:
            dense = self._dense(request)
            self._open[dense.index] = (process, dense)
        for log in ended_then:
            dense = self._dense(log.request)
            self._ended[dense.index] = replace(log, request=dense)

    def fail_unknown(self, requests: Sequence[Request], process: int) -> None:
        """Add requests that a process should have taken up, where it did not tell so before it died."""
        self._read()
        for request in requests:
            if request.index not in self._ended:
                self._open.setdefault(request.index, (process, request))

    def fail(self, process: int, error: str, now: float) -> None:
        """End everything that is open at a process."""
        self._read()
        for index in [index for index, (owner, _) in self._open.items() if owner == process]:
            _, request = self._open.pop(index)
            self._end(RequestLog(request=request, status=FAILED, finished_s=now, error=error))

    def _read(self) -> None:
        batches, self._batches = self._batches, []
        for process, batch in batches:
            for request in batch.requests():
                dense = self._dense(request)
                self._open[dense.index] = (process, dense)
            for log in batch.logs():
                dense = self._dense(log.request)
                del self._open[dense.index]
                self._end(log if dense is log.request else replace(log, request=dense))

    def _end(self, log: RequestLog) -> None:
        self._ended[log.request.index] = log
        self._fresh.append(log)

    def _dense(self, request: Request) -> Request:
        if request.step not in self._gaps:
            return request
        first, sent = self._gaps[request.step]
        round_, process = divmod(request.index - first, len(sent))
        before = sum(min(count, round_ + (other < process)) for other, count in enumerate(sent))
        return replace(request, index=first + before)
