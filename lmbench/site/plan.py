"""Capacity plans: each as its report tells it, with a calculator that does the arithmetic of `sizing` on its surfaces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any, get_args

from lmbench.capacity.demand import Demand, demand
from lmbench.capacity.nouns import ERROR_RATE, Replica, Surface
from lmbench.capacity.plan import Sized, backtest_error
from lmbench.capacity.plan_file import QUANTILES, PlanRequest, Shape, Traffic
from lmbench.report import capacity_words
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_charts import capacity_charts
from lmbench.report.capacity_figures import DAGGER
from lmbench.report.capacity_mix import by_model, together, total_table
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import detail_tables
from lmbench.site.nouns import Page

LIST = "capacity.html"
OWN = "as planned"
"""The shape of the day that the plan file gives."""
SIDES = {"low": "_low", "mid": "", "high": "_high"}


def pages(plans: Sequence[CapacityReport]) -> Iterator[Page]:
    """The list of plans, then one page each; of a mix of models one page per model."""
    paths = [path_of(plans, place) for place in range(len(plans))]
    files = [list(places) for _, places in groupby(range(len(plans)), key=lambda place: _file(plans, place))]
    rows = [
        {
            "together": _together([plans[place] for place in places]),
            "parts": [(paths[place], plans[place], capacity_words.verdict(plans[place])) for place in places],
        }
        for places in files
    ]
    yield Page(path=LIST, title="Capacity", template="capacity_list.html.j2", content={"plans": rows, "say": capacity_words})
    for places in files:
        for place in places:
            yield _page(plans[place], paths[place], _together([plans[other] for other in places]))


def path_of(plans: Sequence[CapacityReport], place: int) -> str:
    """The page of a plan: its file's name and its model, with its number where two are called alike."""
    names = [_safe(f"{PurePath(one.source).name.split('.')[0]} {one.model}") for one in plans]
    return f"plans/{names[place]}{f'-{place + 1}' if names.count(names[place]) > 1 else ''}.html"


def calculator(report: CapacityReport) -> dict[str, Any]:
    """What the calculator works on: surfaces of the options that have one, shapes of a day, and the plan's own answers."""
    request = report.plan.request
    return {
        "options": [_option(one, request, report.measured[one.name]) for one in report.plan.options if one.surface is not None],
        "shapes": {OWN: _shape(report.plan.demand)}
        | {name: _named(name) for name in get_args(Shape) if name != request.traffic.profile},
        "extrapolate": request.extrapolate,
        "autoscale": None if request.autoscale is None else _autoscale(request),
        "mark": DAGGER,
        "input": given(request),
    }


def given(request: PlanRequest) -> dict[str, Any]:
    """The plan file's own numbers, as the form has them."""
    traffic = request.traffic
    return {
        "requests_per_s": traffic.requests_per_s,
        "growth": traffic.growth,
        "burst": traffic.burst,
        "shape": OWN,
        "limits": {f"{kind} {quantile}": limit for (kind, quantile), limit in request.slo.limits.items()},
        "steady": request.slo.steady,
        "perplexity_ratio": request.slo.perplexity_ratio,
        "spare": request.redundancy.spare,
        "zones": request.redundancy.zones,
        "follow": request.autoscale is not None,
    }


def _file(plans: Sequence[CapacityReport], place: int) -> tuple[str, int]:
    """Equal for the models of one plan file."""
    one = plans[place]
    return (one.source, -1) if one.model else (one.source, place)


def _together(reports: Sequence[CapacityReport]) -> dict[str, Any] | None:
    """What all models of a mix take."""
    if not by_model(reports):
        return None
    return {"answer": together(reports), "kept": all(one.kept for one in reports), "total": total_table(reports)}


