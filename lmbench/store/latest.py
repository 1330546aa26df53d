"""The newest measurement of every case of one suite, kept beside its report, so that a partial run can still show them all.

`<reports>/data/<name>.json` holds one entry a case. Schema history: 1, first version.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmbench.base import json_text
from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.files import write_atomically
from lmbench.base.reading import read_bytes
from lmbench.record.codec import from_json, to_json
from lmbench.record.record import FULL, OK, Record
from lmbench.store.runs import StoredRun, read_run

LATEST_VERSION = 1
DATA, JOURNALS = "data", "journal"
"""Folders below that of the reports."""
STRANGERS = 50
"""Cases kept that the suite does not declare (any more, or on this branch)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one run measured of one case: a record, or the verdicts on a plain test, which has no record."""

    node_id: str
    run: str
    at: str
    """When it was measured, UTC."""
    record: Record | None
    verdicts: tuple[Mapping[str, Any], ...] = ()
    """As JSON; the room that judges reads them."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal noun back."""
        record = None if self.record is None else to_json(self.record)
        verdicts = [dict(verdict) for verdict in self.verdicts]
        return {"node_id": self.node_id, "run": self.run, "at": self.at, "record": record, "verdicts": verdicts}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Kept:
        """The inverse of `to_json`."""
        record = data["record"]
        return cls(
            node_id=str(data["node_id"]),
            run=str(data["run"]),
            at=str(data["at"]),
            record=None if record is None else from_json(record),
            verdicts=tuple(dict(verdict) for verdict in data["verdicts"]),
        )


def kept_of(run: StoredRun) -> list[Kept]:
    """What `run` measured: full records without a failure, and verdicts with a value on cases without a record."""
    judged: dict[str, list[Mapping[str, Any]]] = {}
    for verdict in run.verdicts:
        judged.setdefault(str(verdict["node_id"]), []).append(verdict)
    measured = [record for record in run.records if record.status == OK and record.mode == FULL]
    known = {record.case.node_id for record in run.records}
    at = str(run.info.get("started_at") or "")
    entries = [
        Kept(
            node_id=record.case.node_id,
            run=run.id,
            at=record.started_at,
            record=record,
            verdicts=tuple(judged.get(record.case.node_id, ())),
        )
        for record in measured
    ]
    for node_id, verdicts in judged.items():
        if node_id not in known and any(verdict.get("now") is not None for verdict in verdicts):
            entries.append(Kept(node_id=node_id, run=run.id, at=at, record=None, verdicts=tuple(verdicts)))
    return entries


def newest(entries: Iterable[Kept]) -> dict[str, Kept]:
    """Each case's last measurement; where two are of one second, the one that comes later in `entries`."""
    table: dict[str, Kept] = {}
    for entry in entries:
        other = table.get(entry.node_id)
        if other is None or entry.at >= other.at:
            table[entry.node_id] = entry
    return table


def read_latest(path: Path) -> list[Kept]:
    """The entries in `path`; none when it does not exist. Raises StoreError for a file that cannot be understood."""
    try:
        if not path.exists():
            return []
        data = json_text.loads(read_bytes(path))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); expected the newest values of a suite") from error
    except Unreadable as error:
        raise _damaged(path, error.found) from error
    try:
        if data["schema_version"] != LATEST_VERSION:
            raise _damaged(path, f"schema version {data['schema_version']!r}; this lmbench reads {LATEST_VERSION}")
        return [Kept.from_json(entry) for entry in data["cases"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, repr(error)) from error


def write_latest(path: Path, suite: str, entries: Mapping[str, Kept], declared: Iterable[str]) -> None:
    """Keep the entries of declared cases, and of the others the newest few."""
    wanted = frozenset(declared)
    strangers = sorted((entry for entry in entries.values() if entry.node_id not in wanted), key=lambda entry: entry.at)
    dropped = {entry.node_id for entry in strangers[:-STRANGERS]}
    cases = [entry.to_json() for entry in entries.values() if entry.node_id not in dropped]
    content = {"schema_version": LATEST_VERSION, "suite": suite, "cases": cases}
    write_atomically(path, json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n")


def from_journals(folder: Path, since: Path, own: str) -> list[Kept]:
    """What journals in `folder` hold that were written after `since` (all where that is not there): sessions that
    were killed before they wrote a report, and those of versions that kept no such file. `own` is the run's own id."""
    after = since.stat().st_mtime if since.is_file() else 0.0
    entries: list[Kept] = []
    for path in sorted(folder.glob("*.jsonl")):
        try:
            if path.stem == own or path.stat().st_mtime <= after:
                continue
            entries += kept_of(read_run(path))
        except (FileNotFoundError, StoreError):
            continue  # the journal of another session; whoever reads it for itself hears what is wrong with it
    return entries


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path}: found {what}; expected the newest values of a suite; delete the file: the next run writes it anew"
    )
