"""Reading one stored run: a pytest-benchmark JSON file or a journal, as the same noun.

A run's own data lies under the top-level key "lmbench" of the JSON file, its records in each benchmark's
extra_info["lmbench"]. Schema history of the top-level data:
  1  first version
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lmbench.base import json_text
from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.reading import read_bytes
from lmbench.base.typed import made
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Info:
    """What of a run's own data is read by name, and of which kind it is."""

    id: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    suites: Sequence[str] = ()
    complete: bool = False
    renames: Mapping[str, str] | None = None
    package: str | None = None
    gate: Mapping[str, Any] | None = None
    scope: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """What every verdict has; the room that judges reads the rest."""

    node_id: str
    outcome: str
    metric: str | None = None
    now: float | None = None
    evidence: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """Parts of an environment whose own parts are read by name."""

    memory: Mapping[str, Any] | None = None
    limits: Mapping[str, Any] | None = None
    git: Mapping[str, Any] | None = None


_INFO, _NAMED, _FACTS = ({field.name for field in fields(kind)} for kind in (_Info, _Named, _Facts))


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
            if not isinstance(entry.get("record"), dict):
                raise damaged(path, "a line of the kind 'record' without one")
            data["records"] = [*(old for old in data["records"] if not _superseded(old, entry["record"])), entry["record"]]
        elif kind == "skip":
            data["skipped"].append(entry)
        elif kind in ("run", "end"):
            about = entry.pop("run", {})
            if not isinstance(about, dict):
                raise damaged(path, f"a line of the kind {kind!r} whose run is no object")
            run = {**data.get("run", {}), **about}
            data.update(entry, run=run, schema_version=entry.get("schema_version", data.get("schema_version")))
            ended = ended or kind == "end"
    data["run"] = {**data.get("run", {}), "complete": ended and data.get("run", {}).get("complete", True)}
    return data


def _superseded(old: Any, new: Any) -> bool:
    """Whether the record `new` names the record `old` as one of its earlier attempts."""
    attempts = new.get("attempts") if isinstance(new, dict) else None
    earlier = [attempt.get("started_at") for attempt in attempts or () if isinstance(attempt, dict)]
    return bool(earlier) and old.get("case") == new.get("case") and old.get("started_at") in earlier


def damaged(path: Path, what: str) -> StoreError:
    """The error for a file that cannot be understood."""
    return StoreError(f"{path}: found {what}; expected a run stored by lmbench; delete the file or restore it, then rerun")


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    lines = _read(path).decode(errors="replace").split("\n")
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            entry = json_text.loads(line)
        except ValueError as error:
            if index == len(lines) - 1:
                return
            raise damaged(path, f"line {index + 1}: {error}") from error
        if not isinstance(entry, dict):
            raise damaged(path, f"line {index + 1}, which is not a JSON object")
        yield entry


def read_json_file(path: Path) -> Any:
    """The JSON in `path`; raises StoreError when it cannot be read or is none."""
    return _lenient(path, _read(path))


def _lenient(path: Path, raw: bytes) -> Any:
    try:
        return json_text.loads(raw, constants=True)
    except Unreadable as error:
        raise damaged(path, error.found) from error


def _read_json_data(path: Path) -> dict[str, Any]:
    raw = _read(path)
    try:
        file, strict = json_text.loads(raw), True
    except Unreadable:
        file, strict = _lenient(path, raw), False
    if not isinstance(file, dict) or not isinstance(file.get("benchmarks", []), list):
        raise damaged(path, "JSON without a list of benchmarks")
    data = file.get("lmbench")
    benchmarks = [entry for entry in file.get("benchmarks", []) if isinstance(entry, dict)]
    extras = [entry.get("extra_info") or {} for entry in benchmarks]
    failed = data.get("failed", []) if isinstance(data, dict) else []
    if not isinstance(failed, list) or not all(isinstance(extra, dict) for extra in extras):
        raise damaged(path, "extra_info that is no object, or failed cases that are no list")
    records = [extra["lmbench"] for extra in extras if "lmbench" in extra]
    if not strict and (odd := json_text.constant_in({"lmbench": data, "records": records})):
        raise damaged(path, odd)
    if data is None:
        run = {"complete": True, "started_at": file["datetime"]} if isinstance(file.get("datetime"), str) else {"complete": True}
        return {"schema_version": RUN_SCHEMA_VERSION, "records": records, "run": run}
    if not isinstance(data, dict):
        raise damaged(path, "a key 'lmbench' that is not an object")
    return {**data, "records": [*records, *failed]}


def _assemble(path: Path, data: Mapping[str, Any]) -> StoredRun:
    version = data.get("schema_version")
    if version != RUN_SCHEMA_VERSION:
        raise StoreError(
            f"found a run of schema version {version!r}; this lmbench reads version {RUN_SCHEMA_VERSION}; "
            "read it with the lmbench that wrote it, or update lmbench"
        )
    info = dict(data.get("run") or {})
    made(_Info, {key: value for key, value in info.items() if key in _INFO}, "run")
    for verdict in data.get("verdicts") or ():
        made(_Named, {key: value for key, value in dict(verdict).items() if key in _NAMED}, "verdict")
    environment = data.get("environment") or {}
    made(_Facts, {key: value for key, value in environment.items() if key in _FACTS}, "environment")
    return StoredRun(
        path=path,
        number=number_of(path),
        id=str(info.get("id", path.stem)),
        complete=bool(info.get("complete", False)),
        info=info,
        environment=environment,
        machine_class=str(data.get("machine_class", "")),
        harness=_object(data.get("harness")),
        records=tuple(map(from_json, data["records"])),
        skipped=tuple(Skip(node_id=str(skip["node_id"]), reason=str(skip["reason"])) for skip in data.get("skipped") or ()),
        collected=tuple(map(str, data.get("collected") or ())),
        verdicts=tuple(data.get("verdicts") or ()),
    )


def _object(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{type(value).__name__} as harness")
    return value


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except Unreadable as error:
        raise StoreError(f"{path}: found {error.found}; expected a stored run; check the path") from error
