"""A record's raw series and details as charts and small tables; what a record does not hold is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from lmbench.base.units import pretty, pretty_change
from lmbench.record.record import Record
from lmbench.report.charts import Line, ecdf, histogram, line_chart, paired_bars
from lmbench.report.flatten import as_text, leaves
from lmbench.report.layout import SERIES
from lmbench.report.scale import Axis

RAMP = "ramp"
PER_TOKEN = ("tpot", "itl", "decode")
"""Series whose samples are times of one token: their distributions are drawn apart from those of whole requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A small table of texts; `notes` are sentences below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def charts(record: Record) -> tuple[Markup, ...]:
    """Every chart the record has data for: the main result first, then distributions."""
    found = [*_ramp(record), *_sweep(record), *_memory(record), *_distributions(record)]
    return tuple(chart for chart in found if chart)


def tables(record: Record) -> tuple[Table, ...]:
    """Every table the record has data for: ramp steps, batch sweep, memory terms, phases, resources."""
    found = (_step_table(record), _sweep_table(record), _term_table(record), _phase_table(record), *_accounts(record))
    return tuple(table for table in found if table is not None and table.rows)


def _distributions(record: Record) -> list[Markup]:
    series = {name: list(values) for name, values in record.series.items() if len(values) > 1}
    if not series:
        return []
    primary = record.primary if record.primary in series else next(iter(series))
    words = f"{primary}: {SERIES.get(primary, 'as recorded')}"
    found = [histogram(words, series[primary], "s")]
    for scope, chosen in (("per token", True), ("per round or request", False)):
        group = [(name, values) for name, values in series.items() if (name in PER_TOKEN) is chosen]
        found.append(ecdf(f"cumulative distribution, {scope}", group, "s"))
    return found


def _ramp(record: Record) -> list[Markup]:
    steps = [step for step in _rows(record, "steps") if step.get("kind", RAMP) == RAMP]
    if not steps:
        return []
    slo = record.details.get("slo") or {}
    offered = Axis(title="offered rate", unit="requests/s", log=True)

    def line(name: str, *keys: str) -> Line:
        return Line(name=name, points=[(_number(step, "offered_rate"), _number(step, *keys)) for step in steps])

    times = [
        line("response p50", "percentiles", "latency", "p50"),
        line("response p95", "percentiles", "latency", "p95"),
        line("service p50", "percentiles", "service", "p50"),
    ]
    rates = [line("achieved", "achieved_rate"), line("goodput", "goodput_requests_per_s")]
    rates.append(Line(name="offered", points=[(_number(step, "offered_rate"), _number(step, "offered_rate")) for step in steps]))
    limit, target = slo.get("latency_s"), slo.get("attainment")
    return [
        line_chart(
            "response and service time along the ramp",
            times,
            offered,
            Axis(title="time", unit="s", log=True),
            rule=_rule("SLO latency", limit, "s"),
        ),
        line_chart(
            "requests that met every SLO",
            [line("attainment", "attainment")],
            offered,
            Axis(title="share", unit="1", zero=True),
            rule=_rule("target", target, "1"),
        ),
        line_chart("rates along the ramp", rates, offered, Axis(title="rate", unit="requests/s", zero=True)),
    ]


def _sweep(record: Record) -> list[Markup]:
    rows = _rows(record, "sweep")
    batch = Axis(title="batch size", unit="count", log=True)
    lines = [
        Line(
            name=name.replace("_per_s", "/s").replace("_", " "),
            points=[(_number(row, "batch"), _number(row, name)) for row in rows],
        )
        for name in ("output_tokens_per_s", "total_tokens_per_s")
    ]
    return (
        [line_chart("throughput over batch size", lines, batch, Axis(title="throughput", unit="tokens/s", zero=True))]
        if rows
        else []
    )


