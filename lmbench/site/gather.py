"""Stored runs to what the pages need, one run in memory at a time; a Part is some of them, reduced by another process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from lmbench.base.digest import digest
from lmbench.base.errors import StoreError
from lmbench.capacity.measured import MOST_RUNS
from lmbench.compare.verdicts import Verdict
from lmbench.plan.case import Case
from lmbench.record.objectives import objectives_of
from lmbench.record.record import ONCE, Record
from lmbench.site.nouns import Key, Latest, Nightly, Point, Stored, Trail
from lmbench.store.ledger import Change
from lmbench.store.renames import NO_RENAMES, Renames, renames_of
from lmbench.store.runs import StoredRun, read_run

LONGEST_SLUG = 80
STRESS = "stress"


Placed = tuple[Record, int]
"""A record and the index of its point."""


@dataclass(slots=True)
class _Growing:
    """A trail while runs are read."""

    points: list[Point] = field(default_factory=list)
    seen: dict[tuple[str, str], None] = field(default_factory=dict)
    """Of each point when it began and in which environment: a record that several files hold counts once."""
    metrics: dict[str, Placed] = field(default_factory=dict)
    """Name -> the newest record that has it."""
    cases: list[Case] = field(default_factory=list)
    declared: list[list[Placed]] = field(default_factory=list)
    """Of each of `cases` the newest records that have measurements, oldest first: as many as a capacity plan uses."""
    newest: Placed | None = None

    @property
    def measured(self) -> Placed | None:
        return max((several[-1] for several in self.declared if several), key=lambda one: one[0].started_at, default=None)

    def kept(self) -> dict[int, Record]:
        """Place -> record, where newer ones do not say all of it."""
        placed = (self.newest, *chain.from_iterable(self.declared), *self.metrics.values())
        return {place: record for record, place in filter(None, placed)}

    def add(self, once: tuple[str, str], point: Point, record: Record | None) -> None:
        """One more point, unless it is known; without its record where a newer one that comes later says all of it."""
        if once in self.seen:
            return
        if point.case not in self.cases:
            self.cases.append(point.case)
            self.declared.append([])
        case, placed = self.cases.index(point.case), len(self.points)
        self.seen[once] = None
        # Equal cases share one object.
        self.points.append(replace(point, case=self.cases[case]))
        if record is None:
            return
        if _newer(record, self.newest):
            self.newest = (record, placed)
        if record.failure is None:
            self.metrics.update({name: (record, placed) for name in record.metrics if _newer(record, self.metrics.get(name))})
            several = self.declared[case]
            several.append((record, placed))
            several.sort(key=lambda one: one[0].started_at)
            del several[: -MOST_RUNS if point.case.workload == STRESS else -1]


@dataclass(slots=True)
class Part:
    """Some of the stored runs, reduced to what counts in them."""

    runs: list[StoredRun] = field(default_factory=list)
    """Without records and verdicts."""
    trails: dict[Key, _Growing] = field(default_factory=dict)
    latest: dict[tuple[str, str], Latest] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What is wrong with files that could not be read."""

    def take(self, run: StoredRun) -> None:
        """One more run; its records that only tested correctness do not count. A damaged verdict leaves the run out."""
        place = len(self.runs)
        try:
            latest_of = [*_latest(run)]
        except StoreError as error:
            self.problems.append(f"{run.path}: {error}")
            return
        self.runs.append(replace(run, records=(), verdicts=(), collected=()))
        for latest in latest_of:
            self._see(latest)
        for record in run.records:
            if record.mode != ONCE:
                trail = self.trails.setdefault((record.machine_class, record.case.node_id), _Growing())
                trail.add((record.started_at, record.environment), _point(record, place), record)

    def rename(self, renames: Renames) -> None:
        """Join the trails of cases that have another name now with those of that name."""
        for key in list(self.trails):
            current = (key[0], renames.current(key[1]))
            if current != key:
                self._append(current, self.trails.pop(key), 0)

    def join(self, other: Part) -> None:
        """The runs of `other` after these."""
        shift = len(self.runs)
        self.runs.extend(other.runs)
        for latest in other.latest.values():
            self._see(latest)
        for key, theirs in other.trails.items():
            self._append(key, theirs, shift)

    def _append(self, key: Key, theirs: _Growing, shift: int) -> None:
        mine, kept = self.trails.setdefault(key, _Growing()), theirs.kept()
        for place, (once, point) in enumerate(zip(theirs.seen, theirs.points, strict=True)):
            mine.add(once, replace(point, run=point.run + shift), kept.get(place))

    def _see(self, latest: Latest) -> None:
        key = (latest.machine_class, latest.suite)
        known = self.latest.get(key)
        # An imported copy of a run has the same moment and no verdicts.
        if known is None or (started(known.run), bool(known.verdicts)) <= (started(latest.run), bool(latest.verdicts)):
            self.latest[key] = latest


