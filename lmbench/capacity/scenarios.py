"""What happens when something breaks or grows, and which assumption the price hangs on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lmbench.capacity.demand import Demand, stretched_s
from lmbench.capacity.nouns import Replica, Surface
from lmbench.capacity.plan_file import PlanRequest
from lmbench.capacity.sizing import Fleet, Limits, ceiling, quantile_at, replicas_for, with_redundancy

SWING = 0.2
"""Inputs nobody measured are moved this far up and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """One thing that may happen at the busiest minute: whether the fleet holds, and how many replicas it would take if not.

    `worst` is (limit, seconds expected, seconds promised) of the limit furthest gone; seconds are infinite in an overload.
    """

    what: str
    holds: bool | None
    left: int
    needed: int | None
    worst: tuple[str, float, float] | None
    reason: str = ""
    extrapolates: bool = False
    """Whether a replica would get more than the highest measured rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """The number of replicas when one input is low and when it is high; None where the promises cannot be kept at all."""

    what: str
    low: str
    high: str
    replicas_low: int | None
    replicas_high: int | None


def scaled(surface: Surface, factor: float) -> Surface:
    """The surface of the same queue with all service times `factor` times as long: rates shrink, and times grow, by it. Exact."""

    def times(table: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        return {name: tuple(factor * value for value in values) for name, values in table.items()}

    return dataclasses.replace(
        surface,
        rates=tuple(rate / factor for rate in surface.rates),
        latency_s=times(surface.latency_s),
        latency_low_s=times(surface.latency_low_s),
        latency_high_s=times(surface.latency_high_s),
        ttft_s=times(surface.ttft_s),
        ttft_low_s=times(surface.ttft_low_s),
        ttft_high_s=times(surface.ttft_high_s),
        closed_form=times(surface.closed_form),
    )


def outlooks(request: PlanRequest, surface: Surface, replica: Replica, demand: Demand, fleet: Fleet) -> list[Outlook]:
    """Replicas lost, a zone lost, twice the traffic, prompts twice as long; each by itself, at the busiest minute."""
    zones, spare = request.redundancy.zones, request.redundancy.spare
    found = [
        _outlook(f"{count} replica{'s' if count > 1 else ''} lost", request, surface, replica, demand.peak, fleet.peak - count)
        for count in range(1, spare + 2)
        if fleet.peak > count
    ]
    if zones > 1:
        lost = math.ceil(fleet.peak / zones)
        found.append(_outlook(f"the fullest of {zones} zones lost", request, surface, replica, demand.peak, fleet.peak - lost))
    found.append(_outlook("traffic doubles", request, surface, replica, 2 * demand.peak, fleet.peak))
    return [*found, _longer_prompts(request, surface, replica, demand, fleet)]


def tornado(request: PlanRequest, surface: Surface, replica: Replica, demand: Demand) -> list[Swing]:
    """Replicas at the peak with one input moved at a time, the widest swing first."""
    limits = request.slo.limits

    def count(rate: float = 1.0, service: float = 1.0, slo: float = 1.0) -> int | None:
        moved = scaled(surface, service)
        top = ceiling(moved, replica, {pair: slo * limit for pair, limit in limits.items()}, extrapolate=request.extrapolate)
        if top.rate is None:
            return None
        return with_redundancy(replicas_for(rate * demand.peak, top.rate), request.redundancy)

    def swing(what: str, low: float, high: float, change: Callable[[float], int | None]) -> Swing:
        return Swing(what=what, low=f"{low:g}x", high=f"{high:g}x", replicas_low=change(low), replicas_high=change(high))

    low, high = 1 - SWING, 1 + SWING
    found = [
        swing("traffic", low, high, lambda factor: count(rate=factor)),
        swing("service time", low, high, lambda factor: count(service=factor)),
        swing("promised times", low, high, lambda factor: count(slo=factor)),
    ]
    if demand.burst > 1:
        # Half the excess and half as much again: a burst factor is the least certain of the inputs.
        ends = [(1 + (demand.burst - 1) * share) / demand.burst for share in (0.5, 1.5)]
        found.append(swing("burst", round(ends[0], 3), round(ends[1], 3), lambda factor: count(rate=factor)))

    def width(one: Swing) -> float:
        pair = (one.replicas_low, one.replicas_high)
        return math.inf if None in pair else abs(pair[0] - pair[1])  # type: ignore[operator]

    return sorted(found, key=width, reverse=True)


def _outlook(what: str, request: PlanRequest, surface: Surface, replica: Replica, rate: float, left: int) -> Outlook:
    limits = request.slo.limits
    top = ceiling(surface, replica, limits, extrapolate=math.inf)
    each = rate / left
    return Outlook(
        what=what,
        holds=top.rate is not None and each <= top.rate * (1 + 1e-12),
        left=left,
        needed=None if top.rate is None else replicas_for(rate, top.rate),
        worst=_worst(surface, limits, each),
        extrapolates=not replica.rates or each > replica.rates[-1],
    )


def _worst(surface: Surface, limits: Limits, each: float) -> tuple[str, float, float]:
    expected = [(" ".join(pair), quantile_at(surface, *pair, each), limit) for pair, limit in limits.items()]
    return max(expected, key=lambda one: one[1] / one[2])


def _longer_prompts(request: PlanRequest, surface: Surface, replica: Replica, demand: Demand, fleet: Fleet) -> Outlook:
    what = "prompts twice as long"
    prompt, output = replica.prompt_tokens, replica.output_tokens
    if not replica.scaling or prompt is None or output is None:
        reason = f"what longer prompts cost was not measured ({replica.reasons.get('scaling', 'one length only')})"
        return Outlook(what=what, holds=None, left=fleet.peak, needed=None, worst=None, reason=reason)
    factor = stretched_s(replica.scaling, 2 * prompt, output) / stretched_s(replica.scaling, prompt, output)
    # Nobody measured such prompts, whatever rate each replica gets.
    found = _outlook(what, request, scaled(surface, factor), replica, demand.peak, fleet.peak)
    return dataclasses.replace(found, extrapolates=True)
