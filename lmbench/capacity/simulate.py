"""Replicas behind a router, simulated: first come first served in each, measured service times drawn again, many lanes at once.

A lane is one shard of `replicas` at one rate with random numbers of its own. All lanes advance together, one arrival each per
step, so that numpy does the work: a day's levels of load and their repetitions cost little more than one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from lmbench.capacity.sharing import Route, Times, Whole, shared_latencies

Draw = Callable[[np.random.Generator, tuple[int, int]], Times]
"""(random numbers, shape) -> service times in seconds."""
POLICIES = ("random", "round-robin", "least-loaded", "power-of-two")
FORGETTING = 6.0
"""Arrivals that only fill the queues, in multiples of those in which an M/M/k queue forgets how it started."""
SEEN = 64
"""Requests of one replica beyond its slots whose ends are remembered, to tell how many are in it: more is an overload anyway."""
BLOCK = 256
"""Arrivals drawn at once."""
PILOT = 20_000
"""Service times drawn to learn their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Some replicas behind one router, each serving `slots` requests at once; or, where `shared` is given, all it has, that many
    of them as fast as one alone (see sharing).
    """

    replicas: int
    slots: int
    policy: str
    shared: float | None = None

    @property
    def capacity(self) -> float:
        """Requests that one replica serves at full speed."""
        return self.slots if self.shared is None else self.shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What the requests of each lane met after the warm-up: arrays [lanes, requests], in seconds."""

    wait_s: Times
    """Of replicas that share, what sharing cost: the latency over what the request takes alone."""
    service_s: Times
    utilization: Times
    """[lanes]: busy share of the capacity."""

    @property
    def latency_s(self) -> Times:
        """From arrival to the last token."""
        return self.wait_s + self.service_s


def simulate(shard: Shard, rates: Times, draw: Draw, *, arrivals: int, seed: int) -> Simulated:
    """Poisson arrivals at `rates` [lanes], in requests/s for the whole shard; each lane keeps `arrivals` of them.

    Those of `warmup`, for the highest rate, come before. Rates at or beyond the capacity are simulated as they are: queues grow.
    """
    rng = np.random.default_rng(seed)
    before = warmup(shard, float(rates.max() * draw(np.random.default_rng(seed), (1, PILOT)).mean()))
    if shard.shared is not None:
        return _sharing(shard, rates, draw, (before, arrivals), rng)
    lone = shard.replicas == shard.slots == 1
    queue = _lone_server(len(rates)) if lone else _stepwise(shard, len(rates), rng)
    waits, services, span = [], [], np.zeros(len(rates))
    now = np.zeros(len(rates))
    for count in _blocks(before + arrivals):
        gaps = rng.exponential(size=(len(rates), count)) / rates[:, None]
        moments = now[:, None] + np.cumsum(gaps, axis=1)
        service = draw(rng, (len(rates), count))
        wait = queue(moments, service)
        left = max(0, count - max(0, before))
        before -= count
        now = moments[:, -1]
        if left:
            waits.append(wait[:, -left:])
            services.append(service[:, -left:])
            span += gaps[:, -left:].sum(axis=1)
    return _finished(shard, np.hstack(waits), np.hstack(services), span)


def _sharing(shard: Shard, rates: Times, draw: Draw, counts: tuple[int, int], rng: np.random.Generator) -> Simulated:
    """The same where replicas share: a latency is known only when a request has ended, so all are simulated in one piece."""
    before, arrivals = counts
    shape = (len(rates), before + arrivals)
    gaps = rng.exponential(size=shape) / rates[:, None]
    work = draw(rng, shape)
    assert shard.shared is not None  # noqa: S101 - asked for only where it is given
    latency = shared_latencies(shard.replicas, shard.shared, np.cumsum(gaps, axis=1), work, _by_count(shard, len(rates), rng))
    kept = slice(before, None)
    # Rounding may leave a request that was alone a hair faster than that.
    wait = np.maximum(0.0, latency[:, kept] - work[:, kept])
    return _finished(shard, wait, work[:, kept], gaps[:, kept].sum(axis=1))


def _finished(shard: Shard, wait_s: Times, service_s: Times, span: Times) -> Simulated:
    busy = service_s.sum(axis=1) / (span * shard.replicas * shard.capacity)
    return Simulated(wait_s=wait_s, service_s=service_s, utilization=np.minimum(1.0, busy))