def _page(report: CapacityReport, path: str, mix: dict[str, Any] | None) -> Page:
    name = report.plan.request.description or report.source
    return Page(
        path=path,
        title=f"{capacity_words.TITLE}: {', '.join(filter(None, (name, report.model)))}",
        template="plan.html.j2",
        section=LIST,
        scripts=("sizing.js", "calculator.js"),
        data={"calculator": calculator(report)},
        content={
            "report": report,
            "together": mix,
            "say": capacity_words,
            "options": option_table(report),
            "charts": capacity_charts(report),
            "tables": detail_tables(report),
            "quantiles": [f"{kind} {quantile}" for kind in ("latency", "ttft") for quantile in QUANTILES],
            "steady": list(_steady(report)),
            "has_first_tokens": any(one.surface is not None and one.surface.ttft_s for one in report.plan.options),
            "input": given(report.plan.request),
            "shapes": [OWN, *(name for name in get_args(Shape) if name != report.plan.request.traffic.profile)],
        },
    )


def _steady(report: CapacityReport) -> Iterator[tuple[str, str]]:
    """Names and units of the promises that no replica more can keep: those that the plan makes, or a record tells of."""
    known = {name for one in report.plan.options if one.replica for name in one.replica.steady}
    for name in (*(f"tpot {quantile}" for quantile in QUANTILES), ERROR_RATE):
        if name in known or name in report.plan.request.slo.steady:
            yield name, "of 1" if name == ERROR_RATE else "s"


def _option(one: Sized, request: PlanRequest, measured: Replica) -> dict[str, Any]:
    replica, option = one.replica, one.option
    assert replica is not None and one.surface is not None  # noqa: S101 - chosen so
    return {
        "name": one.name,
        "surface": _surface(one.surface),
        "last_rate": replica.rates[-1] if replica.rates else None,
        "slots": replica.capacity,
        "service_mean_s": replica.mean_service_s,
        "output_tokens": replica.output_tokens,
        "cold_start_s": replica.cold_start_s,
        "perplexity_ratio": replica.perplexity_ratio,
        "steady": {name: [one.low, one.value, one.high] for name, one in replica.steady.items()},
        "price_per_hour": option.price_per_hour,
        "power_w": None if option.idle_w is None or option.busy_w is None else [option.idle_w, option.busy_w],
        "memory_fits": one.memory.fits if one.memory else None,
        "backtest_error": backtest_error(replica),
        "reliable": one.reliable,
        "lengths_beyond": _longer(request, measured),
    }


def _longer(request: PlanRequest, measured: Replica) -> bool:
    """Whether any class of requests has longer prompts or answers than were measured."""
    prompt, output = measured.prompt_tokens or math.inf, measured.output_tokens or math.inf
    classes = request.traffic.classes.values()
    return any((one.prompt_tokens or 0) > prompt or (one.output_tokens or 0) > output for one in classes)


def _surface(surface: Surface) -> dict[str, Any]:
    def side(kind: str, infix: str) -> dict[str, list[float]]:
        table: Mapping[str, Sequence[float]] = getattr(surface, f"{kind}{infix}_s")
        return {quantile: list(values) for quantile, values in table.items()}

    return {
        "rates": list(surface.rates),
        "shard": surface.shard,
        "latency": {name: side("latency", infix) for name, infix in SIDES.items()},
        "ttft": {name: side("ttft", infix) for name, infix in SIDES.items()} if surface.ttft_s else None,
    }


def _shape(day: Demand) -> list[float]:
    """Each minute's share of the mean."""
    return [rate / day.mean for rate in day.per_minute]


def _named(name: Shape) -> list[float]:
    return _shape(demand(Traffic(requests_per_s=1.0, profile=name)))


def _autoscale(request: PlanRequest) -> dict[str, Any]:
    rule = request.autoscale
    assert rule is not None  # noqa: S101 - asked for only where there is one
    return {"utilization": rule.utilization, "least": rule.least, "every_minutes": max(1, round(rule.every_s / 60))}


def _safe(name: str) -> str:
    text = "".join(char if char.isascii() and char.isalnum() else "-" for char in name)
    return "-".join(filter(None, text.split("-"))) or "plan"
