"""The subject in this process as a service: a bounded queue before a pool of worker threads, one by one or in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from lmbench.load.requests import CANCELLED, COMPLETED, FAILED, REJECTED, Request, RequestLog
from lmbench.measure.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What serving one request gave: the moment of every token on the run's clock."""

    token_times_s: tuple[float, ...]
    prompt_tokens: int | None = None


Serve = Callable[[Sequence[Request]], Sequence[Reply]]
"""Serves requests together, one reply each in the same order. Whatever it raises fails all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """Dynamic batching: up to `max_size` waiting requests are served together, the first waiting at most `max_wait_s`.

    Static within a batch: it ends for all of them when the longest answer is complete. `alike` tells requests that may share
    a batch (equal keys).
    """

    max_size: int = 1
    max_wait_s: float = 0.0
    alike: Callable[[Request], object] = lambda _: None


class InProcess:
    """`threads` serve first come, first served; more than `queue_limit` waiting are rejected. They end with the service.

    Every request brings one turn to the pool, and a turn serves the batch it finds, or nothing when another turn took it
    along. An exception of `serve` makes its requests failed, with the reason; no request is ever lost.
    """

    def __init__(
        self, serve: Serve, clock: Clock, *, threads: ThreadPoolExecutor, queue_limit: int, batching: Batching | None = None
    ) -> None:
        self._serve = serve
        self._clock = clock
        self._queue_limit = queue_limit
        self._batching = batching or Batching()
        self._logs: list[RequestLog] = []
        self._places: dict[int, int] = {}
        self._waiting: deque[Request] = deque()
        self._ended: list[RequestLog] = []
        self._open = 0
        self._closing = False
        self._changed = threading.Condition()
        self._threads = threads

    @property
    def queue_depth(self) -> int:
        return len(self._waiting)

    def submit(self, request: Request) -> None:
        with self._changed:
            self._places[request.index] = len(self._logs)
            self._logs.append(RequestLog(request=request))
            self._open += 1
            if len(self._waiting) >= self._queue_limit:
                reason = f"{len(self._waiting)} requests were waiting; the queue holds {self._queue_limit}"
                self._end(request, status=REJECTED, error=reason)
                return
            self._waiting.append(request)
            self._changed.notify_all()
        batch: list[Request] = []
        self._threads.submit(self._turn, batch).add_done_callback(lambda done: self._answered(batch, done))

    def take_ended(self) -> list[RequestLog]:
        with self._changed:
            ended, self._ended = self._ended, []
            return ended

    def wait_ended(self, until: float) -> None:
        with self._changed:
            while not self._ended and (left := until - self._clock.now()) > 0:
                self._changed.wait(left)

    def settle(self, until: float) -> bool:
        with self._changed:
            while self._open and (left := until - self._clock.now()) > 0:
                self._changed.wait(left)
            return self._open == 0

    def logs(self) -> tuple[RequestLog, ...]:
        with self._changed:
            return tuple(self._logs)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            while self._waiting:
                now = self._clock.now()
                self._end(self._waiting.popleft(), status=CANCELLED, finished_s=now, error="still waiting when the run ended")
            self._changed.notify_all()
        self._threads.shutdown(wait=True)

    def _turn(self, batch: list[Request]) -> Sequence[Reply]:
        """Fill `batch` with what is served in this turn, and serve it."""
        self._gather(batch)
        return self._serve(batch) if batch else ()

    def _gather(self, batch: list[Request]) -> None:
        with self._changed:
            if not self._waiting:
                return
            batch.append(self._waiting.popleft())
            key = self._batching.alike(batch[0])
            deadline = self._clock.now() + self._batching.max_wait_s
            while len(batch) < self._batching.max_size:
                if self._waiting and self._batching.alike(self._waiting[0]) == key:
                    batch.append(self._waiting.popleft())
                elif self._waiting or self._closing or (left := deadline - self._clock.now()) <= 0:
                    break
                else:
                    self._changed.wait(left)
            started = self._clock.now()
            for request in batch:
                place = self._places[request.index]
                self._logs[place] = replace(self._logs[place], started_s=started)

    def _answered(self, batch: Sequence[Request], done: Future[Sequence[Reply]]) -> None:
        fault = done.exception()
        replies = () if fault is not None else done.result()
        now = self._clock.now()
        with self._changed:
            for place, request in enumerate(batch):
                if place < len(replies):
                    self._complete(request, replies[place])
                else:
                    error = f"{type(fault).__name__}: {fault}" if fault is not None else "no reply was given"
                    self._end(request, status=FAILED, finished_s=now, error=error)

    def _complete(self, request: Request, reply: Reply) -> None:
        moments = reply.token_times_s
        self._end(
            request,
            status=COMPLETED,
            first_token_s=moments[0],
            token_times_s=moments,
            finished_s=moments[-1],
            tokens=len(moments),
            prompt_tokens=reply.prompt_tokens,
        )

    def _end(self, request: Request, **outcome: Any) -> None:
        """Write a request's end down; the lock is held."""
        place = self._places[request.index]
        self._logs[place] = replace(self._logs[place], **outcome)
        self._ended.append(self._logs[place])
        self._open -= 1
        self._changed.notify_all()
