"""A rejected run made a baseline: only with something measured in it, and with the reason kept in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmbench.base.errors import StoreError
from lmbench.base.files import exclusive
from lmbench.record.record import FULL, OK, Record
from lmbench.store.files import StoredFile, save
from lmbench.store.plain import read_tests
from lmbench.store.runs import RUN_SCHEMA_VERSION, StoredRun, damaged, read_json_file

ACCEPTED, REJECTED_BECAUSE = "accepted", "rejected_because"
"""Keys of a run's own data: what `lmbench baseline accept` writes, and why the session kept the run apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Why and when a rejected run became a baseline, and why it had been kept apart."""

    reason: str
    at: str
    was: str
    """The path it had below the storage."""
    because: str = ""


def is_measured(record: Record) -> bool:
    """Whether the record can be a baseline: measured in full, without a failure."""
    return record.status == OK and record.mode == FULL


def measured(run: StoredRun) -> tuple[str, ...]:
    """Node ids of the cases and plain tests that the run's file has measurements of."""
    cases = [record.case.node_id for record in run.records if is_measured(record)]
    return (*cases, *(test.node_id for test in read_tests(run.path)))


def not_measured(run: StoredRun) -> dict[str, str]:
    """Node id -> why, of the cases of the run that have no measurement."""
    return {record.case.node_id: _why(record) for record in run.records if not is_measured(record)}


def accept_run(storage: Path, file: StoredFile, run: StoredRun, *, reason: str, at: str) -> Path:
    """Move a rejected run among the baselines, under the next number, with `reason` in its file; return the new path.

    Raises StoreError, and changes nothing, when the run has no measurement.
    """
    if not measured(run):
        faults = "; ".join(f"{node_id}: {why}" for node_id, why in not_measured(run).items()) or "no case ran"
        raise StoreError(
            f"{file.path}: found no measurement, so it cannot be a baseline ({faults}); mend what failed and run it again"
        )
    acceptance = Acceptance(
        reason=reason, at=at, was=str(file.path.relative_to(storage)), because=str(run.info.get(REJECTED_BECAUSE, ""))
    )
    with exclusive(file.path.parent):
        return _moved(storage, file, acceptance)


def _moved(storage: Path, file: StoredFile, acceptance: Acceptance) -> Path:
    if not file.path.exists():
        raise StoreError(f"{file.path}: found it gone; another process has accepted or deleted it; see `lmbench baseline list`")
    data = _content(file.path)
    own = data.setdefault("lmbench", {"schema_version": RUN_SCHEMA_VERSION})
    own["run"] = {"complete": True, **own.get("run", {}), ACCEPTED: asdict(acceptance)}
    target = save(storage / file.machine_id, file.path.stem.split("_", 1)[1], json.dumps(data, indent=1))
    file.path.unlink()
    return target


def acceptance_of(info: Mapping[str, Any]) -> Acceptance | None:
    """What a run's own data says of its acceptance; None for a run that was never kept apart."""
    found = info.get(ACCEPTED)
    if not isinstance(found, Mapping):
        return None
    return Acceptance(**{key: str(found.get(key, "")) for key in ("reason", "at", "was", "because")})


def _content(path: Path) -> dict[str, Any]:
    data = read_json_file(path)
    if not isinstance(data, dict) or not isinstance(data.get("lmbench", {}), dict):
        raise damaged(path, "JSON without a run")
    return data


def _why(record: Record) -> str:
    if record.failure is not None:
        return f"{record.failure.kind}: {record.failure.message}"
    return f"mode {record.mode}, which measures nothing"
