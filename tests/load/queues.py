"""Queues whose answers are known: first come first served, k slots, solved by recursion; no threads, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmbench.load.attainment import attainment_interval
from lmbench.load.shapes import Passed, Shape, Step
from lmbench.load.slo import Verdict
from lmbench.load.targets import Pulse, Watch

Times = npt.NDArray[np.float64]


def poisson_moments(rate: float, duration_s: float, rng: np.random.Generator) -> Times:
    """Sorted arrival moments in [0, duration_s)."""
    return np.sort(rng.random(rng.poisson(rate * duration_s))) * duration_s


def finish_moments(arrivals: Times, service: Times, slots: int) -> Times:
    """When each request ends: it takes the slot that is free first (Kiefer and Wolfowitz 1955; Lindley 1952 for one slot)."""
    free = [0.0] * slots
    ends = np.empty_like(arrivals)
    for place, (moment, work) in enumerate(zip(arrivals.tolist(), service.tolist(), strict=True)):
        ends[place] = max(moment, heapq.heappop(free)) + work
        heapq.heappush(free, ends[place])
    return ends


def latencies(rate: float, duration_s: float, slots: int, rng: np.random.Generator, *, service_s: float = 1.0) -> Times:
    """Latency of each request of an M/D/k queue that starts empty."""
    arrivals = poisson_moments(rate, duration_s, rng)
    found = np.empty_like(arrivals)
    for slot in range(slots):
        # Equal service times: request i takes the slot of request i - k, so each slot is a queue of its own (Lindley 1952).
        own = arrivals[slot::slots]
        work = service_s * np.arange(1, len(own) + 1)
        found[slot::slots] = np.maximum.accumulate(own - (work - service_s)) + work - own
    return found


def pulses(arrivals: Times, ends: Times, duration_s: float, *, every_s: float = 0.25) -> Iterator[Pulse]:
    """What a watch would have seen of these requests."""
    order = np.argsort(ends)
    sorted_ends, waited = ends[order], (ends - arrivals)[order]
    before = 0
    for moment in np.arange(every_s, duration_s + every_s / 2, every_s):
        sent, ended = int(np.searchsorted(arrivals, moment)), int(np.searchsorted(sorted_ends, moment))
        median = float(np.median(waited[before:ended])) if ended > before else None
        yield Pulse(now_s=float(moment), sent=sent, ended=ended, in_flight=sent - ended, latency_s=median)
        before = ended


def first_alarm(watch: Watch, seen: Iterator[Pulse]) -> tuple[int | None, str]:
    """(number of pulses until the watch spoke, what it said); (None, '') when it never did."""
    for count, pulse in enumerate(seen, start=1):
        if reason := watch(pulse):
            return count, reason
    return None, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An M/D/k service of 1 s per request under 'latency <= limit_s for 95 % of requests'."""

    slots: int
    limit_s: float
    target: float = 0.95

    def flags(self, rate: float, duration_s: float, rng: np.random.Generator) -> list[bool]:
        return [bool(value) for value in latencies(rate, duration_s, self.slots, rng) <= self.limit_s]

    def attainment(self, rate: float, *, requests: int = 400_000) -> float:
        """In the long run; the empty start left out."""
        found = latencies(rate, requests / rate, self.slots, np.random.default_rng(1))
        return float(np.mean(found[len(found) // 20 :] <= self.limit_s))

    def true_limit(self) -> float:
        """The rate at which the long-run attainment equals the target, by bisection on simulations with equal seeds."""
        low, high = 0.1 * self.slots, 1.0 * self.slots
        for _ in range(9):
            middle = (low + high) / 2
            low, high = (middle, high) if self.attainment(middle) >= self.target else (low, middle)
        return (low + high) / 2


def verdict(flags: Sequence[bool], target: float) -> Verdict:
    """As the service-level objective judges these requests."""
    if not flags:
        return Verdict(requests=0, good=0, attainment=None, low=None, high=None, met=True, target=target)
    low, high = attainment_interval(flags)
    share = sum(flags) / len(flags)
    return Verdict(requests=len(flags), good=sum(flags), attainment=share, low=low, high=high, met=share >= target, target=target)


Judge = Callable[[Step], tuple[Verdict, str]]
"""What a step comes to: its verdict, and why it was cut if it was."""


def run(shape: Shape, judge: Judge, *, most: int = 500) -> list[Passed]:
    """Every step the shape asks for, in virtual time."""
    past: list[Passed] = []
    moment = 0.0
    while (step := shape.next_step(past, moment)) is not None:
        found, cut = judge(step)
        past.append(Passed(step=step, verdict=found, cut=cut))
        moment = step.end_s + 1.0
        if len(past) > most:
            raise AssertionError(f"the shape asked for more than {most} steps")
    return past
