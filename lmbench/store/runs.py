"""Reading one stored run: a pytest-benchmark JSON file or a journal, as the same noun.

A run's own data lies under the top-level key "lmbench" of the JSON file, its records in each benchmark's
extra_info["lmbench"]. Schema history of the top-level data:
  1  first version
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lmbench.base.errors import StoreError
from lmbench.record.codec import from_json
from lmbench.record.record import Record
from lmbench.store.files import number_of

RUN_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A case that was collected and not run: its node id and why (reason and remedy)."""

    node_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """Everything kept of one session, failed cases included. A file without lmbench data has no records."""

    path: Path
    number: int | None
    id: str
    complete: bool
    """False for a session that was interrupted or whose journal has no end."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """started_at, finished_at, suites ..."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    machine_class: str = ""
    harness: Mapping[str, Any] | None = None
    """The measured cost of the harness itself."""
    records: tuple[Record, ...] = ()
    skipped: tuple[Skip, ...] = ()
    collected: tuple[str, ...] = ()
    """Node ids of every case collected, deselected ones included."""
    verdicts: tuple[Mapping[str, Any], ...] = ()
    """As JSON; the room that judges reads them."""

    @property
    def suites(self) -> tuple[str, ...]:
        """Suite paths in the order they were collected, then those only known from records."""
        named = [str(suite) for suite in self.info.get("suites", ())]
        return tuple(dict.fromkeys([*named, *(record.case.suite for record in self.records)]))


def read_run(path: Path) -> StoredRun:
    """The run in `path`: a journal when it ends in .jsonl, else a pytest-benchmark JSON file.

    Raises StoreError when the file is missing, damaged or of a version this lmbench does not know.
    """
    data = read_journal_data(path) if path.suffix == ".jsonl" else _read_json_data(path)
    try:
        return _assemble(path, data)
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, repr(error)) from error


def read_journal_data(path: Path) -> dict[str, Any]:
    """A journal's lines folded into the layout of a JSON run; a torn last line is left out.

    Of a case that was run several times the last record counts; it holds the earlier attempts. Keys of the closing line
    ("end") such as verdicts or harness override those of the first.
    """
    data: dict[str, Any] = {"records": [], "skipped": []}
    ended = False
    for entry in _entries(path):
        kind = entry.pop("kind", None)
        if kind == "record":
            data["records"] = [*(old for old in data["records"] if not _superseded(old, entry["record"])), entry["record"]]
        elif kind == "skip":
            data["skipped"].append(entry)
        elif kind in ("run", "end"):
            run = {**data.get("run", {}), **entry.pop("run", {})}
            data.update(entry, run=run, schema_version=entry.get("schema_version", data.get("schema_version")))
            ended = ended or kind == "end"
    data["run"] = {**data.get("run", {}), "complete": ended and data.get("run", {}).get("complete", True)}
    return data


def _superseded(old: Any, new: Any) -> bool:
    """Whether the record `new` names the record `old` as one of its earlier attempts."""
    earlier = [attempt["started_at"] for attempt in new.get("attempts", ())] if isinstance(new, dict) else []
    return bool(earlier) and old["case"] == new["case"] and old["started_at"] in earlier


def damaged(path: Path, what: str) -> StoreError:
    """The error for a file that cannot be understood."""
    return StoreError(f"{path}: found {what}; expected a run stored by lmbench; delete the file or restore it, then rerun")


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    lines = _read(path).decode(errors="replace").split("\n")
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            entry = _parsed(line.encode())
        except ValueError as error:
            if index == len(lines) - 1:
                return
            raise damaged(path, f"line {index + 1}, which is not JSON ({error})") from error
        if not isinstance(entry, dict):
            raise damaged(path, f"line {index + 1}, which is not a JSON object")
        yield entry


def read_json_file(path: Path) -> Any:
    """The JSON in `path`; raises StoreError when it cannot be read or is none."""
    try:
        return _parsed(_read(path))
    except UnicodeDecodeError as error:
        raise damaged(path, f"bytes that are not UTF-8 ({error.reason})") from error
    except ValueError as error:
        raise damaged(path, f"what is not JSON ({error})") from error


def _read_json_data(path: Path) -> dict[str, Any]:
    file = read_json_file(path)
    if not isinstance(file, dict) or not isinstance(file.get("benchmarks", []), list):
        raise damaged(path, "JSON without a list of benchmarks")
    data = file.get("lmbench")
    benchmarks = [entry for entry in file.get("benchmarks", []) if isinstance(entry, dict)]
    records = [extra["lmbench"] for entry in benchmarks if "lmbench" in (extra := entry.get("extra_info") or {})]
    if data is None:
        run = {"complete": True, "started_at": file["datetime"]} if isinstance(file.get("datetime"), str) else {"complete": True}
        return {"schema_version": RUN_SCHEMA_VERSION, "records": records, "run": run}
    if not isinstance(data, dict):
        raise damaged(path, "a key 'lmbench' that is not an object")
    return {**data, "records": [*records, *data.get("failed", [])]}


def _assemble(path: Path, data: Mapping[str, Any]) -> StoredRun:
    version = data.get("schema_version")
    if version != RUN_SCHEMA_VERSION:
        raise StoreError(
            f"found a run of schema version {version!r}; this lmbench reads version {RUN_SCHEMA_VERSION}; "
            "read it with the lmbench that wrote it, or update lmbench"
        )
    info = dict(data.get("run") or {})
    return StoredRun(
        path=path,
        number=number_of(path),
        id=str(info.get("id", path.stem)),
        complete=bool(info.get("complete", False)),
        info=info,
        environment=data.get("environment") or {},
        machine_class=str(data.get("machine_class", "")),
        harness=data.get("harness"),
        records=tuple(from_json(record) for record in data["records"]),
        skipped=tuple(Skip(node_id=str(skip["node_id"]), reason=str(skip["reason"])) for skip in data.get("skipped") or ()),
        collected=tuple(data.get("collected") or ()),
        verdicts=tuple(data.get("verdicts") or ()),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); expected a stored run; check the path") from error


def _parsed(text: bytes) -> Any:
    """The JSON in `text`; raises ValueError in the words of `json`.

    orjson takes a third of its time, but refuses what pytest-benchmark may write and `json` reads: NaN and infinities. A whole
    number beyond 64 bits comes as a float; lmbench writes none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text.decode())
