"""The columns of the matrix: which metric of which workload each shows, and every value beside its ratio to the parent's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, quantiles
from typing import Any

from lmbench.base.catalogue import METRICS
from lmbench.base.units import pretty
from lmbench.compare.frontier import ALIKE, DISK, MEMORY, ONE_PROCESS, SPEED, WEIGHTS, Span, span
from lmbench.measure.measurement import Metric
from lmbench.record.record import Record
from lmbench.report.details import number
from lmbench.report.matrix_cells import Cell, question
from lmbench.report.thread_words import MARK, apart

QUALITY, ZEROS = "perplexity", "zeros"
RATES = ("latency", "scoring", "throughput")
FEW_SAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column may show; the first metric and workload that most cells of a model know is what it does show."""

    key: str
    title: str
    metrics: tuple[str, ...]
    workloads: tuple[str, ...] = ()
    """Empty: a fact of the cell, the same in every workload."""
    objective: str | None = None
    relative: bool = False
    """The metric is itself a comparison with the parent, so it has no ratio."""


COLUMNS = (
    Column(key="output", title="generation", metrics=("output_tokens_per_s",), workloads=("latency",), objective=SPEED),
    Column(key="batched", title="batched", metrics=("output_tokens_per_s",), workloads=("throughput",), objective=SPEED),
    Column(key="scored", title="scoring", metrics=("scored_tokens_per_s",), workloads=("scoring",), objective=SPEED),
    Column(key="latency", title="latency p50", metrics=("latency_p50_s",), workloads=("latency", "scoring")),
    Column(key=QUALITY, title="perplexity", metrics=("perplexity", "masked_perplexity", "pseudo_perplexity")),
    Column(key="bits", title="bits/byte", metrics=("bits_per_byte",), relative=True),
    Column(key="kl", title="KL, nats", metrics=("kl_divergence",), relative=True),
    Column(key="top1", title="top-1 agrees", metrics=("top1_agreement",), relative=True),
    Column(key="peak", title="peak memory", metrics=("peak_rss_bytes",), workloads=("memory", *RATES), objective=MEMORY),
    Column(key="weights", title="weights", metrics=("weights_bytes",), objective=WEIGHTS),
    Column(key="disk", title="disk", metrics=("disk_bytes",), objective=DISK),
    Column(key="cold", title="cold start", metrics=("cold_start_p50_s",), workloads=("cold_start",)),
    Column(key="load", title="load", metrics=("load_s",), workloads=("cold_start", *RATES, "memory")),
    Column(key="export", title="export", metrics=("export_s",)),
    Column(key="first", title="first call", metrics=("first_call_s",), workloads=("cold_start", *RATES)),
    Column(key="energy", title="energy", metrics=("energy_per_token_j",), workloads=RATES),
    Column(key=ZEROS, title="zeros", metrics=("sparsity",), relative=True),
)
CLAIMED = Column(key="claimed", title="claimed", metrics=("sparsity",), relative=True)
DENSE = Column(key="dense", title="vs dense", metrics=(), relative=True)
"""Only where a level claims zeros: what it claims, and its speed over the same engine's without compression."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One entry of the table; `reason` says why the value, or else its ratio, is not known."""

    text: str
    value: float | None = None
    ratio: float | None = None
    """The value over the parent's."""
    reason: str = ""
    mark: str = ""
    """Set where the ratio is of two cells that did not compute with the same number of threads."""
    span: Span | None = None
    """Within which other values count as equal; for objectives only."""

    def against(self, column: Column) -> str:
        """The ratio with its mark: '2.10x'."""
        return f"{times(self.ratio, column)}{self.mark}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a level says of its zeros: short enough for the table, and in words."""

    short: str
    words: str
    alone: bool = True
    """Whether the level does nothing else that acts on speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a column shows for one model: a metric, and the question it answers (None: any)."""

    column: Column
    metric: str
    asked: str | None = None
    case: str = ""
    """A name of the cases that ask it."""
    known: int = 0
    """Cells that know the value."""

    @property
    def unit(self) -> str:
        return METRICS[self.metric].unit


def source_of(column: Column, cells: Sequence[Cell]) -> Source | None:
    """What most cells know, in doubt what `column` names first; None when no cell knows any of it."""
    counts: Counter[tuple[str, str | None]] = Counter()
    names: dict[str | None, tuple[str, str]] = {None: ("", "")}
    for cell in cells:
        known = {
            (metric, _asked(column, record)): record
            for record in _records(column, cell)
            for metric in column.metrics
            if _value(record, metric) is not None
        }
        counts.update(known.keys())
        names |= {asked: (record.case.name, record.case.workload) for (_, asked), record in known.items() if asked is not None}
    if not counts:
        return None

    def rank(key: tuple[str, str | None]) -> tuple[int, int, int]:
        workload = names[key[1]][1]
        return -counts[key], column.workloads.index(workload) if workload else 0, column.metrics.index(key[0])

    metric, asked = min(counts, key=rank)
    title = column.title if metric == column.metrics[0] else metric.replace("_", " ")
    return Source(
        column=replace(column, title=title), metric=metric, asked=asked, case=names[asked][0], known=counts[metric, asked]
    )


def value_of(source: Source, cell: Cell, parent: Cell | None) -> Value:
    """The cell's entry in a column."""
    found = _answer(source, cell)
    if isinstance(found, str):
        return Value(text=pretty(None, ""), reason=found)
    metric, record = found
    if metric.value is None:
        return Value(text=pretty(None, ""), reason=metric.reason)
    ratio, reason = _ratio(source, metric.value, record, parent)
    around = _span(source, cell, metric.value) if source.column.objective else None
    return Value(
        text=_shown(metric, metric.value),
        value=metric.value,
        ratio=ratio,
        reason=reason,
        mark=_mark(source, record, parent) if ratio is not None else "",
        span=around,
    )