def _by_count(shard: Shard, lanes: int, rng: np.random.Generator) -> Route:
    """The policies of `_router` by how many requests are in each replica."""
    count, every = shard.replicas, np.arange(lanes)
    if shard.policy == "round-robin" or count == 1:
        return lambda index, _inside: np.full(lanes, index % count)
    if shard.policy == "random":
        return lambda _index, _inside: rng.integers(count, size=lanes)
    if shard.policy == "power-of-two":

        def lesser(_index: int, inside: Whole) -> Whole:
            first = rng.integers(count, size=lanes)
            other = (first + rng.integers(1, count, size=lanes)) % count
            chosen: Whole = np.where(inside[every, other] < inside[every, first], other, first)
            return chosen

        return lesser
    return lambda _index, inside: np.asarray((inside + rng.random(inside.shape)).argmin(axis=1), dtype=np.int64)


def warmup(shard: Shard, offered: float) -> int:
    """Arrivals until the empty start is forgotten; `offered` is rate * mean service time of the whole shard, in erlangs.

    An M/M/k queue forgets within about load / (1 - sqrt(load))^2 of its own arrivals (Cohen 1982, The Single Server Queue);
    every slot must have been filled too.
    """
    load = min(0.99, offered / (shard.replicas * shard.capacity))
    return int(shard.replicas * (shard.capacity + FORGETTING * load / (1 - load**0.5) ** 2))


def _blocks(total: int) -> Iterator[int]:
    for start in range(0, total, BLOCK):
        yield min(BLOCK, total - start)


def _lone_server(lanes: int) -> Callable[[Times, Times], Times]:
    """(arrival moments, service) [lanes, n] -> waits, block after block, of one server (Lindley 1952)."""
    free = np.zeros(lanes)

    def waits(moments: Times, service: Times) -> Times:
        # The server is free after request n at C_n = max over j <= n of (moment_j + S_j + ... + S_n), or what was left before.
        work = np.cumsum(service, axis=1)
        starts = np.maximum.accumulate(np.maximum(moments - work + service, free[:, None]), axis=1)
        ends = starts + work
        # A wait is until the request before has ended: end - service - moment would leave rounding where nobody waited.
        before = np.column_stack([free, ends[:, :-1]])
        free[:] = ends[:, -1]
        return np.maximum(0.0, before - moments)

    return waits


def _stepwise(shard: Shard, lanes: int, rng: np.random.Generator) -> Callable[[Times, Times], Times]:
    """The same of many servers: each arrival goes to a replica, and there takes the slot that is free first."""
    seen = SEEN + shard.slots
    free = np.zeros((lanes, shard.replicas, shard.slots))
    ends = np.zeros((lanes, shard.replicas, seen))
    taken = np.zeros((lanes, shard.replicas), dtype=np.int64)
    every = np.arange(lanes)
    offset = 0

    def waits(moments: Times, service: Times) -> Times:
        nonlocal offset
        found = np.empty_like(moments)
        route = _router(shard, lanes, moments.shape[1], rng)
        for index in range(moments.shape[1]):
            now = moments[:, index]
            chosen = route(index, offset + index, ends, now)
            slot = free[every, chosen].argmin(axis=1)
            start = np.maximum(now, free[every, chosen, slot])
            end = start + service[:, index]
            free[every, chosen, slot] = end
            if shard.replicas > 1:
                ends[every, chosen, taken[every, chosen] % seen] = end
                taken[every, chosen] += 1
            found[:, index] = start - now
        offset += moments.shape[1]
        return found

    return waits


def _router(shard: Shard, lanes: int, arrivals: int, rng: np.random.Generator) -> Callable[[int, int, Times, Times], Whole]:
    """(arrival of the block, of the lane, ends [lanes, replicas, seen], now [lanes]) -> the replica [lanes] that gets it.

    The load of a replica is the number of requests in it, as a router sees it. Ties go to one of the least loaded at random.
    power-of-two: the less loaded of two drawn at random (Mitzenmacher 2001).
    """
    count, every = shard.replicas, np.arange(lanes)
    if shard.policy == "round-robin" or count == 1:
        return lambda _index, place, _ends, _now: np.full(lanes, place % count)
    first = rng.integers(count, size=(arrivals, lanes))
    if shard.policy == "random":
        return lambda index, _place, _ends, _now: first[index]
    if shard.policy == "power-of-two":
        other = (first + rng.integers(1, count, size=(arrivals, lanes))) % count

        def lesser(index: int, _place: int, ends: Times, now: Times) -> Whole:
            a, b = first[index], other[index]
            here = (ends[every, a] > now[:, None]).sum(axis=1)
            there = (ends[every, b] > now[:, None]).sum(axis=1)
            chosen: Whole = np.where(there < here, b, a)
            return chosen

        return lesser
    order = rng.random((arrivals, count))

    def least(index: int, _place: int, ends: Times, now: Times) -> Whole:
        inside = (ends > now[:, None, None]).sum(axis=2) + order[index]
        return np.asarray(inside.argmin(axis=1), dtype=np.int64)

    return least
