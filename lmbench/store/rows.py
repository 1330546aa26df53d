"""Stored runs as a table: one row per case and metric, the same columns in every export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lmbench.record.record import Record
from lmbench.store.runs import StoredRun

COLUMNS: Mapping[str, tuple[str, str]] = {
    "run": ("VARCHAR", "id of the run"),
    "run_file": ("VARCHAR", "name of its file"),
    "machine_class": ("VARCHAR", "class of the machine it was measured on"),
    "environment": ("VARCHAR", "digest of its environment"),
    "started_at": ("VARCHAR", "when the case began, UTC"),
    "wall_s": ("DOUBLE", "seconds the case took, building and checking included"),
    "node_id": ("VARCHAR", "the case as pytest names it"),
    "suite": ("VARCHAR", "path of the suite"),
    "case_name": ("VARCHAR", "name of the case in its suite"),
    "case_digest": ("VARCHAR", "digest of what is measured; equal digests compare"),
    "corpus_digest": ("VARCHAR", "digest of the text"),
    "workload": ("VARCHAR", "what was done"),
    "model": ("VARCHAR", "the suite's name of the model"),
    "model_kind": ("VARCHAR", "its family"),
    "backend": ("VARCHAR", "the suite's name of the backend"),
    "backend_kind": ("VARCHAR", "the engine"),
    "compression": ("VARCHAR", "the suite's name of the level"),
    "compression_kind": ("VARCHAR", "the method"),
    "status": ("VARCHAR", "ok or error"),
    "mode": ("VARCHAR", "full, or once for a correctness test"),
    "metric": ("VARCHAR", "its name; null in the one row of a case that failed"),
    "value": ("DOUBLE", "in the unit of the metric; null when not known"),
    "unit": ("VARCHAR", "s, bytes, tokens/s ..."),
    "better": ("VARCHAR", "lower or higher; null when neither"),
    "kind": ("VARCHAR", "time, rate, exact, memory or info"),
    "n": ("BIGINT", "samples behind the value"),
    "reason": ("VARCHAR", "why the value is null, or why the case failed"),
}
"""Column -> (DuckDB's type, what it is)."""


def rows(runs: Iterable[StoredRun]) -> Iterator[dict[str, Any]]:
    """Every metric of every record of these runs; values as they were recorded."""
    for run in runs:
        for record in run.records:
            shared = {**dict.fromkeys(COLUMNS), "run": run.id, "run_file": run.path.name, **_shared(record)}
            if not record.metrics:
                failure = record.failure
                reason = "" if failure is None else f"{failure.kind}: {failure.message}"
                yield {**shared, "reason": reason}
            for metric in record.metrics.values():
                own = {key: getattr(metric, key) for key in ("value", "unit", "better", "kind", "n", "reason")}
                yield {**shared, "metric": metric.name, **own}


def newest(table: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of each machine class, case and metric the row that was measured last, full runs only."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for row in table:
        if row["mode"] != "full" or row["metric"] is None:
            continue
        key = (row["machine_class"], row["node_id"], row["metric"])
        if key not in found or row["started_at"] > found[key]["started_at"]:
            found[key] = row
    return list(found.values())


def _shared(record: Record) -> dict[str, Any]:
    case = record.case
    axes = {axis: getattr(case, axis) for axis in ("model", "backend", "compression")}
    return {
        "machine_class": record.machine_class,
        "environment": record.environment,
        "started_at": record.started_at,
        "wall_s": record.wall_s,
        "node_id": case.node_id,
        "suite": case.suite,
        "case_name": case.name,
        "case_digest": case.digest,
        "corpus_digest": record.corpus_digest,
        "workload": case.workload,
        **{axis: choice.name for axis, choice in axes.items()},
        **{f"{axis}_kind": choice.kind for axis, choice in axes.items()},
        "status": record.status,
        "mode": record.mode,
    }