def read_part(paths: Sequence[Path]) -> Part:
    """The runs in these files; what cannot be read is left out and told in its `problems`."""
    part = Part()
    for path in paths:
        try:
            part.take(read_run(path))
        except StoreError as error:
            part.problems.append(str(error))
    return part


def gather(
    runs: Iterable[StoredRun | Part],
    *,
    changes: Sequence[Change] = (),
    nightly: Sequence[Nightly] = (),
    problems: Sequence[str] = (),
    renames: Renames = NO_RENAMES,
) -> Stored:
    """Everything of `runs`; a record that several files hold counts once, one that only tested correctness does not count.

    A case that was renamed, by `renames` or by what a newer run's session knew, has one trail under the name it has now.

    `problems` may still grow while `runs` is read.
    """
    whole = Part()
    for one in runs:
        if isinstance(one, Part):
            whole.join(one)
        else:
            whole.take(one)
    whole.rename(all_renames(renames, whole.runs))
    light, table = whole.runs, whole.trails
    places = sorted(range(len(light)), key=lambda place: (started(light[place]), place))
    moved = {old: new for new, old in enumerate(places)}
    current = {one.run.id for one in whole.latest.values()}
    return Stored(
        runs=tuple(light[place] for place in places),
        trails={key: _trail(key, table[key], moved) for key in sorted(table)},
        latest=tuple(whole.latest[key] for key in sorted(whole.latest)),
        newest_runs=_reduced(light, table.values(), current, lambda trail: (trail.newest, trail.measured)),
        declared_runs=_reduced(light, table.values(), current, lambda trail: chain.from_iterable(trail.declared)),
        changes=tuple(changes),
        nightly=tuple(nightly),
        problems=tuple(dict.fromkeys([*problems, *whole.problems])),
    )


def all_renames(written: Renames, runs: Iterable[StoredRun]) -> Renames:
    """What is written in renames.yaml, over what the sessions of `runs` knew, the newest first."""
    known = NO_RENAMES
    for run in sorted(runs, key=started):
        known = known.joined(renames_of(run.info))
    return known.joined(written.table)


def started(run: StoredRun) -> str:
    """When the run began, UTC in ISO 8601; empty when it does not say."""
    return str(run.info.get("started_at") or "")


def commit(run: StoredRun) -> str:
    """The commit it was measured at; empty when it does not say."""
    return str((run.environment.get("git") or {}).get("commit") or "")


def _latest(run: StoredRun) -> Iterator[Latest]:
    """What this run says of each of its suites."""
    whole = replace(run, records=(), verdicts=())
    for suite in run.suites:
        said = (data for data in run.verdicts if str(data.get("node_id")).partition("::")[0] == suite)
        verdicts = tuple(map(Verdict.from_json, said))
        yield Latest(machine_class=run.machine_class, suite=suite, run=whole, verdicts=verdicts)


def _point(record: Record, run: int) -> Point:
    values = {name: (one.value, one.n) for name, one in record.metrics.items()} if record.failure is None else {}
    aims = {name: one.value for name, one in objectives_of(record).items()} if record.failure is None else {}
    return Point(at=record.started_at, run=run, case=record.case, corpus=record.corpus_digest, values=values, objectives=aims)


def _newer(record: Record, known: Placed | None) -> bool:
    return known is None or known[0].started_at <= record.started_at


def _trail(key: Key, growing: _Growing, moved: Mapping[int, int]) -> Trail:
    assert growing.newest is not None  # noqa: S101 - every trail began with a record
    points = [replace(point, run=moved[point.run]) for point in growing.points]
    return Trail(
        machine_class=key[0],
        node_id=key[1],
        slug=_slug(key),
        points=tuple(sorted(points, key=lambda point: (point.at, point.run))),
        metrics={name: record.metrics[name] for name, (record, _) in growing.metrics.items()},
        newest=growing.newest[0],
        measured=growing.measured[0] if growing.measured else None,
    )


def _slug(key: Key) -> str:
    """Safe as a file name and in a link, stable over rebuilds."""
    suite, _, case = key[1].partition("::")
    text = "".join(char if char.isascii() and char.isalnum() else "-" for char in f"{suite.rpartition('/')[2]}-{case}")
    words = "-".join(filter(None, text.split("-")))
    return f"{words[:LONGEST_SLUG]}-{digest(list(key))[:8]}"


def _reduced(
    runs: Sequence[StoredRun],
    trails: Iterable[_Growing],
    current: Collection[str],
    wanted: Callable[[_Growing], Iterable[Placed | None]],
) -> tuple[StoredRun, ...]:
    """The runs of the wanted records with nothing else; skipped cases stay in those that are the newest of a suite, `current`."""
    kept: dict[int, dict[int, Record]] = {}
    for trail in trails:
        for record, place in filter(None, wanted(trail)):
            kept.setdefault(trail.points[place].run, {})[id(record)] = record
    return tuple(
        replace(runs[run], records=tuple(records.values()), skipped=runs[run].skipped if runs[run].id in current else ())
        for run, records in sorted(kept.items())
    )
