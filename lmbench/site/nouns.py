"""The nouns of this room: what was read of all stored runs, and one page of the site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lmbench.compare.history import Finding
from lmbench.compare.nightly import Point as Night
from lmbench.compare.verdicts import Verdict
from lmbench.measure.measurement import Metric
from lmbench.plan.case import Case
from lmbench.record.record import Record
from lmbench.store.ledger import Change
from lmbench.store.runs import StoredRun

Key = tuple[str, str]
"""Machine class and node id: what a trend is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One record of a trend: when, in which run, of what exactly, and its values with their samples."""

    at: str
    run: int
    """Index into the runs of `Stored`."""
    case: Case
    corpus: str | None
    values: Mapping[str, tuple[float | None, int | None]]
    """Metric -> (value, n); nothing of a case that failed."""
    objectives: Mapping[str, float] = field(default_factory=dict)
    """What a load run was held to, by name; nothing of a case that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """One case on one class of machine through all runs, oldest first."""

    machine_class: str
    node_id: str
    slug: str
    """Name of its page without suffix, unique among all."""
    points: tuple[Point, ...]
    metrics: Mapping[str, Metric]
    """The newest of every metric it ever had."""
    newest: Record
    """The last record, failed or not."""
    measured: Record | None
    """The last record that has measurements."""

    @property
    def key(self) -> Key:
        return self.machine_class, self.node_id

    @property
    def workload(self) -> str:
        return self.newest.case.workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Latest:
    """The newest run of a suite on one class of machine, and what was said of it."""

    machine_class: str
    suite: str
    run: StoredRun
    """Without its records."""
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nightly:
    """The paired history of one class of machine."""

    machine_class: str
    series: Mapping[tuple[str, str], tuple[Night, ...]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Everything the pages are made of."""

    runs: tuple[StoredRun, ...]
    """Oldest first, without records and verdicts."""
    trails: Mapping[Key, Trail]
    latest: tuple[Latest, ...]
    newest_runs: tuple[StoredRun, ...]
    """Runs reduced to those records that are the newest of their case, with a failed one also the newest measured one."""
    declared_runs: tuple[StoredRun, ...]
    """Runs reduced to the newest measured records of every declaration of every case: all that a capacity plan can use."""
    changes: tuple[Change, ...] = ()
    nightly: tuple[Nightly, ...] = ()
    problems: tuple[str, ...] = ()
    """Files that were left out, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One HTML file: where it goes below the site, its title and text, its place in the navigation."""

    path: str
    title: str
    template: str
    content: Mapping[str, object] = field(default_factory=dict)
    section: str = ""
    """Path of the page of the navigation it belongs to; its own by default."""
    data: Mapping[str, object] | None = None
    """What its scripts draw, as JSON."""
    scripts: tuple[str, ...] = ()
