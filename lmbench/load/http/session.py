"""A step inside one client process: requests leave at absolute moments, or a while after the answer before them."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.load.http.client import Client
from lmbench.load.http.columns import Outbox
from lmbench.load.http.exchange import Exchange
from lmbench.load.http.heart import BEAT_S
from lmbench.load.http.timer import timer
from lmbench.load.requests import COMPLETED, Request
from lmbench.load.targets import PAUSE_S

STOCK = 256
"""Request bodies kept ready; more are asked for when half are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process's part of a step: its k-th request has the number `first + k * stride`.

    `moments` are absolute and sorted; with `streams` they are empty, and the moments come from the answers.
    """

    step: int
    start_s: float
    end_s: float
    first: int
    stride: int
    moments: Sequence[float] = ()
    streams: int = 0
    think_s: float = 0.0
    seed: Sequence[int] = (0,)


class Session:
    """Carries out one part at a time on a client. `want(step, n)` asks for n more bodies, `over()` says that a part has
    ended, `idle()` that nothing is open any more after that.

    A request whose body has not come in time leaves when it comes; its lateness shows as `Request.sender_lag_s`.
    """

    def __init__(
        self,
        client: Client,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
        *,
        want: Callable[[int, int], None],
        over: Callable[[], None],
        idle: Callable[[], None],
    ) -> None:
        self.outbox = Outbox()
        self.step: int | None = None
        self.sent = 0
        """Requests of `step`, the last one begun."""
        self._client, self._loop, self._now, self._want, self._over, self._idle = client, loop, now, want, over, idle
        self._part: Part | None = None
        self._due: list[float] = []
        self._thinks: Iterator[float] = iter(())
        self._stock: dict[int, tuple[bytes, int]] = {}
        self._wanted = 0
        self._pump_timer = timer(loop, self._pump, now)
        self._end_timer = timer(loop, self._end, now)

    def begin(self, part: Part) -> None:
        """Start; the stock is empty then, and `STOCK` bodies are on their way."""
        self._part, self.step, self.sent = part, part.step, 0
        self._stock.clear()
        self._wanted = STOCK
        self._due = list(part.moments)
        if part.streams:
            self._thinks = _thinks(part.think_s, part.seed)
            self._due = sorted(part.start_s + next(self._thinks) for _ in range(part.streams))
        self._end_timer.at(part.end_s)
        self._pump()

    def feed(self, first: int, stride: int, bodies: Sequence[str], asked: Sequence[int]) -> None:
        """Take the bodies of the requests `first`, `first + stride`, ..., and how many tokens each asks for."""
        for place, (text, tokens) in enumerate(zip(bodies, asked, strict=True)):
            self._stock[first + place * stride] = (self._client.wire(text), tokens)
        self._wanted -= len(bodies)
        self._pump()

    def cut(self) -> None:
        """End the part now; what is due later is not sent."""
        if self._part is not None:
            self._finish()

    def stop(self) -> None:
        """End the part without a word."""
        self._part = None
        self._due.clear()

    def _pump(self) -> None:
        """Send everything that is due; an open loop's moments are all here, a closed loop's come in with the answers."""
        part = self._part
        while part is not None and self._due:
            if part.streams and self._due[0] >= part.end_s:
                return
            now = self._now()
            if self._due[0] > now:
                self._pump_timer.at(self._due[0])
                return
            index = part.first + self.sent * part.stride
            stored = self._stock.pop(index, None)
            if stored is None:
                return  # `feed` comes back here
            wire, asked = stored
            request = Request(index=index, step=part.step, scheduled_s=heapq.heappop(self._due), sent_s=now)
            self.sent += 1
            self.outbox.took(request)
            self._client.submit(request, wire, self._ended, asked)
            if len(self._stock) + self._wanted <= STOCK // 2:
                self._wanted += STOCK // 2
                self._want(part.step, STOCK // 2)

    def _ended(self, request: Request, exchange: Exchange) -> None:
        self.outbox.ended(request, exchange)
        part = self._part
        if part is None and not self._client.in_flight:
            self._idle()
        if part is None or not part.streams or request.step != part.step:
            return
        if exchange.status == COMPLETED:
            heapq.heappush(self._due, exchange.finished_s + next(self._thinks))
        else:
            heapq.heappush(self._due, exchange.finished_s + PAUSE_S)
        self._pump()

    def _end(self) -> None:
        part = self._part
        if part is None:
            return
        if self._now() < part.end_s:
            self._end_timer.at(part.end_s)  # it was set for the part before
            return
        self._pump()
        if self._due and not part.streams:  # bodies are late; the schedule is kept to the end
            self._end_timer.at(self._now() + BEAT_S)
        else:
            self._finish()

    def _finish(self) -> None:
        self.stop()
        self._over()


def _thinks(mean_s: float, seed: Sequence[int]) -> Iterator[float]:
    """Exponential think times; drawn many at once, because one draw costs as much as sending a request."""
    if mean_s <= 0:
        while True:
            yield 0.0
    rng = np.random.default_rng(list(seed))
    while True:
        yield from rng.exponential(mean_s, 1024).tolist()
