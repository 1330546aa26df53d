"""How many replicas: from what one of them can take under the promises, and from what arrives.

The arithmetic is plain so that the calculator of the report site can do the same; whatever needs a simulation is in the Surface.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.capacity.demand import Demand
from lmbench.capacity.nouns import Interval, Replica, Surface
from lmbench.capacity.plan_file import Autoscale, Redundancy

Limits = Mapping[tuple[str, str], float]
"""('latency' or 'ttft', quantile) -> seconds."""
QUEUE, RANGE = "queue", "measured range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The highest rate one replica may get, in requests/s, and what stops it; `rate` is None when even an idle one fails.

    `low` and `high` are that rate by the unfavourable and the favourable ends of the surface's intervals; `rate` is `low`,
    since a plan must hold for what is not known.
    """

    rate: float | None
    low: float | None
    high: float | None
    binds: str
    extrapolates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Replicas through the day: at least `least` at any minute; each minute's number, ready to serve."""

    least: int
    peak: int
    ready: tuple[int, ...]

    @property
    def hours(self) -> float:
        """Replica-hours of the day."""
        return sum(self.ready) / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What a fleet makes of a day. Shares of all requests; energy in joules."""

    attainment: float | None
    attainment_interval: Interval | None
    utilization_peak: float
    utilization_mean: float
    headroom: float | None
    """How much more than the busiest minute's rate each replica could take, as a share of it."""
    energy_j: float | None
    overloaded_minutes: int


def ceiling(surface: Surface, replica: Replica, limits: Limits, *, extrapolate: float) -> Ceiling:
    """The highest rate at which every limit is kept, between the simulated rates on straight lines.

    Never more than the last simulated rate, beyond which a queue has no room for chance, nor than `extrapolate` times the
    highest measured one.
    """
    low, binds = _kept(surface, limits, "high")
    high, _ = _kept(surface, limits, "low")
    if low is None:
        return Ceiling(rate=None, low=None, high=high, binds=binds)
    last = replica.rates[-1] if replica.rates else None
    if last is not None and low > extrapolate * last:
        return Ceiling(rate=extrapolate * last, low=extrapolate * last, high=high, binds=RANGE, extrapolates=True)
    return Ceiling(rate=low, low=low, high=high, binds=binds, extrapolates=last is None or low > last)


def replicas_for(rate: float, each: float) -> int:
    """Replicas that share `rate` with at most `each` per replica."""
    return max(1, math.ceil(rate / each - 1e-9))


def with_redundancy(needed: int, redundancy: Redundancy) -> int:
    """Replicas to run so that `needed` are left when the spare ones are down, and when the fullest zone is lost."""
    total = needed + redundancy.spare
    while redundancy.zones > 1 and total - math.ceil(total / redundancy.zones) < needed:
        total += 1
    return total


def fixed_fleet(demand: Demand, each: float, redundancy: Redundancy) -> Fleet:
    """As many as the busiest minute needs, all day."""
    total = with_redundancy(replicas_for(demand.peak, each), redundancy)
    return Fleet(least=total, peak=total, ready=(total,) * len(demand.per_minute))


def scaled_fleet(demand: Demand, replica: Replica, each: float, redundancy: Redundancy, rule: Autoscale) -> Fleet:
    """Replicas after the traffic: aimed at `rule.utilization` (never above `each`), ready one cold start after they were wanted.

    The number wanted is reconsidered every `every_s`; scaling down is immediate, as a replica stops at once. The day is taken to
    repeat: what was wanted before midnight is ready after it.
    """
    per_replica = min(each, rule.utilization * replica.capacity / replica.mean_service_s)
    minutes = len(demand.per_minute)
    every = max(1, round(rule.every_s / 60))
    wanted = [max(rule.least, replicas_for(demand.per_minute[m - m % every] * demand.burst, per_replica)) for m in range(minutes)]
    delay = math.ceil((replica.cold_start_s or 0.0) / 60)
    ready = [min(wanted[(m - back) % minutes] for back in range(delay + 1)) for m in range(minutes)]
    total = tuple(with_redundancy(count, redundancy) for count in ready)
    return Fleet(least=min(total), peak=max(total), ready=total)


def day(
    surface: Surface, replica: Replica, demand: Demand, fleet: Fleet, limits: Limits, power_w: tuple[float, float] | None
) -> Day:
    """The promises, utilization and energy of every minute, weighed by its requests. `power_w` is (idle, busy) of a machine."""
    rates = np.asarray(demand.per_minute)
    ready = np.asarray(fleet.ready, dtype=float)
    each, at_burst = rates / ready, rates * demand.burst / ready
    busy = np.minimum(1.0, each * replica.mean_service_s / replica.capacity)
    kept = {side: _share(surface, at_burst, rates, limits, side) for side in ("low", "mid", "high")}
    top = float(at_burst.max())
    room, _ = _kept(surface, limits, "mid")
    energy = None
    if power_w is not None:
        idle, full = power_w
        energy = float((ready * (idle + (full - idle) * busy)).sum() * 60)
    return Day(
        attainment=kept["mid"],
        attainment_interval=(kept["high"], kept["low"]),
        utilization_peak=float(busy.max()),
        utilization_mean=float((busy * ready).sum() / ready.sum()),
        headroom=None if room is None else room / top - 1,
        energy_j=energy,
        overloaded_minutes=int((at_burst > surface.rates[-1]).sum()),
    )


def quantile_at(surface: Surface, kind: str, quantile: str, rate: float, side: str = "mid") -> float:
    """A quantile in seconds at a rate per replica, on straight lines between simulated rates; infinite beyond the last.

    `side` is 'low', 'mid' or 'high' of its interval. Below the first rate it is that of the first.
    """
    if rate > surface.rates[-1] * (1 + 1e-12):
        return math.inf
    return float(np.interp(rate, surface.rates, _values(surface, kind, quantile, side)))


def _values(surface: Surface, kind: str, quantile: str, side: str) -> Sequence[float]:
    infix = {"low": "_low", "mid": "", "high": "_high"}[side]
    table: Mapping[str, Sequence[float]] = getattr(surface, f"{kind}{infix}_s")
    return table[quantile]


def _kept(surface: Surface, limits: Limits, side: str) -> tuple[float | None, str]:
    """(the highest rate that keeps every limit by this side of the intervals, what stops it)."""
    best, binds = surface.rates[-1], QUEUE
    for (kind, quantile), limit in limits.items():
        rate = _crossing(surface.rates, _values(surface, kind, quantile, side), limit)
        if rate is None:
            return None, f"{kind} {quantile}"
        if rate < best:
            best, binds = rate, f"{kind} {quantile}"
    return best, binds


def _crossing(rates: Sequence[float], values: Sequence[float], limit: float) -> float | None:
    """Where `values` first go above `limit`; the last rate when they never do, None when they always are."""
    if values[0] > limit:
        return None
    for index in range(1, len(rates)):
        if values[index] > limit:
            share = (limit - values[index - 1]) / (values[index] - values[index - 1])
            return rates[index - 1] + share * (rates[index] - rates[index - 1])
    return rates[-1]


def _share(surface: Surface, each: object, weights: object, limits: Limits, side: str) -> float:
    rate, _ = _kept(surface, limits, side)
    if rate is None:
        return 0.0
    kept = np.asarray(each) <= rate * (1 + 1e-12)
    weight = np.asarray(weights)
    return float(weight[kept].sum() / weight.sum())
