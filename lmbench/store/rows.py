"""Stored runs as a table: one row per case and metric, the same columns in every export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lmbench.measure.clock import epoch_s
from lmbench.measure.measurement import Metric
from lmbench.record.record import FULL, OK, Record
from lmbench.store.runs import StoredRun

COLUMNS: Mapping[str, tuple[str, str]] = {
    "run": ("VARCHAR", "id of the run"),
    "run_file": ("VARCHAR", "name of its file"),
    "machine_class": ("VARCHAR", "class of the machine it was measured on"),
    "environment": ("VARCHAR", "digest of its environment"),
    "started_at": ("VARCHAR", "when the case began, UTC"),
    "age_s": ("DOUBLE", "seconds from then to the making of this table"),
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
    "latest": ("BOOLEAN", "whether this is the newest full record of the case on its machine class"),
    "latest_status": ("VARCHAR", "status of that newest record: error beside a good value means that the case fails now"),
    "mode": ("VARCHAR", "full, or once for a correctness test"),
    "metric": ("VARCHAR", "its name; null in the row that says why a record has no measurement"),
    "value": ("DOUBLE", "in the unit of the metric; null when not known"),
    "unit": ("VARCHAR", "s, bytes, tokens/s ..."),
    "better": ("VARCHAR", "lower or higher; null when neither"),
    "kind": ("VARCHAR", "time, rate, exact, memory or info"),
    "n": ("BIGINT", "samples behind the value"),
    "reason": ("VARCHAR", "why the value is null, or why the case failed"),
}
"""Column -> (DuckDB's type, what it is)."""
OF_METRIC = ("value", "unit", "better", "kind", "n", "reason")


def rows(runs: Iterable[StoredRun], *, now_s: float | None = None) -> Iterator[dict[str, Any]]:
    """Every metric of every record of these runs, and one row for each record that failed; values as they were recorded.

    `now_s` is the moment that ages count to, in seconds since 1970; default: now. Only what a row needs is kept of a run.
    """
    now_s = epoch_s() if now_s is None else now_s
    held: list[tuple[dict[str, Any], str | None, Sequence[Metric]]] = []
    latest: dict[tuple[str, str], tuple[str, str]] = {}
    for run in runs:
        for record in run.records:
            shared = {"run": run.id, "run_file": run.path.name, **_shared(record)}
            held.append((shared, _why(record), tuple(record.metrics.values())))
            if record.mode == FULL:
                key, found = _case(shared), (record.started_at, record.status)
                latest[key] = max(latest.get(key, found), found, key=lambda one: one[0])
    for shared, why, metrics in held:
        started_at, status = latest.get(_case(shared), ("", None))
        own = {
            "age_s": _age_s(shared["started_at"], now_s),
            "latest": shared["mode"] == FULL and shared["started_at"] == started_at,
            "latest_status": status,
        }
        row = {**dict.fromkeys(COLUMNS), **shared, **own}
        if why is not None:
            yield {**row, "reason": why}
        for metric in metrics:
            yield {**row, "metric": metric.name, **{key: getattr(metric, key) for key in OF_METRIC}}


@dataclass(slots=True)
class Standing:
    """What is known of one case on one machine class: its newest full record, and the rows of the newest that was good."""

    latest: Mapping[str, Any]
    good: list[Mapping[str, Any]] = field(default_factory=list)
    """Empty when no record was good."""


def standings(table: Iterable[Mapping[str, Any]]) -> list[Standing]:
    """The standing of each machine class and case, full runs only. A metric that the newest good record lacks is not in it."""
    found: dict[tuple[str, str], Standing] = {}
    for row in table:
        if row["mode"] != FULL:
            continue
        one = found.setdefault(_case(row), Standing(latest=row))
        if row["started_at"] > one.latest["started_at"]:
            one.latest = row
        if row["status"] != OK:
            continue
        if not one.good or row["started_at"] > one.good[0]["started_at"]:
            one.good = [row]
        elif row["started_at"] == one.good[0]["started_at"]:
            one.good.append(row)
    return list(found.values())


def newest(table: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The metrics of the newest good record of each machine class and case, full runs only."""
    return [row for one in standings(table) for row in one.good if row["metric"] is not None]


def _case(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["machine_class"], row["node_id"]


def _why(record: Record) -> str | None:
    """Why the record has no measurement; None when it has one."""
    if record.failure is not None:
        return f"{record.failure.kind}: {record.failure.message}"
    return None if record.metrics else ""


def _age_s(started_at: str, now_s: float) -> float | None:
    """None for a moment that is not written as ISO 8601."""
    try:
        return round(now_s - datetime.fromisoformat(started_at).timestamp(), 3)
    except ValueError:
        return None


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
