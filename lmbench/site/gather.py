"""Stored runs to what the pages need, one run in memory at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lmbench.base.digest import digest
from lmbench.compare.verdicts import Verdict
from lmbench.measure.measurement import Metric
from lmbench.plan.case import Case
from lmbench.record.record import ONCE, Record
from lmbench.site.nouns import Key, Latest, Nightly, Point, Stored, Trail
from lmbench.store.ledger import Change
from lmbench.store.runs import StoredRun

LONGEST_SLUG = 80


Placed = tuple[Record, int]
"""A record and the index of its run."""


@dataclass(slots=True)
class _Growing:
    """A trail while runs are read."""

    points: list[Point] = field(default_factory=list)
    metrics: dict[str, tuple[str, Metric]] = field(default_factory=dict)
    """Name -> (when, metric)."""
    cases: list[Case] = field(default_factory=list)
    declared: list[Placed | None] = field(default_factory=list)
    """Of each of `cases` the newest record that has measurements."""
    newest: Placed | None = None

    @property
    def measured(self) -> Placed | None:
        return max((one for one in self.declared if one), key=lambda one: one[0].started_at, default=None)

    def place(self, case: Case) -> int:
        """The index of `case`; equal cases share one object."""
        if case not in self.cases:
            self.cases.append(case)
            self.declared.append(None)
        return self.cases.index(case)


def gather(
    runs: Iterable[StoredRun],
    *,
    changes: Sequence[Change] = (),
    nightly: Sequence[Nightly] = (),
    problems: Sequence[str] = (),
) -> Stored:
    """Everything of `runs`; a record that several files hold counts once, one that only tested correctness does not count.

    `problems` may still grow while `runs` is read.
    """
    light: list[StoredRun] = []
    seen: set[tuple[Key, str, str]] = set()
    table: dict[Key, _Growing] = {}
    latest: dict[tuple[str, str], Latest] = {}
    for index, run in enumerate(runs):
        light.append(replace(run, records=(), verdicts=(), collected=()))
        _latest(run, latest)
        for record in run.records:
            key = (record.machine_class, record.case.node_id)
            once = (key, record.started_at, record.environment)
            if record.mode != ONCE and once not in seen:
                seen.add(once)
                _add(table.setdefault(key, _Growing()), record, index)
    places = sorted(range(len(light)), key=lambda place: (started(light[place]), place))
    moved = {old: new for new, old in enumerate(places)}
    current = {one.run.id for one in latest.values()}
    trails = {key: _trail(key, table[key], moved) for key in sorted(table)}
    return Stored(
        runs=tuple(light[place] for place in places),
        trails=trails,
        latest=tuple(latest[key] for key in sorted(latest)),
        newest_runs=_reduced(light, [one for trail in table.values() for one in (trail.newest, trail.measured)], current),
        declared_runs=_reduced(light, [one for trail in table.values() for one in trail.declared], current),
        changes=tuple(changes),
        nightly=tuple(nightly),
        problems=tuple(problems),
    )


def started(run: StoredRun) -> str:
    """When the run began, UTC in ISO 8601; empty when it does not say."""
    return str(run.info.get("started_at") or "")


def commit(run: StoredRun) -> str:
    """The commit it was measured at; empty when it does not say."""
    return str((run.environment.get("git") or {}).get("commit") or "")


def _latest(run: StoredRun, latest: dict[tuple[str, str], Latest]) -> None:
    whole = replace(run, records=(), verdicts=())
    for suite in run.suites:
        known = latest.get((run.machine_class, suite))
        said = [data for data in run.verdicts if str(data.get("node_id")).partition("::")[0] == suite]
        # An imported copy of a run has the same moment and no verdicts.
        if known is None or (started(known.run), bool(known.verdicts)) <= (started(run), bool(said)):
            latest[run.machine_class, suite] = Latest(
                machine_class=run.machine_class, suite=suite, run=whole, verdicts=tuple(map(Verdict.from_json, said))
            )


def _add(trail: _Growing, record: Record, run: int) -> None:
    measured, place = record.failure is None, trail.place(record.case)
    values = {name: (one.value, one.n) for name, one in record.metrics.items()} if measured else {}
    trail.points.append(Point(at=record.started_at, run=run, case=trail.cases[place], corpus=record.corpus_digest, values=values))
    for name, metric in record.metrics.items() if measured else ():
        if name not in trail.metrics or trail.metrics[name][0] <= record.started_at:
            trail.metrics[name] = (record.started_at, metric)
    if _newer(record, trail.newest):
        trail.newest = (record, run)
    if measured and _newer(record, trail.declared[place]):
        trail.declared[place] = (record, run)


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
        metrics={name: metric for name, (_, metric) in growing.metrics.items()},
        newest=growing.newest[0],
        measured=growing.measured[0] if growing.measured else None,
    )


def _slug(key: Key) -> str:
    """Safe as a file name and in a link, stable over rebuilds."""
    suite, _, case = key[1].partition("::")
    text = "".join(char if char.isascii() and char.isalnum() else "-" for char in f"{suite.rpartition('/')[2]}-{case}")
    words = "-".join(filter(None, text.split("-")))
    return f"{words[:LONGEST_SLUG]}-{digest(list(key))[:8]}"


def _reduced(runs: Sequence[StoredRun], placed: Iterable[Placed | None], current: Collection[str]) -> tuple[StoredRun, ...]:
    """The runs of these records with nothing but them; skipped cases stay in those that are the newest of a suite, `current`."""
    kept: dict[int, dict[int, Record]] = {}
    for record, run in filter(None, placed):
        kept.setdefault(run, {})[id(record)] = record
    return tuple(
        replace(runs[run], records=tuple(records.values()), skipped=runs[run].skipped if runs[run].id in current else ())
        for run, records in sorted(kept.items())
    )
