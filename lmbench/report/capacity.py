"""The noun of a capacity report: a plan, the records it stands on, and which of its options nothing beats."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan import BACKTEST_BOUND, Plan, Sized, backtest_error
from lmbench.capacity.sizing import quantile_at
from lmbench.compare.frontier import Span, grades, span

COST, QUALITY = "cost", "quality"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Which options nothing beats in all `axes`: beaten[option] is None for those, else an option that beats it."""

    axes: tuple[str, ...]
    beaten: Mapping[str, str | None]
    unknown: tuple[str, ...]
    """Axes that were left out, since some option is not known in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityReport:
    """Everything a rendering needs."""

    plan: Plan
    source: str
    """The plan file as it was named."""
    measured: Mapping[str, Replica]
    """Options as their records show them, before the plan's lengths are applied."""
    runs: int
    """Stored runs that were read."""
    problems: tuple[str, ...] = ()
    """Stored files that were left out, and why."""
    model: str = ""
    """The model it is for, where the traffic is of several and each has a plan of its own."""
    share: float = 1.0
    """Of the traffic's requests."""

    @property
    def kept(self) -> tuple[Sized, ...]:
        """The options that keep every promise, the recommended one first."""
        return tuple(one for one in self.plan.options if one.meets)

    @property
    def sized(self) -> tuple[Sized, ...]:
        """The options that could be sized at all."""
        return tuple(one for one in self.plan.options if one.fleet is not None)

    @property
    def front(self) -> Front:
        """The Pareto front of cost, latency and quality over all sized options.

        One beats another when it is clearly better in some axis and clearly worse in none. Latencies are equal within their
        intervals, qualities within the catalogue's tolerance of perplexity (see `frontier`); costs are compared as they are.
        """
        standing = {one.name: _standing(self.plan, one) for one in self.sized}
        axes = [axis for axis in (COST, _latency(self.plan), QUALITY) if all(axis in one for one in standing.values())]
        if QUALITY in axes:
            ranks = grades([one[QUALITY].value for one in standing.values()])
            for one, rank in zip(standing.values(), ranks, strict=True):
                one[QUALITY] = Span(value=rank, low=rank, high=rank)

        def beats(a: str, b: str) -> bool:
            pairs = [(standing[a][axis], standing[b][axis]) for axis in axes]
            return not any(one.above(other) for one, other in pairs) and any(other.above(one) for one, other in pairs)

        return Front(
            axes=tuple(axes),
            beaten={b: next((a for a in standing if beats(a, b)), None) for b in standing},
            unknown=tuple(axis for axis in (COST, QUALITY) if axis not in axes),
        )


def reliable(one: Sized) -> bool | None:
    """Whether predictions of its p95 at measured rates came true within the bound of plans; None where none was tried."""
    error = None if one.replica is None else backtest_error(one.replica)
    return None if error is None else error <= BACKTEST_BOUND


def at_peak(plan: Plan, one: Sized) -> float:
    """Requests/s of one replica in its busiest minute, all that are ready then serving."""
    if one.fleet is None:
        return math.nan
    day = zip(plan.demand.per_minute, one.fleet.ready, strict=True)
    return max(rate * plan.demand.burst / ready for rate, ready in day)


def _latency(plan: Plan) -> str:
    return " ".join(next(iter(plan.request.slo.limits)))


def _standing(plan: Plan, one: Sized) -> dict[str, Span]:
    """The option's place on each axis that is known of it."""
    found = {}
    if one.cost_per_hour is not None:
        found[COST] = Span(value=one.cost_per_hour, low=one.cost_per_hour, high=one.cost_per_hour)
    if one.surface is not None:
        kind, quantile = next(iter(plan.request.slo.limits))
        low, value, high = (quantile_at(one.surface, kind, quantile, at_peak(plan, one), side) for side in ("low", "mid", "high"))
        if math.isfinite(value):
            found[_latency(plan)] = span(f"{kind}_{quantile}_s", value, (low, high))
    if one.replica is not None and one.replica.perplexity_ratio is not None:
        ratio = one.replica.perplexity_ratio
        found[QUALITY] = Span(value=ratio, low=ratio, high=ratio)
    return found
