"""The charts and tables of a load run: rate and latency, goodput, the timeline, the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lmbench.base.units import pretty
from lmbench.record.record import Record
from lmbench.report.charts import Line, line_chart
from lmbench.report.details import number, rows_of, share
from lmbench.report.scale import Axis
from lmbench.report.tables import Table

RECOVERY = "recovery"
STEP_HEAD = (
    "step",
    "state",
    "offered",
    "achieved",
    "goodput",
    "latency p50",
    "p95",
    "p99",
    "ttft p95",
    "attainment",
    "sent",
    "failed",
    "timed out",
    "rejected",
    "cancelled",
    "queue max",
    "CPU",
)


def load_charts(record: Record) -> list[Markup]:
    """Rate against latency, attainment and goodput by step, then the run over time; empty for other workloads."""
    steps = [step for step in rows_of(record, "steps") if step.get("kind") != RECOVERY and not step.get("streams")]
    return [*_by_rate(record, steps), *_over_time(record)]


def _by_rate(record: Record, steps: Sequence[Mapping[str, Any]]) -> list[Markup]:
    if len({number(step, "offered_rate") for step in steps}) < 2:
        return []
    steps = sorted(steps, key=lambda step: number(step, "offered_rate") or 0.0)
    slo = _slo(record)
    offered = Axis(title="offered rate", unit="requests/s", log=True)

    def line(name: str, *keys: str) -> Line:
        return Line(name=name, points=[(number(step, "offered_rate"), number(step, *keys)) for step in steps])

    times = [
        line("response p50", "percentiles", "latency", "p50"),
        line("response p95", "percentiles", "latency", "p95"),
        line("response p99", "percentiles", "latency", "p99"),
        line("first token p95", "percentiles", "ttft", "p95"),
        line("service p50", "percentiles", "service", "p50"),
    ]
    rates = [line("achieved", "achieved_rate"), line("goodput", "goodput_requests_per_s"), line("offered", "offered_rate")]
    return [
        line_chart("latency by offered rate", times, offered, Axis(title="time", unit="s", log=True), rule=_objective(slo)),
        line_chart(
            "requests that met every SLO",
            [line("attainment", "attainment")],
            offered,
            Axis(title="share", unit="1", zero=True),
            rule=_rule("target", slo.get("attainment"), "1"),
        ),
        line_chart("rates: offered, achieved, good", rates, offered, Axis(title="rate", unit="requests/s", zero=True)),
    ]


def _over_time(record: Record) -> list[Markup]:
    slices = rows_of(record, "timeline")
    time = Axis(title="time since the start", unit="s", zero=True)

    def line(name: str, key: str) -> Line:
        return Line(name=name, points=[(number(one, "t_s"), number(one, key)) for one in slices], dots=False)

    slo = _slo(record)
    return [
        line_chart(
            "latency over time, by when requests were due",
            [line("median", "latency_p50_s"), line("largest", "latency_max_s"), line("first token, median", "ttft_p50_s")],
            time,
            Axis(title="time", unit="s", log=True),
            rule=_objective(slo),
        ),
        line_chart(
            "load over time",
            [line("offered", "offered_rate"), line("completed", "completed_rate")],
            time,
            Axis(title="rate", unit="requests/s", zero=True),
        ),
        line_chart("requests in flight", [line("in flight", "in_flight")], time, Axis(title="requests", unit="count", zero=True)),
        line_chart(
            "memory of the service",
            [
                Line(
                    name="resident",
                    points=[(number(one, "t_s"), number(one, "rss_bytes")) for one in rows_of(record, "memory")],
                    dots=False,
                )
            ],
            time,
            Axis(title="memory", unit="bytes"),
        ),
    ]


def step_table(record: Record) -> Table | None:
    """One row per step; None for other workloads."""
    found = tuple(_step_row(step) for step in rows_of(record, "steps"))
    return Table(title="Requests by step", head=STEP_HEAD, rows=found) if found else None


def _step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    percentiles = (("latency", "p50"), ("latency", "p95"), ("latency", "p99"), ("ttft", "p95"))
    streams, state, cut = number(step, "streams"), str(step.get("state", "")), str(step.get("cut") or "")
    return (
        f"{step.get('kind')} of {streams:.0f} streams" if streams else str(step.get("kind")),
        f"{state}: {cut}" if cut and cut != state else state,
        *(pretty(number(step, key), "requests/s") for key in ("offered_rate", "achieved_rate", "goodput_requests_per_s")),
        *(pretty(number(step, "percentiles", *keys), "s") for keys in percentiles),
        share(number(step, "attainment")),
        *(
            pretty(number(step, key), "count")
            for key in ("sent", "failed", "timed_out", "rejected", "cancelled", "queue_depth_max")
        ),
        share(number(step, "cpu_utilization")),
    )


def _slo(record: Record) -> Mapping[str, Any]:
    found = record.details.get("slo")
    return found if isinstance(found, Mapping) else {}


def _objective(slo: Mapping[str, Any]) -> tuple[str, float] | None:
    """The objective on whole requests, else that on first tokens."""
    return _rule("SLO latency", slo.get("latency_s"), "s") or _rule("SLO first token", slo.get("ttft_s"), "s")


def _rule(name: str, value: Any, unit: str) -> tuple[str, float] | None:
    return (f"{name} {pretty(value, unit)}", float(value)) if isinstance(value, int | float) else None
