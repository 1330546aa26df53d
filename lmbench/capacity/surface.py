"""Latency by load, simulated once per option and policy: what sizing, scenarios and the calculator of the site interpolate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.capacity.formulas import gik_mean_wait, mmk_mean_wait
from lmbench.capacity.nouns import Replica, Surface
from lmbench.capacity.plan_file import QUANTILES
from lmbench.capacity.simulate import Draw, Shard, Simulated, Times, simulate

CALM = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
BUSY = (0.75, 0.8, 0.85, 0.9)
"""Busy shares of the slots that are simulated; beyond the last a queue forgets too slowly, and no plan should go there."""
SHARD = 8
"""Replicas simulated together: with more, a router that looks at the load does ever so slightly better."""
LANES, ARRIVALS = 16, 6000
CHECKED_AT = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One load: the lanes that were simulated at it."""

    rate: float
    latency_s: Times
    ttft_s: Times | None
    wait_s: float
    utilization: float


def simulated_surface(replica: Replica, policy: str, *, peak: float, seed: int = 0) -> Surface:
    """The surface of `replica` behind a router of this policy, for a fleet that takes `peak` requests/s."""
    service = np.asarray(replica.service_s)
    full = replica.slots / float(service.mean())
    whole = math.ceil(peak / full)
    shard = 1 if policy == "random" else max(1, min(SHARD, whole))
    points = [point for share in (CALM, BUSY) for point in _points(replica, policy, shard, share, seed)]
    tables = {f"latency{end}_s": _table([point.latency_s for point in points], end) for end in ("", "_low", "_high")}
    firsts = [point.ttft_s for point in points if point.ttft_s is not None]
    if firsts:
        tables |= {f"ttft{end}_s": _table(firsts, end) for end in ("", "_low", "_high")}
    rates = tuple(point.rate for point in points)
    return Surface(
        option=replica.option,
        policy=policy,
        shard=shard,
        rates=rates,
        utilization=tuple(point.utilization for point in points),
        shard_error=_shard_error(replica, policy, shard, points, seed) if 1 < shard < whole else 0.0,
        closed_form=_closed_form(replica, rates, [point.wait_s for point in points]),
        **tables,
    )


def _points(replica: Replica, policy: str, shard: int, shares: Sequence[float], seed: int) -> list[_Point]:
    """All lanes of these loads together; they must not be too different, as the busiest decides how long all of them warm up."""
    full = replica.slots / float(np.mean(replica.service_s))
    lanes = np.repeat(np.asarray(shares), LANES) * full * shard
    draw = _own_samples(replica, len(lanes), seed)
    found = simulate(Shard(replicas=shard, slots=replica.slots, policy=policy), lanes, draw, arrivals=ARRIVALS, seed=seed)
    blocks = [slice(place * LANES, (place + 1) * LANES) for place in range(len(shares))]
    return [_point(replica, share * full, found, block, seed) for share, block in zip(shares, blocks, strict=True)]


def _point(replica: Replica, rate: float, found: Simulated, lanes: slice, seed: int) -> _Point:
    wait, first = found.wait_s[lanes], None
    if replica.first_token_s:
        rng = np.random.default_rng((seed, 1))
        pool = rng.choice(np.asarray(replica.first_token_s), size=(len(wait), len(replica.first_token_s)))
        first = wait + np.take_along_axis(pool, rng.integers(pool.shape[1], size=wait.shape), axis=1)
    return _Point(
        rate=rate,
        latency_s=found.latency_s[lanes],
        ttft_s=first,
        wait_s=float(wait.mean()),
        utilization=float(found.utilization[lanes].mean()),
    )


def _own_samples(replica: Replica, lanes: int, seed: int) -> Draw:
    """Draws from the measured times; every lane from a sample of them of its own (bootstrap, Efron 1979)."""
    times = np.asarray(replica.service_s)
    pool = np.random.default_rng((seed, 2)).choice(times, size=(lanes, len(times)))

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
        if shape[0] != lanes:
            return rng.choice(times, size=shape)
        return np.take_along_axis(pool, rng.integers(pool.shape[1], size=shape), axis=1)

    return draw


def _table(points: Sequence[Times], end: str) -> dict[str, tuple[float, ...]]:
    """Quantile -> its value at each load: over all lanes, or the end of the middle 95 % of the lanes' own; never falling."""
    table = {}
    for name in QUANTILES:
        share = float(name[1:]) / 100
        if end:
            lanes = [np.quantile(point, share, axis=1) for point in points]
            values = [float(np.quantile(one, 0.025 if end == "_low" else 0.975)) for one in lanes]
        else:
            values = [float(np.quantile(point, share)) for point in points]
        table[name] = tuple(float(value) for value in np.maximum.accumulate(values))
    return table


def _shard_error(replica: Replica, policy: str, shard: int, points: Sequence[_Point], seed: int) -> float:
    """Relative change of p95 when the shard is halved, at a load where routing matters."""
    half = _points(replica, policy, max(1, shard // 2), (CHECKED_AT,), seed)[0]
    whole = points[(*CALM, *BUSY).index(CHECKED_AT)]
    return abs(float(np.quantile(half.latency_s, 0.95)) / float(np.quantile(whole.latency_s, 0.95)) - 1)


def _closed_form(replica: Replica, rates: Sequence[float], waits: Sequence[float]) -> Mapping[str, tuple[float, ...]]:
    """Mean waits of one replica by itself, Poisson arrivals: what a router that looks at the load must stay below."""
    times = np.asarray(replica.service_s)
    mean, scv = float(times.mean()), float(times.var() / times.mean() ** 2)
    return {
        "simulated": tuple(waits),
        "erlang_c": tuple(mmk_mean_wait(replica.slots, rate, mean) for rate in rates),
        "allen_cunneen": tuple(gik_mean_wait(replica.slots, rate, mean, 1.0, scv) for rate in rates),
    }
