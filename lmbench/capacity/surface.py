"""Latency by load, simulated once per option and policy: what sizing, scenarios and the calculator of the site interpolate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.capacity.formulas import gik_mean_wait, mmk_mean_wait, shared_mean_delay
from lmbench.capacity.nouns import Replica, Runs, Surface
from lmbench.capacity.plan_file import QUANTILES
from lmbench.capacity.sharing import Times, Whole
from lmbench.capacity.simulate import Draw, Shard, Simulated, simulate

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
    whole = math.ceil(peak / _full(replica))
    shard = 1 if policy == "random" else max(1, min(SHARD, whole))
    points = [point for share in (CALM, BUSY) for point in _points(replica, policy, shard, share, seed)]
    tables = _tables("latency", [point.latency_s for point in points])
    firsts = [point.ttft_s for point in points if point.ttft_s is not None]
    if firsts:
        tables |= _tables("ttft", firsts)
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
    full = _full(replica)
    lanes = np.repeat(np.asarray(shares), LANES) * full * shard
    draw = _own_samples(replica, len(lanes), seed)
    one = Shard(replicas=shard, slots=replica.slots, policy=policy, shared=replica.shared)
    found = simulate(one, lanes, draw, arrivals=ARRIVALS, seed=seed)
    blocks = [slice(place * LANES, (place + 1) * LANES) for place in range(len(shares))]
    return [_point(replica, share * full, found, block, seed) for share, block in zip(shares, blocks, strict=True)]


def _point(replica: Replica, rate: float, found: Simulated, lanes: slice, seed: int) -> _Point:
    wait, first = found.wait_s[lanes], None
    if replica.first_token_s:
        rng = np.random.default_rng((seed, 1))
        alone = _Samples.of(replica.first_token_s, len(wait), rng).drawn(rng, wait.shape[1])
        # Who shares is slowed down from the first token on; who waits is so before it.
        first = wait + alone if replica.shared is None else alone * found.latency_s[lanes] / found.service_s[lanes]
    return _Point(
        rate=rate,
        latency_s=found.latency_s[lanes],
        ttft_s=first,
        wait_s=float(wait.mean()),
        utilization=float(found.utilization[lanes].mean()),
    )


def _own_samples(replica: Replica, lanes: int, seed: int) -> Draw:
    """Draws from the measured times, every lane from a sample of its own."""
    samples = _Samples.of(replica.service_s, lanes, np.random.default_rng((seed, 2)))

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
        return samples.drawn(rng, shape[1]) if shape[0] == lanes else rng.choice(_pooled(replica), size=shape)

    return draw


@dataclass(frozen=True, slots=True, kw_only=True)
class _Samples:
    """What each lane draws from: a run, and a sample of that run's times with replacement.

    The bootstrap of Efron (1979) on two levels (Davison & Hinkley 1997, 3.8): runs differ by more than chance within them does,
    and a fleet meets the machine in one such state, not in their mean. The lanes of a load take the runs in turn, so that each
    run has its share of them.
    """

    pool: Times
    """[lanes, most times of a run]; the first `sizes` of a lane are its own."""
    sizes: Whole

    @classmethod
    def of(cls, runs: Runs, lanes: int, rng: np.random.Generator) -> _Samples:
        sizes = np.array([len(runs[lane % LANES % len(runs)]) for lane in range(lanes)])
        pool = np.zeros((lanes, sizes.max()))
        for lane, size in enumerate(sizes):
            pool[lane, :size] = rng.choice(np.asarray(runs[lane % LANES % len(runs)]), size=size)
        return cls(pool=pool, sizes=sizes)

    def drawn(self, rng: np.random.Generator, count: int) -> Times:
        """[lanes, count] of them."""
        places = (rng.random((len(self.sizes), count)) * self.sizes[:, None]).astype(np.int64)
        return np.take_along_axis(self.pool, places, axis=1)


def _pooled(replica: Replica) -> Times:
    return np.concatenate([np.asarray(run) for run in replica.service_s])


def _full(replica: Replica) -> float:
    """Requests/s that keep one replica busy in its slowest run: no lane may be asked for more."""
    return replica.capacity / replica.slowest_service_s


def _tables(kind: str, points: Sequence[Times]) -> dict[str, dict[str, tuple[float, ...]]]:
    """The fields of a Surface: each quantile at each load, over all lanes and the ends of the middle 95 % of the lanes' own.

    Never falling.
    """
    shares = [float(name[1:]) / 100 for name in QUANTILES]
    lanes = [np.quantile(point, shares, axis=1) for point in points]
    sides = {
        "": [np.quantile(point, shares) for point in points],
        "_low": [np.quantile(one, 0.025, axis=1) for one in lanes],
        "_high": [np.quantile(one, 0.975, axis=1) for one in lanes],
    }
    rising = {end: np.maximum.accumulate(values) for end, values in sides.items()}
    return {
        f"{kind}{end}_s": {name: tuple(values[:, place].tolist()) for place, name in enumerate(QUANTILES)}
        for end, values in rising.items()
    }


def _shard_error(replica: Replica, policy: str, shard: int, points: Sequence[_Point], seed: int) -> float:
    """Relative change of p95 when the shard is halved, at a load where routing matters."""
    half = _points(replica, policy, max(1, shard // 2), (CHECKED_AT,), seed)[0]
    whole = points[(*CALM, *BUSY).index(CHECKED_AT)]
    return abs(float(np.quantile(half.latency_s, 0.95)) / float(np.quantile(whole.latency_s, 0.95)) - 1)


def _closed_form(replica: Replica, rates: Sequence[float], waits: Sequence[float]) -> Mapping[str, tuple[float, ...]]:
    """Mean waits of one replica by itself, Poisson arrivals: what a router that looks at the load must stay below."""
    times = _pooled(replica)
    mean, scv = float(times.mean()), float(times.var() / times.mean() ** 2)
    if replica.shared is not None:
        exact = tuple(shared_mean_delay(replica.shared, rate, mean) for rate in rates)
        return {"simulated": tuple(waits), "erlang_c": exact}
    return {
        "simulated": tuple(waits),
        "erlang_c": tuple(mmk_mean_wait(replica.slots, rate, mean) for rate in rates),
        "allen_cunneen": tuple(gik_mean_wait(replica.slots, rate, mean, 1.0, scv) for rate in rates),
    }
