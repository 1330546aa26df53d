"""The headline figures of finished sessions, and how far they move from run to run; arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev

from lmbench.measure.contention import CONTENDED, contention_of
from lmbench.record.record import OK, Record
from lmbench.report.layout import MAIN

IDLE, BUSY = "idle", "busy"
BOUND = 0.10
"""Above this coefficient of variation on an idle machine a metric is no headline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFigures:
    """The headline metrics of one case in one session, in their own units; None where a value is not known."""

    node_id: str
    digest: str
    """Of the declaration: only values of the same one are put together."""
    values: Mapping[str, float | None]
    units: Mapping[str, str]
    others: float | None = None
    """Share of the CPUs that processes outside of the case took while it was measured; None where it is not known."""
    contended: bool = False
    """Whether tasks waited for a CPU so long that its record calls its times contended."""
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One pytest session over the suite, as far as it came."""

    number: int
    load: str
    started_at: str
    complete: bool
    loadavg: float
    """One-minute load average when it began."""
    wall_s: float | None = None
    machine: str = ""
    commit: str = ""
    clock_s: float | None = None
    """What reading the clock took, which every session measures: work that never changes, so it shows how fast the machine was."""
    cases: tuple[CaseFigures, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One metric's values under one load."""

    values: tuple[float, ...]
    unknown: int = 0
    """Runs in which the metric has no value."""
    disturbed: int = 0
    """Idle runs whose value does not count, because others held the CPUs meanwhile."""

    @property
    def middle(self) -> float | None:
        return median(self.values) if self.values else None

    @property
    def variation(self) -> float | None:
        """The coefficient of variation: the sample standard deviation over the mean; None for fewer than two values."""
        return coefficient_of_variation(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One headline metric of one case, by load."""

    node_id: str
    metric: str
    unit: str
    by_load: Mapping[str, Spread]


def figures_of(record: Record) -> CaseFigures:
    """The headline metrics of a record."""
    names = MAIN.get(record.case.workload, ())
    contention = contention_of(record.resources)
    found = {name: record.metrics[name] for name in names if name in record.metrics}
    return CaseFigures(
        node_id=record.case.node_id,
        digest=record.case.digest,
        values={name: one.value for name, one in found.items()},
        units={name: one.unit for name, one in found.items()},
        others=contention.others,
        contended=contention.beyond(CONTENDED),
        failure="" if record.status == OK or record.failure is None else record.failure.message,
    )


def coefficient_of_variation(values: Sequence[float]) -> float | None:
    """Sample standard deviation over the absolute mean; 0 for equal values, None for fewer than two or around a mean of 0."""
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return 0.0
    mean = fmean(values)
    return stdev(values) / abs(mean) if mean else math.inf


def disturbed(load: str, case: CaseFigures) -> bool:
    """Whether a value that should be an idle machine's was measured while tasks waited for CPUs that others held."""
    return load == IDLE and case.contended


def rows_of(sessions: Sequence[Session]) -> list[Row]:
    """Every headline metric with its values by load, in the order of the newest session.

    Values of another declaration of a case, or of another machine, than the newest session's are left out.
    """
    latest = {case.node_id: case for session in sessions for case in session.cases}
    machine = sessions[-1].machine if sessions else ""
    alike = [session for session in sessions if session.machine == machine]
    loads = list(dict.fromkeys(session.load for session in alike))
    return [
        Row(
            node_id=node_id,
            metric=metric,
            unit=newest.units[metric],
            by_load={load: _spread(alike, load, newest, metric) for load in loads},
        )
        for node_id, newest in latest.items()
        for metric in newest.values
    ]


def settled(sessions: Sequence[Session], load: str) -> int:
    """How many values of complete sessions under `load` each case has at least."""
    latest = {case.node_id: case.digest for session in sessions for case in session.cases}
    counts = dict.fromkeys(latest, 0)
    for session in sessions:
        if session.complete and session.load == load and session.machine == sessions[-1].machine:
            for case in session.cases:
                counts[case.node_id] += case.digest == latest[case.node_id] and not disturbed(load, case)
    return min(counts.values(), default=0)


def unsteady(rows: Iterable[Row], load: str = IDLE, bound: float = BOUND) -> list[Row]:
    """Rows that move by more than `bound` under `load`."""
    return [row for row in rows if load in row.by_load and (row.by_load[load].variation or 0.0) > bound]


def machine_variation(sessions: Sequence[Session], load: str = IDLE) -> float | None:
    """How far the machine's own speed moved under `load`: the variation of what reading the clock took; None if unknown."""
    times = [session.clock_s for session in sessions if session.load == load and session.clock_s is not None]
    return coefficient_of_variation(times)


def _spread(sessions: Sequence[Session], load: str, newest: CaseFigures, metric: str) -> Spread:
    same = [
        case
        for session in sessions
        if session.load == load
        for case in session.cases
        if case.node_id == newest.node_id and case.digest == newest.digest and not case.failure
    ]
    calm = [case for case in same if not disturbed(load, case)]
    values = [case.values.get(metric) for case in calm]
    known = tuple(value for value in values if value is not None)
    return Spread(values=known, unknown=len(values) - len(known), disturbed=len(same) - len(calm))
