"""Reports as CSV: one row per case and metric, values in base units, for spreadsheets and notebooks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from lmbench.report.model import CaseView, Report, Row

COLUMNS = (
    "run",
    "machine_class",
    "started_at",
    "node_id",
    "workload",
    "model",
    "backend",
    "compression",
    "case_digest",
    "corpus_digest",
    "status",
    "metric",
    "value",
    "unit",
    "better",
    "n",
    "reason",
    "baseline",
    "ratio",
    "limit",
    "n_baselines",
    "verdict",
    "why",
    "carried",
    "age_s",
)
"""value, baseline and limit are in `unit` (s, bytes, tokens/s ...); n counts the samples behind the value, n_baselines
the stored runs behind the baseline, ratio is value / baseline. A case that failed or is missing has one row without a metric.
`carried` is yes in rows whose values an earlier run measured: `run` and `started_at` are that run's, `age_s` is how long before
this run, `verdict` is empty, and `why` names the verdict of then.
Cells that a spreadsheet would run as a formula start with an apostrophe."""


def render_csv(report: Report) -> str:
    """The whole file, header included."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for view in report.cases:
        for row in _rows(report, view):
            writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue()


def _rows(report: Report, view: CaseView) -> Iterator[dict[str, object]]:
    shared = _shared(report, view)
    for verdict in view.whole:
        yield {**shared, "verdict": verdict.outcome, "why": verdict.why}
    for row in view.rows:
        yield {**shared, **_metric(row)} if view.carried is None else {**_metric(row), **shared}
    if view.last is not None:
        yield from _rows(report, view.last)


def _shared(report: Report, view: CaseView) -> dict[str, object]:
    origin = view.carried
    shared: dict[str, object] = {"run": report.run.id, "machine_class": report.run.machine_class, "node_id": view.node_id}
    if origin is not None:
        shared |= {"run": origin.run, "started_at": origin.at, "carried": "yes", "age_s": origin.age_s, "why": origin.sentence}
    if view.record is None:
        return shared
    case = view.record.case
    return shared | {
        "machine_class": view.record.machine_class,
        "started_at": view.record.started_at,
        "workload": case.workload,
        "model": case.model.name,
        "backend": case.backend.name,
        "compression": case.compression.name,
        "case_digest": case.digest,
        "corpus_digest": view.record.corpus_digest,
        "status": view.record.status,
    }


def _metric(row: Row) -> dict[str, object]:
    cells: dict[str, object] = {"metric": row.name, "unit": row.unit}
    if row.metric:
        cells |= {"value": row.metric.value, "better": row.metric.better, "n": row.metric.n, "reason": row.metric.reason}
    if row.verdict:
        verdict = row.verdict
        cells |= {"baseline": verdict.baseline, "ratio": verdict.ratio, "limit": verdict.limit, "why": verdict.why}
        cells |= {"n_baselines": verdict.n_baselines, "verdict": verdict.outcome}
        if row.metric is None:  # a plain test has no record
            cells |= {"value": verdict.now, "better": verdict.better}
    return cells


def _cell(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value
