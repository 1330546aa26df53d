"""Load runs: what each subject sustains, and its curves of latency by rate, goodput and the run over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from lmbench.base.units import pretty
from lmbench.record.record import Record
from lmbench.report.details import number, rows_of
from lmbench.report.load_figures import RECOVERY
from lmbench.report.scale import Axis
from lmbench.site.nouns import Page, Stored, Trail
from lmbench.site.plots import Curve, Plot

WORKLOAD = "stress"
SHOWN = ("max_sustainable_rate", "knee_rate", "goodput_requests_per_s", "service_p50_s", "latency_p95_s", "slo_attainment")
RATE = "requests/s"
OFFERED = Axis(title="offered rate", unit=RATE, log=True)
TIMES, RATES = Axis(title="time", unit="s", log=True), Axis(title="rate", unit=RATE, zero=True)
GOOD = "good: requests that met every limit of the SLO, per second"


def page(stored: Stored) -> Page:
    """The newest load run of every case, and their curves side by side."""
    trails = [trail for trail in stored.trails.values() if trail.workload == WORKLOAD]
    measured = [(trail, trail.measured) for trail in trails if trail.measured is not None]
    rows = [_row(trail, record) for trail, record in measured]
    plots = [plot for plot in _compared(measured) if plot.drawn]
    return Page(
        path="load.html",
        title="Load",
        template="load.html.j2",
        scripts=("uplot.js", "plots.js"),
        data={"plots": [plot.to_json() for plot in plots], "columns": {}},
        content={"rows": rows, "plots": plots, "shown": SHOWN, "failed": [one for one in trails if one.newest.failure]},
    )


def load_plots(record: Record) -> list[Plot]:
    """Everything of one load run; empty for other workloads."""
    return [plot for plot in (*_by_rate(record), *_over_time(record)) if plot.drawn]


def _steps(record: Record) -> list[Mapping[str, Any]]:
    """Steps of an open loop, by rising rate; the one that waits for recovery is left out."""
    found = [step for step in rows_of(record, "steps") if step.get("kind") != RECOVERY and not step.get("streams")]
    return sorted((step for step in found if number(step, "offered_rate")), key=lambda step: number(step, "offered_rate") or 0.0)


def _by_rate(record: Record) -> list[Plot]:
    """Latencies, rates and attainment of the steps; nothing of fewer than two rates."""
    steps = _steps(record)
    if len({number(step, "offered_rate") for step in steps}) < 2:
        return []
    target = _slo(record).get("attainment")

    def curve(name: str, *keys: str) -> Curve:
        return Curve(name=name, values=[number(step, *keys) for step in steps])

    times = [
        *(curve(f"response {q}", "percentiles", "latency", q) for q in ("p50", "p95", "p99")),
        curve("first token p95", "percentiles", "ttft", "p95"),
        curve("service p50", "percentiles", "service", "p50"),
    ]
    made = [curve("offered", "offered_rate"), curve("achieved", "achieved_rate"), curve("good", "goodput_requests_per_s")]
    over = partial(
        Plot,
        x=OFFERED,
        at=[number(step, "offered_rate") for step in steps],
        columns={"state": [str(step.get("state", "")) for step in steps], "n": [number(step, "sent") for step in steps]},
    )
    return [
        over(title="Latency by offered rate", y=TIMES, curves=_known(times), rules=objectives(_slo(record))),
        over(title="Rates offered, achieved and good", y=RATES, curves=_known(made), note=GOOD),
        over(
            title="Share of requests that met every SLO",
            y=Axis(title="share", unit="1", zero=True),
            curves=(curve("attainment", "attainment"),),
            rules=((f"target {target:g}", float(target)),) if isinstance(target, int | float) else (),
        ),
    ]


def _over_time(record: Record) -> Iterator[Plot]:
    slices = rows_of(record, "timeline")
    at = [number(one, "t_s") for one in slices]
    x = Axis(title="time since the start", unit="s", zero=True)

    def curve(name: str, key: str) -> Curve:
        return Curve(name=name, values=[number(one, key) for one in slices])

    times = [curve("median", "latency_p50_s"), curve("largest", "latency_max_s"), curve("first token, median", "ttft_p50_s")]
    yield Plot(
        title="Latency over time, by when requests were due",
        x=x,
        y=TIMES,
        at=at,
        curves=_known(times),
        rules=objectives(_slo(record)),
    )
    rates = [curve("offered", "offered_rate"), curve("completed", "completed_rate")]
    yield Plot(title="Load over time", x=x, y=RATES, at=at, curves=_known(rates))
    yield Plot(
        title="Requests in flight",
        x=x,
        y=Axis(title="requests", unit="count", zero=True),
        at=at,
        curves=(curve("in flight", "in_flight"),),
    )
    memory = rows_of(record, "memory")
    yield Plot(
        title="Memory of the service",
        x=x,
        y=Axis(title="memory", unit="bytes"),
        at=[number(one, "t_s") for one in memory],
        curves=(Curve(name="resident", values=[number(one, "rss_bytes") for one in memory]),),
    )


def objectives(slo: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """The limit on whole requests, else that on first tokens, as a line across the plot."""
    for name, key in (("SLO latency", "latency_s"), ("SLO first token", "ttft_s")):
        value = slo.get(key)
        if isinstance(value, int | float):
            return ((f"{name} {pretty(value, 's')}", float(value)),)
    return ()


def _compared(found: Sequence[tuple[Trail, Record]]) -> list[Plot]:
    """p95 and goodput by offered rate, one curve per case, over all rates that any of them was measured at."""
    rates = sorted({rate for _, record in found for step in _steps(record) if (rate := number(step, "offered_rate"))})

    def curves(*keys: str) -> tuple[Curve, ...]:
        made = []
        for trail, record in found:
            table = {number(step, "offered_rate"): number(step, *keys) for step in _steps(record)}
            made.append(Curve(name=_name(trail, found), values=[table.get(rate) for rate in rates]))
        return tuple(made)

    return [
        Plot(
            title="95th percentile of latency by offered rate",
            x=OFFERED,
            y=TIMES,
            at=rates,
            curves=curves("percentiles", "latency", "p95"),
            note="the newest run of each case",
        ),
        Plot(
            title="Goodput by offered rate",
            x=OFFERED,
            y=RATES,
            at=rates,
            curves=curves("goodput_requests_per_s"),
            note="requests that met every limit of the SLO of their own run, per second",
        ),
    ]


def _name(trail: Trail, found: Sequence[tuple[Trail, Record]]) -> str:
    """The case's id, with its machine class where two machines measured it."""
    twins = [other for other, _ in found if other.newest.case.id == trail.newest.case.id]
    return trail.newest.case.id + (f" on {trail.machine_class}" if len(twins) > 1 else "")


def _row(trail: Trail, record: Record) -> dict[str, Any]:
    bottleneck = record.details.get("bottleneck")
    return {
        "trail": trail,
        "path": f"cases/{trail.slug}.html",
        "metrics": [record.metrics.get(name) for name in SHOWN],
        "bottleneck": str(bottleneck.get("resource", "-")) if isinstance(bottleneck, Mapping) else "-",
        "at": record.started_at,
        "notes": record.notes,
    }


def _known(curves: Sequence[Curve]) -> tuple[Curve, ...]:
    return tuple(curve for curve in curves if any(value is not None for value in curve.values))


def _slo(record: Record) -> Mapping[str, Any]:
    found = record.details.get("slo")
    return found if isinstance(found, Mapping) else {}
