"""What a run is compared with: the newest stored records of each case, read from as few files as possible."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmbench.base.errors import StoreError
from lmbench.base.numbers import MOST_CHARS
from lmbench.base.reading import is_file
from lmbench.record.record import FULL, OK, Record
from lmbench.store.files import list_runs, number_of
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.store.runs import StoredRun, read_run

BASELINE_RUNS = 5
MAX_FILES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Stored records by node id, newest first, with where they came from."""

    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    sources: tuple[Path, ...] = ()
    """The files that were read, newest first."""
    expected: tuple[str, ...] = ()
    """Cases that the newest run of each suite still had and that were measured in one of the files read."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """Of the newest file that holds records."""
    problems: tuple[str, ...] = ()
    """Files that could not be read, and why; they were left out."""

    def of(self, node_id: str) -> tuple[Record, ...]:
        """The stored records of one case, newest first; empty when there are none."""
        return self.records.get(node_id, ())


def recent(
    storage: Path,
    node_ids: Collection[str],
    *,
    k: int = BASELINE_RUNS,
    max_files: int = MAX_FILES,
    machine_id: str | None = None,
    renames: Renames = NO_RENAMES,
) -> Baselines:
    """The `k` newest records of each wanted case.

    Files are read newest first, at most `max_files`, and no more once every wanted case has `k` records.
    Records of failed cases and of mode 'once' are no baselines. Damaged files are left out and named in `problems`.
    """
    gathered = _Gathering(wanted=frozenset(node_ids), k=k, renames=renames)
    for path in list_runs(storage, machine_id)[:max_files]:
        gathered.read(path)
        if gathered.satisfied:
            break
    return gathered.result()


def only(
    storage: Path,
    which: str,
    node_ids: Collection[str],
    *,
    machine_id: str | None = None,
    renames: Renames = NO_RENAMES,
) -> Baselines:
    """The stored run `which`: a path, a number ('0003' or '3') or the beginning of a file name.

    Raises StoreError when nothing matches or the file cannot be read.
    """
    paths = [Path(which)] if is_file(Path(which)) else _matching(list_runs(storage, machine_id), which)
    if not paths:
        known = ", ".join(path.name for path in list_runs(storage, machine_id)[:10]) or "none"
        raise StoreError(f"no stored run matches {which!r} under {storage}; the newest are: {known}; give a number or a path")
    gathered = _Gathering(wanted=frozenset(node_ids), k=len(paths), renames=renames)
    for path in paths:
        gathered.add(read_run(path))
    return gathered.result()


def _matching(paths: Iterable[Path], which: str) -> list[Path]:
    folder, _, prefix = which.rpartition("/")
    number = int(prefix) if prefix.isdecimal() and len(prefix) <= MOST_CHARS else None
    return [
        path
        for path in paths
        if (not folder or path.parent.name.startswith(folder))
        and (number_of(path) == number if number is not None else bool(prefix) and path.name.startswith(prefix))
    ]


class _Gathering:
    """Runs being folded into baselines, newest first."""

    def __init__(self, *, wanted: frozenset[str], k: int, renames: Renames = NO_RENAMES) -> None:
        self.wanted = wanted
        self.k = k
        self.renames = renames
        self.records: dict[str, list[Record]] = {}
        self.measured: dict[str, None] = {}
        self.newest: dict[str, StoredRun] = {}
        self.environment: Mapping[str, Any] = {}
        self.sources: list[Path] = []
        self.problems: list[str] = []

    @property
    def satisfied(self) -> bool:
        return all(len(self.records.get(node_id, ())) >= self.k for node_id in self.wanted)

    def read(self, path: Path) -> None:
        try:
            run = read_run(path)
        except StoreError as error:
            self.problems.append(str(error))
            return
        self.add(run)

    def add(self, run: StoredRun) -> None:
        self.sources.append(run.path)
        usable = [record for record in run.records if record.status == OK and record.mode == FULL]
        if usable and not self.environment:
            self.environment = run.environment
        for record in usable:
            node_id = self.renames.current(record.case.node_id)
            self.measured[node_id] = None
            self.newest.setdefault(node_id.partition("::")[0], run)
            kept = self.records.setdefault(node_id, [])
            if node_id in self.wanted and len(kept) < self.k:
                kept.append(record)

    def result(self) -> Baselines:
        return Baselines(
            records={node_id: tuple(kept) for node_id, kept in self.records.items() if kept},
            sources=tuple(self.sources),
            expected=tuple(node_id for node_id in self.measured if self._still_there(node_id)),
            environment=self.environment,
            problems=tuple(self.problems),
        )

    def _still_there(self, node_id: str) -> bool:
        run = self.newest[node_id.partition("::")[0]]
        known = (*run.collected, *(record.case.node_id for record in run.records))
        return any(self.renames.current(name) == node_id for name in known)
