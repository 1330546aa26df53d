"""Where requests go: the seam (Target) and the subject in this process behind a pool of worker threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from lmbench.load.requests import COMPLETED, FAILED, REJECTED, Request, RequestLog
from lmbench.measure.clock import Clock


class Target(Protocol):
    """Something that takes requests without making the sender wait."""

    @property
    def queue_depth(self) -> int:
        """Requests accepted and not yet started."""

    def submit(self, request: Request) -> None:
        """Hand a request over; returns at once."""

    def settle(self, until: float) -> bool:
        """Wait, no longer than `until`, for everything submitted to end; True when it has."""

    def logs(self) -> tuple[RequestLog, ...]:
        """Every request submitted so far, in order of submission."""

    def close(self) -> None:
        """Drop what waits (it becomes failed), let what runs finish; afterwards nothing is pending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What serving one request gave: moments on the run's clock, and the number of tokens per sequence."""

    first_token_s: float
    finished_s: float
    tokens: int


Serve = Callable[[Request], Reply]


class InProcess:
    """`workers` threads serve requests first come, first served; more than `queue_limit` waiting are rejected.

    An exception of `serve` makes its request failed, with the reason; no request is ever lost.
    """

    def __init__(self, serve: Serve, clock: Clock, *, workers: int, queue_limit: int) -> None:
        self._serve = serve
        self._clock = clock
        self._queue_limit = queue_limit
        self._logs: list[RequestLog] = []
        self._open = 0
        self._waiting = 0
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="lmbench-target")

    @property
    def queue_depth(self) -> int:
        return self._waiting

    def submit(self, request: Request) -> None:
        with self._changed:
            place = len(self._logs)
            if self._waiting >= self._queue_limit:
                reason = f"{self._waiting} requests were waiting; the queue holds {self._queue_limit}"
                self._logs.append(RequestLog(request=request, status=REJECTED, error=reason))
                return
            self._logs.append(RequestLog(request=request))
            self._waiting += 1
            self._open += 1
        future = self._pool.submit(self._run, place, request)
        future.add_done_callback(lambda done: self._ended(place, done))

    def settle(self, until: float) -> bool:
        with self._changed:
            while self._open and (left := until - self._clock.now()) > 0:
                self._changed.wait(left)
            return self._open == 0

    def logs(self) -> tuple[RequestLog, ...]:
        with self._changed:
            return tuple(self._logs)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, place: int, request: Request) -> Reply:
        with self._changed:
            self._waiting -= 1
            self._logs[place] = replace(self._logs[place], started_s=self._clock.now())
        return self._serve(request)

    def _ended(self, place: int, done: Future[Reply]) -> None:
        with self._changed:
            started = self._logs[place]
            self._logs[place] = _outcome(started, done, self._clock.now())
            if started.started_s is None:
                self._waiting -= 1
            self._open -= 1
            self._changed.notify_all()


def _outcome(log: RequestLog, done: Future[Reply], now: float) -> RequestLog:
    if done.cancelled():
        return replace(log, status=FAILED, error="still waiting when the run ended")
    if (error := done.exception()) is not None:
        return replace(log, status=FAILED, finished_s=now, error=f"{type(error).__name__}: {error}")
    reply = done.result()
    return replace(log, status=COMPLETED, first_token_s=reply.first_token_s, finished_s=reply.finished_s, tokens=reply.tokens)