def _memory(record: Record) -> list[Markup]:
    terms = [term for term in _rows(record, "terms") if "per token" not in str(term.get("term"))]
    bars = [(str(term.get("term")), _number(term, "measured"), _number(term, "estimate")) for term in terms]
    return [paired_bars("memory: measured beside estimated", bars, "bytes", ("measured", "estimated"))] if bars else []


def _step_table(record: Record) -> Table | None:
    head = (
        "step",
        "offered",
        "achieved",
        "goodput",
        "response p50",
        "p95",
        "service p50",
        "attainment",
        "sent",
        "failed",
        "rejected",
        "queue max",
        "CPU",
    )
    rows = tuple(
        (
            str(step.get("kind", RAMP)),
            *(pretty(_number(step, key), "requests/s") for key in ("offered_rate", "achieved_rate", "goodput_requests_per_s")),
            *(
                pretty(_number(step, "percentiles", *keys), "s")
                for keys in (("latency", "p50"), ("latency", "p95"), ("service", "p50"))
            ),
            _share(_number(step, "attainment")),
            *(pretty(_number(step, key), "count") for key in ("sent", "failed", "rejected", "queue_depth_max")),
            _share(_number(step, "cpu_utilization")),
        )
        for step in _rows(record, "steps")
    )
    return Table(title="Steps of the ramp", head=head, rows=rows)


def _sweep_table(record: Record) -> Table | None:
    rows = tuple(
        (
            pretty(_number(row, "batch"), "count"),
            pretty(_number(row, "output_tokens_per_s"), "tokens/s"),
            pretty(_number(row, "total_tokens_per_s"), "tokens/s"),
            pretty(_number(row, "peak_rss_bytes"), "bytes"),
            str(len(row.get("round_s") or ())),
        )
        for row in _rows(record, "sweep")
    )
    stopped = record.details.get("stopped")
    notes = (f"The sweep stopped: {stopped}.",) if stopped else ()
    return Table(title="Batch sweep", head=("batch", "output", "total", "peak memory", "n"), rows=rows, notes=notes)


def _term_table(record: Record) -> Table | None:
    def size(term: Mapping[str, Any], key: str) -> str:
        return pretty(_number(term, key), "bytes/token" if "per token" in str(term.get("term")) else "bytes")

    def error(term: Mapping[str, Any]) -> str:
        value = _number(term, "error")
        return pretty_change(None if value is None else 1 + value)

    rows = tuple(
        (str(term.get("term")), size(term, "measured"), size(term, "estimate"), error(term)) for term in _rows(record, "terms")
    )
    return Table(title="Memory terms", head=("term", "measured", "estimated", "error"), rows=rows)


def _phase_table(record: Record) -> Table | None:
    phases = record.details.get("phases") or record.details.get("closed_loop")
    if not isinstance(phases, Mapping):
        return None
    warmup = [value for value in phases.get("warmup_s") or () if isinstance(value, int | float)]
    shown = {**phases, "warmup_s": sum(warmup), "warmup_rounds": len(warmup)}
    return Table(title="Phases", head=("what", "value"), rows=tuple(leaves(shown)))


def _accounts(record: Record) -> list[Table | None]:
    found: list[Table | None] = []
    for title, content in (
        ("Bottleneck", record.details.get("bottleneck")),
        ("Resources while measuring", record.resources),
        ("Subject", record.subject),
        ("Parameters", record.case.params),
    ):
        if isinstance(content, Mapping) and content:
            found.append(Table(title=title, head=("what", "value"), rows=tuple(leaves(content))))
        elif isinstance(content, str):
            found.append(Table(title=title, head=("what", "value"), rows=((title.lower(), as_text(title, content)),)))
    return found


def _rows(record: Record, key: str) -> list[Mapping[str, Any]]:
    rows = record.details.get(key)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, Sequence) and not isinstance(rows, str) else []


def _number(row: Mapping[str, Any], *keys: str) -> float | None:
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _rule(name: str, value: Any, unit: str) -> tuple[str, float] | None:
    return (f"{name} {pretty(value, unit)}", float(value)) if isinstance(value, int | float) else None


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
