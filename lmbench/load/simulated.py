"""A service in virtual time: known service times, first come first served, solved as each request arrives."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from lmbench.load.requests import CANCELLED, COMPLETED, FAILED, REJECTED, Request, RequestLog
from lmbench.measure.clock import Clock

ServiceTime = Callable[[Request], float]
"""Seconds of service of a request; a negative number makes it fail after that many seconds."""


class Simulated:
    """`workers` servers with one FIFO queue: Lindley's recursion, so one thread and a ManualClock are enough.

    A request's fate is known when it is submitted; `logs` shows only what has happened by `clock.now()`.
    The first token of `tokens` comes after 1 / tokens of the service time.
    """

    def __init__(
        self, service_s: ServiceTime, clock: Clock, *, workers: int = 1, queue_limit: int = 1_000_000, tokens: int = 2
    ) -> None:
        self._service_s = service_s
        self._clock = clock
        self._queue_limit = queue_limit
        self._tokens = tokens
        self._free_at = [0.0] * workers
        self._logs: list[RequestLog] = []
        self._starts: list[float] = []
        self._ends: list[tuple[float, int]] = []
        """(moment, place in `_logs`) of what `take_ended` has not given yet."""
        self._closed_at: float | None = None

    @property
    def queue_depth(self) -> int:
        now = self._clock.now()
        while self._starts and self._starts[0] <= now:
            heapq.heappop(self._starts)
        return len(self._starts)

    def submit(self, request: Request) -> None:
        place = len(self._logs)
        if self.queue_depth >= self._queue_limit:
            self._logs.append(RequestLog(request=request, status=REJECTED, error="the queue was full"))
            heapq.heappush(self._ends, (request.sent_s, place))
            return
        service = self._service_s(request)
        started = max(request.sent_s, heapq.heappop(self._free_at))
        finished = started + abs(service)
        heapq.heappush(self._free_at, finished)
        heapq.heappush(self._starts, started)
        heapq.heappush(self._ends, (finished, place))
        failed = service < 0
        moments = tuple(started + service * (number + 1) / self._tokens for number in range(self._tokens))
        self._logs.append(
            RequestLog(
                request=request,
                status=FAILED if failed else COMPLETED,
                started_s=started,
                first_token_s=None if failed else moments[0],
                token_times_s=() if failed else moments,
                finished_s=finished,
                tokens=0 if failed else self._tokens,
                error="the simulated service failed" if failed else "",
            )
        )

    def take_ended(self) -> list[RequestLog]:
        ended = []
        while self._ends and self._ends[0][0] <= self._clock.now():
            ended.append(self._logs[heapq.heappop(self._ends)[1]])
        return ended

    def wait_ended(self, until: float) -> None:
        self._clock.sleep_until(min([until, *(moment for moment, _ in self._ends[:1])]))

    def settle(self, until: float) -> bool:
        last = max((log.finished_s for log in self._logs if log.finished_s is not None), default=self._clock.now())
        self._clock.sleep_until(min(until, last))
        return last <= until

    def logs(self) -> tuple[RequestLog, ...]:
        now = self._clock.now()
        return tuple(_as_of(log, now, self._closed_at) for log in self._logs)

    def close(self) -> None:
        self._closed_at = self._clock.now()
        running = (log.finished_s for log in self._logs if _running(log, self._closed_at))
        self._clock.sleep_until(max((moment for moment in running if moment is not None), default=self._closed_at))


def _running(log: RequestLog, now: float) -> bool:
    return log.started_s is not None and log.started_s <= now


def _as_of(log: RequestLog, now: float, closed_at: float | None) -> RequestLog:
    """The log as an observer at `now` sees it."""
    if log.status == REJECTED or (log.finished_s is not None and log.finished_s <= now):
        return log
    if closed_at is not None:
        return RequestLog(request=log.request, status=CANCELLED, finished_s=closed_at, error="still waiting when the run ended")
    started = log.started_s if _running(log, now) else None
    first = log.first_token_s if log.first_token_s is not None and log.first_token_s <= now else None
    return RequestLog(request=log.request, started_s=started, first_token_s=first)
