"""A record's raw series and details as charts and small tables; what a record does not hold is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from lmbench.base.units import pretty, pretty_change
from lmbench.record.record import Record
from lmbench.report.charts import Line, ecdf, histogram, line_chart, paired_bars
from lmbench.report.details import number, rows_of
from lmbench.report.flatten import as_text, leaves
from lmbench.report.layout import SERIES
from lmbench.report.load_figures import load_charts, step_table
from lmbench.report.scale import Axis
from lmbench.report.tables import Table

PER_TOKEN = ("tpot", "itl", "decode")
"""Series whose samples are times of one token: their distributions are drawn apart from those of whole requests."""


def charts(record: Record) -> tuple[Markup, ...]:
    """Every chart the record has data for: the main result first, then distributions."""
    found = [*load_charts(record), *_sweep(record), *_memory(record), *_distributions(record)]
    return tuple(chart for chart in found if chart)


def tables(record: Record) -> tuple[Table, ...]:
    """Every table the record has data for: ramp steps, batch sweep, memory terms, phases, resources."""
    found = (step_table(record), _sweep_table(record), _term_table(record), _phase_table(record), *_accounts(record))
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


def _sweep(record: Record) -> list[Markup]:
    rows = rows_of(record, "sweep")
    batch = Axis(title="batch size", unit="count", log=True)
    lines = [
        Line(
            name=name.replace("_per_s", "/s").replace("_", " "),
            points=[(number(row, "batch"), number(row, name)) for row in rows],
        )
        for name in ("output_tokens_per_s", "total_tokens_per_s")
    ]
    return (
        [line_chart("throughput over batch size", lines, batch, Axis(title="throughput", unit="tokens/s", zero=True))]
        if rows
        else []
    )


def _memory(record: Record) -> list[Markup]:
    terms = [term for term in rows_of(record, "terms") if "per token" not in str(term.get("term"))]
    bars = [(str(term.get("term")), number(term, "measured"), number(term, "estimate")) for term in terms]
    return [paired_bars("memory: measured beside estimated", bars, "bytes", ("measured", "estimated"))] if bars else []


def _sweep_table(record: Record) -> Table | None:
    rows = tuple(
        (
            pretty(number(row, "batch"), "count"),
            pretty(number(row, "output_tokens_per_s"), "tokens/s"),
            pretty(number(row, "total_tokens_per_s"), "tokens/s"),
            pretty(number(row, "peak_rss_bytes"), "bytes"),
            str(len(row.get("round_s") or ())),
        )
        for row in rows_of(record, "sweep")
    )
    stopped = record.details.get("stopped")
    notes = (f"The sweep stopped: {stopped}.",) if stopped else ()
    return Table(title="Batch sweep", head=("batch", "output", "total", "peak memory", "n"), rows=rows, notes=notes)


def _term_table(record: Record) -> Table | None:
    def size(term: Mapping[str, Any], key: str) -> str:
        return pretty(number(term, key), "bytes/token" if "per token" in str(term.get("term")) else "bytes")

    def error(term: Mapping[str, Any]) -> str:
        value = number(term, "error")
        return pretty_change(None if value is None else 1 + value)

    rows = tuple(
        (str(term.get("term")), size(term, "measured"), size(term, "estimate"), error(term)) for term in rows_of(record, "terms")
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
