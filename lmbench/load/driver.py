"""A service of this process as a target: requests leave at their moments whatever became of those before, or as answers come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from statistics import median
from typing import Protocol

import numpy as np

from lmbench.load.requests import Request, RequestLog
from lmbench.load.shapes import Step
from lmbench.load.targets import PAUSE_S, PULSE_S, Pulse, Sent, Watch
from lmbench.measure.clock import Clock


class Service(Protocol):
    """Something in this process that takes requests."""

    @property
    def queue_depth(self) -> int:
        """Requests accepted and not yet started."""

    def submit(self, request: Request) -> None:
        """Hand a request over; returns at once."""

    def take_ended(self) -> list[RequestLog]:
        """Requests that ended since this was last asked."""

    def wait_ended(self, until: float) -> None:
        """Wait until some request ends that `take_ended` has not given yet, no longer than `until`."""

    def settle(self, until: float) -> bool:
        """Wait, no longer than `until`, for everything submitted to end; True when it has."""

    def logs(self) -> tuple[RequestLog, ...]:
        """Every request submitted so far, in order of submission."""

    def close(self) -> None:
        """Cancel what waits, let what runs finish; afterwards nothing is pending."""


class Driven:
    """Target over a service of this process.

    The open loop sleeps in the kernel until each moment and never waits for a completion (coordinated omission: G. Tene,
    "How NOT to Measure Latency", 2013). A request whose moment has passed leaves at once, and its lag stays visible as
    `Request.sender_lag_s`. In the closed loop a request is due when its stream's think time is over.
    """

    lead_s = 0.0

    def __init__(self, service: Service, clock: Clock, *, seed: int = 0) -> None:
        self.service = service
        self.clock = clock
        self._seed = seed
        self._sent = 0
        self._ended = 0
        self._early: list[RequestLog] = []
        self._fresh: list[RequestLog] = []

    def send(self, schedule: Sequence[float], step: Step, *, first_index: int, watch: Watch) -> Sent:
        look = _Look(self, step, watch)
        if step.streams is not None:
            return self._closed(step, step.streams, first_index, look)
        for number, offset in enumerate(schedule):
            scheduled = step.start_s + float(offset)
            if look.until(scheduled):
                return look.sent(offered=len(schedule), sent=number)
            self._submit(first_index + number, step, scheduled)
            look.deeper(self.service.queue_depth)
        look.until(step.end_s)
        return look.sent(offered=len(schedule), sent=len(schedule))

    def settle(self, until: float) -> bool:
        return self.service.settle(until)

    def logs(self) -> tuple[RequestLog, ...]:
        return self.service.logs()

    def close(self) -> None:
        self.service.close()

    def take_ended(self) -> list[RequestLog]:
        """What ended since the last call, counted."""
        ended, self._early = self._early + self._collected(), []
        return ended

    def take_fresh(self) -> list[RequestLog]:
        self._early += self._collected()
        fresh, self._fresh = self._fresh, []
        return fresh

    def _collected(self) -> list[RequestLog]:
        ended = self.service.take_ended()
        self._ended += len(ended)
        self._fresh += ended
        return ended

    @property
    def in_flight(self) -> int:
        """Sent and not seen to have ended."""
        return self._sent - self._ended

    def _submit(self, index: int, step: Step, scheduled: float) -> None:
        self._sent += 1
        request = Request(index=index, step=step.index, scheduled_s=scheduled, sent_s=self.clock.now())
        self.service.submit(request)

    def _closed(self, step: Step, streams: int, first_index: int, look: _Look) -> Sent:
        """Every stream sends, waits for its answer, thinks (exponentially, mean `think_s`), and sends again."""
        rng = np.random.default_rng([self._seed, step.index])
        due = sorted(step.start_s + _think(rng, step) for _ in range(streams))
        sent, open_now = 0, set[int]()
        while not look.cut and (now := self.clock.now()) < step.end_s:
            for log in look.take():
                if log.request.index in open_now:
                    open_now.discard(log.request.index)
                    ended = log.finished_s if log.finished_s is not None else now
                    heapq.heappush(due, ended + (_think(rng, step) if log.completed else PAUSE_S))
            if due and due[0] <= now:
                open_now.add(first_index + sent)
                self._submit(first_index + sent, step, heapq.heappop(due))
                look.deeper(self.service.queue_depth)
                sent += 1
                continue
            until = min([step.end_s, look.next_s, *due[:1]])
            self.service.wait_ended(until) if open_now else self.clock.sleep_until(until)
            look.until(min(self.clock.now(), step.end_s))
        return look.sent(offered=sent, sent=sent)


def _think(rng: np.random.Generator, step: Step) -> float:
    return float(rng.exponential(step.think_s)) if step.think_s else 0.0


class _Look:
    """The pulses of one step, and the deepest queue seen."""

    def __init__(self, driven: Driven, step: Step, watch: Watch) -> None:
        self._driven = driven
        self._watch = watch
        self._before = (driven._sent, driven._ended)
        self._latencies: list[float] = []
        self._fresh: list[RequestLog] = []
        self._deepest = 0
        self.next_s = step.start_s + PULSE_S
        self.cut = ""
        self._cut_s: float | None = None

    def until(self, moment: float) -> str:
        """Sleep until `moment`, looking whenever a pulse is due; returns why to stop."""
        clock = self._driven.clock
        while not self.cut and self.next_s <= moment:
            clock.sleep_until(self.next_s)
            self.cut = self._watch(self._pulse(clock.now()))
            self._cut_s = clock.now() if self.cut else None
            self.next_s = max(self.next_s, clock.now()) + PULSE_S
        if not self.cut:
            clock.sleep_until(moment)
        return self.cut

    def take(self) -> list[RequestLog]:
        """What ended since this was last asked; the pulses hear of it too."""
        self._collect()
        fresh, self._fresh = self._fresh, []
        return fresh

    def deeper(self, depth: int) -> None:
        self._deepest = max(self._deepest, depth)

    def sent(self, *, offered: int, sent: int) -> Sent:
        depth = self._driven.service.queue_depth
        return Sent(
            offered=offered, sent=sent, queue_depth_max=self._deepest, queue_depth_end=depth, cut=self.cut, cut_s=self._cut_s
        )

    def _collect(self) -> None:
        ended = self._driven.take_ended()
        self._fresh += ended
        self._latencies += [log.latency_s for log in ended if log.latency_s is not None]

    def _pulse(self, now: float) -> Pulse:
        self._collect()
        latencies, self._latencies = self._latencies, []
        sent, ended = self._driven._sent - self._before[0], self._driven._ended - self._before[1]
        typical = median(latencies) if latencies else None
        return Pulse(now_s=now, sent=sent, ended=ended, in_flight=self._driven.in_flight, latency_s=typical)
