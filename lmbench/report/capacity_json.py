"""A plan as plain JSON, everything machine-readable: no NaN and no infinity, what is not known is null with a reason.

Schema history
  1  first version
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np

from lmbench.capacity.mix import Total, cheapest, totals
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan import Plan, Sized, backtest_error
from lmbench.capacity.scenarios import Outlook
from lmbench.capacity.sizing import quantile_at
from lmbench.report.capacity import CapacityReport, at_peak, reliable
from lmbench.report.capacity_mix import by_model, together
from lmbench.report.capacity_options import NO_POWER, NO_PRICE
from lmbench.report.capacity_words import sureness, verdict, warnings, why_not

SCHEMA_VERSION = 1
INFINITE = "infinite: more arrives than is served, the queue grows without end"
SAMPLES = ("service_s", "first_token_s")
"""Of a replica: one number per request, summarised here and kept in the records."""


def capacity_json(reports: Sequence[CapacityReport]) -> dict[str, Any]:
    """The plan, its inputs and its answer. Times in seconds, sizes in bytes, rates in requests/s, costs as in the plan file.

    Of a mix each model's plan under 'models', and all of them together under 'total'.
    """
    plans = by_model(reports)
    if not plans:
        return _plan(reports[0])
    found = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "plan_file": reports[0].source,
            "verdict": together(reports),
            "total": {
                "options": [
                    {"name": name, **_total(one)}
                    for name, one in zip(reports[0].plan.request.options, totals(plans), strict=True)
                ],
                "cheapest": _total(cheapest(plans)),
            },
        }
    )
    return {**found, "models": {one.model: {"share": one.share, **_plan(one)} for one in reports}}


def _total(one: Total) -> dict[str, Any]:
    return {**asdict(one), "keeps_every_promise": one.keeps}


def _plan(report: CapacityReport) -> dict[str, Any]:
    plan, front, kept = report.plan, report.front, report.kept
    found = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "plan_file": report.source,
            "recommended": kept[0].name if kept else None,
            "verdict": verdict(report),
            "sureness": sureness(report),
            "warnings": warnings(report),
            "request": plan.request.model_dump(),
            "demand": {**asdict(plan.demand), "mean_requests_per_s": plan.demand.mean, "peak_requests_per_s": plan.demand.peak},
            "front": {"axes": front.axes, "beaten_by": front.beaten, "unknown_axes": front.unknown},
            "options": [_option(report, one) for one in plan.options],
            "stored_runs": report.runs,
            "left_out": report.problems,
        }
    )
    assert isinstance(found, dict)  # noqa: S101 - a mapping stays one
    return found


def plain(value: Any) -> Any:
    """`value` as JSON holds it; a number that is not finite becomes null, its reason beside it under '<key>_reason'."""
    if isinstance(value, Mapping):
        table: dict[str, Any] = {}
        for key, inner in value.items():
            table[str(key)] = plain(inner)
            if isinstance(inner, float) and not math.isfinite(inner):
                table[f"{key}_reason"] = INFINITE if inner > 0 else "not a number"
        return table
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _option(report: CapacityReport, one: Sized) -> dict[str, Any]:
    measured = report.measured.get(one.name)
    return {
        "name": one.name,
        "keeps_every_promise": one.meets,
        "within_backtest_bound": reliable(one),
        "why_not": "" if one.meets else why_not(report.plan, one),
        "extrapolates": one.extrapolates,
        "replicas": {
            "needed_at_peak": one.needed,
            "needed_at_peak_interval": one.needed_range,
            "least": one.fleet.least if one.fleet else None,
            "peak": one.fleet.peak if one.fleet else None,
            "ready_per_minute": one.fleet.ready if one.fleet else None,
        },
        "ceiling": asdict(one.top) if one.top else None,
        "day": asdict(one.day) if one.day else None,
        "latency_at_peak": _at_peak(report.plan, one),
        "memory": asdict(one.memory) if one.memory else None,
        "cost_per_hour": one.cost_per_hour,
        "cost_per_million_tokens": one.cost_per_million_tokens,
        "joules_per_million_tokens": one.joules_per_million_tokens,
        "quality_met": one.quality_met,
        "steady_promises": [{**asdict(check), "holds": check.holds} for check in one.checks],
        "what_happens_when": [_outlook(outlook) for outlook in one.outlooks],
        "tornado": [asdict(swing) for swing in one.tornado],
        "surface": asdict(one.surface) if one.surface else None,
        "measured": _replica(measured) if measured else None,
        "reasons": _reasons(one, measured),
    }


def _at_peak(plan: Plan, one: Sized) -> dict[str, Any]:
    """Each promised quantile in the busiest minute: value, ends of its interval, limit."""
    if one.surface is None or one.fleet is None:
        return {}
    rate = at_peak(plan, one)
    return {
        f"{kind}_{quantile}": {
            "rate_per_replica": rate,
            **{f"{side}_s": quantile_at(one.surface, kind, quantile, rate, side) for side in ("low", "mid", "high")},
            "limit_s": limit,
        }
        for (kind, quantile), limit in plan.request.slo.limits.items()
    }


def _outlook(outlook: Outlook) -> dict[str, Any]:
    limit, expected, promised = outlook.worst or (None, None, None)
    return {
        "what": outlook.what,
        "holds": outlook.holds,
        "replicas_left": outlook.left,
        "replicas_needed": outlook.needed,
        "worst": {"limit": limit, "expected_s": expected, "promised_s": promised},
        "reason": outlook.reason,
    }


def _replica(replica: Replica) -> dict[str, Any]:
    found = {name: value for name, value in asdict(replica).items() if name not in SAMPLES}
    return {
        **found,
        "backtests": [{**asdict(test), "error": test.error} for test in replica.backtests],
        "backtest_error": backtest_error(replica),
        "runs": len(replica.service_s),
        **{name: _summary(list(chain.from_iterable(getattr(replica, name)))) for name in SAMPLES},
    }


def _summary(values: Sequence[float]) -> dict[str, Any] | None:
    """n, mean, squared coefficient of variation and quantiles of the measured times."""
    if not values:
        return None
    times = np.asarray(values)
    quantiles = {f"p{q}_s": float(np.quantile(times, q / 100)) for q in (50, 90, 95, 99)}
    mean = float(times.mean())
    return {"n": len(values), "mean_s": mean, "scv": float(times.var()) / mean**2 if mean else None, **quantiles}


def _reasons(one: Sized, measured: Replica | None) -> dict[str, str]:
    """Why a figure of the option is null."""
    found = dict(measured.reasons) if measured else {}
    if one.refused:
        found["replicas"] = one.refused
    if one.option.price_per_hour is None:
        found["cost_per_hour"] = found["cost_per_million_tokens"] = NO_PRICE
    if one.option.idle_w is None or one.option.busy_w is None:
        found["energy_j"] = found["joules_per_million_tokens"] = NO_POWER
    return found
