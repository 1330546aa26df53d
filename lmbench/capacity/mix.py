"""A traffic of several models: a plan for each with its share of the requests, on replicas of its own, and their sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lmbench.capacity.plan import Plan, Sized
from lmbench.capacity.plan_file import PlanRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is asked for one model: a request of its own, with `share` of the traffic."""

    model: str
    """Empty where the options name their models."""
    share: float
    request: PlanRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """One option per model, summed; a sum is None where a part of it is not known."""

    options: Mapping[str, str]
    """Model -> option; models without any are left out."""
    replicas: int | None
    """At the peak, which all models have in the same minute."""
    cost_per_hour: float | None
    power_w: float | None
    """Mean over the day."""
    broken: tuple[str, ...]
    """Models for which it does not keep every promise."""
    extrapolates: bool

    @property
    def keeps(self) -> bool:
        return not self.broken


def parts(request: PlanRequest) -> tuple[Part, ...]:
    """One request per model of the traffic; a traffic that names none is one part, as it is."""
    traffic = request.traffic
    if not traffic.models:
        return (Part(model="", share=1.0, request=request),)
    whole = sum(traffic.models.values())
    return tuple(_part(request, model, weight / whole) for model, weight in traffic.models.items())


def totals(plans: Mapping[str, Plan]) -> tuple[Total, ...]:
    """Each option for all models, in the order of the plan file."""
    first = next(iter(plans.values()))
    return tuple(
        _total({model: next(one for one in plan.options if one.name == name) for model, plan in plans.items()}, plans)
        for name in first.request.options
    )


def cheapest(plans: Mapping[str, Plan]) -> Total:
    """The best option of each model that has one which keeps every promise."""
    return _total({model: plan.options[0] for model, plan in plans.items() if plan.options[0].meets}, plans)


def _part(request: PlanRequest, model: str, share: float) -> Part:
    traffic = request.traffic.model_copy(update={"requests_per_s": share * request.traffic.requests_per_s, "models": {}})
    options = {name: option.model_copy(update={"model": model}) for name, option in request.options.items()}
    return Part(model=model, share=share, request=request.model_copy(update={"traffic": traffic, "options": options}))


def _total(chosen: Mapping[str, Sized], models: Collection[str]) -> Total:
    fleets = [one.fleet for one in chosen.values()]
    broken = tuple(model for model in models if model not in chosen or not chosen[model].meets)
    whole = len(chosen) == len(models)
    return Total(
        options={model: one.name for model, one in chosen.items()},
        replicas=sum(fleet.peak for fleet in fleets if fleet) if whole and all(fleets) else None,
        cost_per_hour=_sum((one.cost_per_hour for one in chosen.values()), whole),
        power_w=_sum((one.power_w for one in chosen.values()), whole),
        broken=broken,
        extrapolates=any(one.extrapolates for one in chosen.values()),
    )


def _sum(values: Iterable[float | None], whole: bool) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if whole and len(known) == len(found) else None