def why_absent(column: Column, cells: Sequence[Cell]) -> str:
    """Why no cell knows a column: the reason most records give; empty when nothing of it was asked for."""
    metrics = [record.metrics.get(name) for cell in cells for record in _records(column, cell) for name in column.metrics]
    reasons = Counter(metric.reason for metric in metrics if metric is not None and metric.reason)
    return reasons.most_common(1)[0][0] if reasons else ""


def claim(cell: Cell) -> Claim | None:
    """What the level, or a step of it, says of its zeros; what was found, where it says nothing; None: it makes none."""
    for record in cell.answers:
        lineage = record.subject.get("lineage")
        whole = lineage if isinstance(lineage, Mapping) else {}
        listed = whole.get("steps")  # of a chain; a number of training steps for a student
        steps = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, Sequence) else []
        made = next((said for step in (whole, *steps) if (said := _claim(step, alone=len(steps) < 2)) is not None), None)
        if made is not None:
            return made
    found = next((share for record in cell.answers if (share := _value(record, "sparsity")) is not None), None)
    return None if found is None else Claim(short=shares(found), words="zeros")


def _claim(step: Mapping[str, Any], *, alone: bool) -> Claim | None:
    share, threshold, pattern = number(step, "sparsity"), number(step, "threshold"), step.get("pattern")
    if share is not None:
        return Claim(short=shares(share), words=f"{shares(share)} zeros", alone=alone)
    if threshold is not None:
        return Claim(short=f"below {threshold:g}", words=f"zeros for weights below {threshold:g}", alone=alone)
    return Claim(short="pattern", words=f"zeros for {pattern}", alone=alone) if isinstance(pattern, str) else None


def shares(value: float) -> str:
    """0.4033 -> '40.3 %'."""
    return f"{value * 100:.3g} %"


def entry(value: Value, column: Column) -> str:
    """'480 tokens/s (1.02x)'."""
    return value.text if value.ratio is None else f"{value.text} ({value.against(column)})"


def times(ratio: float | None, column: Column | None = None) -> str:
    """2.1 -> '2.10x'; perplexities, where small losses count, with four decimals."""
    if ratio is None:
        return pretty(None, "")
    if column is not None and column.key == QUALITY:
        return f"{ratio:.4f}x"
    return f"{ratio:.2f}x" if 0.1 <= ratio < 100 else f"{ratio:.3g}x"


def _shown(metric: Metric, value: float) -> str:
    if metric.name == "sparsity":
        return shares(value)
    return f"{value:.2g}" if metric.unit == "nats" else pretty(value, metric.unit)


def _records(column: Column, cell: Cell) -> Iterator[Record]:
    for record in cell.answers:
        if not column.workloads or record.case.workload in column.workloads:
            yield record


def _asked(column: Column, record: Record) -> str | None:
    return question(record.case) if column.workloads else None


def _value(record: Record, name: str) -> float | None:
    metric = record.metrics.get(name)
    return None if metric is None else metric.value


def _answer(source: Source, cell: Cell) -> tuple[Metric, Record] | str:
    """The metric and its record, or why there is none."""
    if source.asked is not None:
        record = cell.newest(source.asked)
        if record is None:
            return f"this cell has no case like {source.case}"
        answers = [record]
    else:
        answers = list(cell.answers)
    holding = [record for record in answers if source.metric in record.metrics]
    if not holding:
        failed = next((record.failure for record in answers if record.failure), None)
        return f"its case failed ({failed.kind})" if failed else "not recorded"
    best = next((record for record in holding if _value(record, source.metric) is not None), holding[0])
    return best.metrics[source.metric], best


def _ratio(source: Source, value: float, record: Record, parent: Cell | None) -> tuple[float | None, str]:
    if source.column.relative:
        return None, ""
    if source.column.key == QUALITY and (measured := _value(record, "perplexity_ratio")) is not None:
        return measured, ""  # to the parent's answers kept from the reference engine, also where no parent was measured
    if parent is None:
        return None, "no fp32 parent was measured"
    found = _answer(source, parent)
    if isinstance(found, str):
        return None, "no ratio, for that of the parent is not known"
    base = found[0].value
    if not base:
        return None, f"no ratio, for that of the parent is {'not known' if base is None else '0'}"
    return value / base, ""


def _mark(source: Source, record: Record, parent: Cell | None) -> str:
    """MARK where the value hangs on the threads and the parent's was measured on another number of them."""
    if source.asked is None or parent is None:
        return ""
    return MARK if apart(record, parent.newest(source.asked)) else ""


def _span(source: Source, cell: Cell, value: float) -> Span:
    records = cell.records[source.asked] if source.asked else cell.answers
    seen: list[float] = []
    for record in records:
        other = _value(record, source.metric)
        if other is not None:
            seen += _quartiles(record, other) if source.column.objective == SPEED else [other]
    return span(source.metric, value, seen, alike=ALIKE if cell.processes(source.asked) > 1 else ONE_PROCESS)


def _quartiles(record: Record, rate: float) -> tuple[float, float]:
    """The rates of the samples at the third and first quartile; (rate, rate) where they are too few to tell.

    A rate is work over the sum of all samples, so the work of one is the rate times their mean.
    """
    samples = [one for one in record.series.get(record.primary or "", ()) if one > 0]
    if len(samples) < FEW_SAMPLES:
        return rate, rate
    first, _, third = quantiles(samples, n=4, method="inclusive")
    return rate * fmean(samples) / third, rate * fmean(samples) / first
