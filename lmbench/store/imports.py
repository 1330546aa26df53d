"""Runs made elsewhere, merged into a storage below their machine class: checked first, each record once, nothing overwritten.

<storage>/<machine class>/imported/NNNN_<run id>.json     no baseline: comparisons look under their own machine id only
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lmbench.base.digest import digest
from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.files import exclusive
from lmbench.base.reading import open_bytes
from lmbench.record.codec import to_json
from lmbench.record.record import ERROR, Record
from lmbench.store.files import IMPORTED, number_of, save
from lmbench.store.runs import RUN_SCHEMA_VERSION, StoredRun, damaged, read_run

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_JOURNAL = b'{"kind": "run"', b'{"kind":"run"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What one file brought to one machine class; `path` is None when all of its records were known."""

    source: Path
    machine_class: str
    path: Path | None
    added: int
    known: int
    failed: int = 0
    """Of those added, cases that failed: they count nowhere as a measurement."""


def record_digest(record: Record) -> str:
    """Of what was run, where and when: the same record read from a journal, from a run or from a copy has the same."""
    case = record.case
    return digest([case.node_id, case.digest, record.machine_class, record.environment, record.started_at])


def run_files(folder: Path) -> list[Path]:
    """Every stored run anywhere below `folder`, kept apart ones and journals included, by path; an absent folder has none."""
    runs = [path for path in folder.rglob("*.json") if number_of(path) is not None]
    return sorted([*runs, *(path for path in folder.rglob("*.jsonl") if _is_journal(path))])


def import_runs(files: Sequence[Path], storage: Path, left_out: Callable[[str], None] | None = None) -> list[Import]:
    """Merge `files` into `storage`, one new file per run and machine class, each written whole or not at all.

    Raises StoreError, before anything is written, for a file that is damaged, of an unknown version or without records. A
    damaged one in the storage is an error too, unless `left_out` takes what is wrong with it: what it holds may come twice.
    """
    runs = [_checked(path) for path in files]
    with exclusive(storage):  # what is known is known until the new files are there
        return _imported(runs, storage, left_out)


def _imported(runs: Sequence[StoredRun], storage: Path, left_out: Callable[[str], None] | None) -> list[Import]:
    known: dict[str, set[str]] = {}
    for record in (record for run in runs for record in run.records):
        if record.machine_class not in known:
            stored = _stored(run_files(storage / record.machine_class), left_out)
            known[record.machine_class] = {record_digest(one) for old in stored for one in old.records}
    return [
        _merged(run, machine_class, storage, known[machine_class])
        for run in runs
        for machine_class in dict.fromkeys(record.machine_class for record in run.records)
    ]


def _stored(paths: Sequence[Path], left_out: Callable[[str], None] | None) -> Iterator[StoredRun]:
    for path in paths:
        try:
            run = read_run(path)
        except StoreError as error:
            if left_out is None:
                raise
            left_out(str(error))
            continue
        yield run


def _checked(path: Path) -> StoredRun:
    """The run in `path`, all of which can be written again, below folders named after its machine classes."""
    run = read_run(path)
    if not run.records:
        raise damaged(path, "no record of lmbench")
    for name in dict.fromkeys(record.machine_class for record in run.records):
        if not isinstance(name, str) or not _FOLDER_NAME.fullmatch(name):
            raise damaged(path, f"a record of the machine class {name!r}, which is no folder's name")
    try:
        json.dumps(_file(run, run.records), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise damaged(path, f"what cannot be stored ({error})") from error
    return run


def _merged(run: StoredRun, machine_class: str, storage: Path, known: set[str]) -> Import:
    """Write those records of `run` that are not in `known`, and add them to it."""
    own = [record for record in run.records if record.machine_class == machine_class]
    new = {made: record for record in own if (made := record_digest(record)) not in known}
    known.update(new)
    path = None
    if new:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.id).strip("-.") or "run"
        data = _file(replace(run, machine_class=machine_class), new.values())
        path = save(storage / machine_class / IMPORTED, name, json.dumps(data, allow_nan=False, indent=1))
    failed, known_before = sum(one.status == ERROR for one in new.values()), len(own) - len(new)
    return Import(source=run.path, machine_class=machine_class, path=path, added=len(new), known=known_before, failed=failed)


def _file(run: StoredRun, records: Collection[Record]) -> dict[str, Any]:
    """`run` with only `records`, laid out as `read_run` reads it."""
    entries = [
        {"name": one.case.id, "fullname": one.case.node_id, "extra_info": {"lmbench": to_json(one)}}
        for one in records
        if one.status != ERROR
    ]
    return {
        "benchmarks": entries,
        "lmbench": {
            "schema_version": RUN_SCHEMA_VERSION,
            "run": {**run.info, "id": run.id, "complete": run.complete, "imported_from": run.path.name},
            "environment": dict(run.environment),
            "machine_class": run.machine_class,
            "harness": run.harness,
            "failed": [to_json(one) for one in records if one.status == ERROR],
            "skipped": [asdict(skip) for skip in run.skipped],
            "collected": list(run.collected),
            "verdicts": list(run.verdicts),
        },
    }


def _is_journal(path: Path) -> bool:
    """Whether `path` begins as a journal does; other line files (histories) lie in the same folders."""
    try:
        with open_bytes(path) as stream:
            return stream.read(len(_JOURNAL[0])).startswith(_JOURNAL)
    except Unreadable:
        return False
