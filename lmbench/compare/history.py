"""Nightly ratios joined over re-pins into one series per metric, and what in them is an alarm; pure.

A single tight interval is no proof: the same commit was seen at +11.6 % [10.4, 11.9] in one run and at +0.9 % in the next,
through another layout of native code. So a change for the worse alarms only when it recurs; one night alone is to be watched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lmbench.base.catalogue import HIGHER, METRICS
from lmbench.compare.changepoints import detect
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.store.history import Bridge, CellRatio, History

ALARM, WATCH, IMPROVEMENT = "alarm", "watch", "improvement"
QUIET_MAGNITUDE, NOISY_MAGNITUDE = 0.01, 0.02
NOISY_HALF_WIDTH = 0.02
"""Hosts whose nights are typically less sure than this alarm from NOISY_MAGNITUDE on only."""
RECURRENCE = 2
"""Nights that must agree."""
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One night of one metric: ln(head / first pin), and that night's own verdict."""

    at: str
    commit: str
    log_ratio: float
    half_width: float | None
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A change of level: `change` is the ratio of the levels, `since` the commit and date of the first night after it."""

    node_id: str
    metric: str
    kind: str
    change: float
    commit: str
    since: str
    nights: int
    """Nights since then, the first one included."""
    why: str


def series_of(history: History) -> dict[Key, tuple[Point, ...]]:
    """The nights of each metric in order, all against the first pin: each re-pin adds its bridge.

    A case that a bridge lacks (it came later) starts again at the new pin: its earlier nights are left out.
    """
    offsets: dict[str, dict[Key, float] | None] = {}
    table: dict[Key, list[Point]] = {}
    for night in history.nights:
        offset = _offset(night.pinned, history, offsets)
        for cell in night.cells:
            key = (cell.node_id, cell.metric)
            known = 0.0 if offset is None else offset.get(key)
            if known is None:
                table[key] = []
            table.setdefault(key, []).append(_point(night.at, night.commit, cell, known or 0.0))
    return {key: tuple(points) for key, points in table.items() if points}


def findings(history: History) -> list[Finding]:
    """What changed and has not changed back: alarms first, then what is to be watched, then improvements."""
    found = [finding for key, points in series_of(history).items() for finding in _of_series(key, points)]
    order = (ALARM, WATCH, IMPROVEMENT)
    return sorted(found, key=lambda one: (order.index(one.kind), one.node_id, one.metric))


def bridge(history: History, new: str) -> Bridge | None:
    """The bridge to commit `new` from the latest night of exactly that commit against the current pin; None without one."""
    old = history.pins[-1].commit if history.pins else None
    nights = [night for night in history.nights if night.pinned == old and night.commit == new]
    return Bridge(old=str(old), new=new, cells=nights[-1].cells) if nights else None


def _offset(pinned: str, history: History, known: dict[str, dict[Key, float] | None]) -> dict[Key, float] | None:
    """ln(pinned / first pin) by metric; None for the first pin, and for a pin without a bridge."""
    if pinned in known:
        return known[pinned]
    joining = next((one for one in history.bridges if one.new == pinned), None)
    if joining is None or (history.pins and history.pins[0].commit == pinned):
        known[pinned] = None
        return None
    before = _offset(joining.old, history, known)
    known[pinned] = {
        (cell.node_id, cell.metric): cell.log_ratio + (before or {}).get((cell.node_id, cell.metric), 0.0)
        for cell in joining.cells
    }
    return known[pinned]


def _point(at: str, commit: str, cell: CellRatio, offset: float) -> Point:
    width = None if cell.low is None or cell.high is None else (cell.high - cell.low) / 2
    return Point(at=at, commit=commit, log_ratio=cell.log_ratio + offset, half_width=width, outcome=cell.outcome)


def _of_series(key: Key, points: Sequence[Point]) -> list[Finding]:
    """At most one finding: the last change of level that still holds."""
    sign = -1.0 if (spec := METRICS.get(key[1])) is not None and spec.better == HIGHER else 1.0
    magnitude = _magnitude(points)
    slowness = [sign * point.log_ratio for point in points]
    changes = detect([math.exp(value) for value in slowness], min_magnitude=magnitude)
    if changes:
        last = changes[-1]
        before = changes[-2].index if len(changes) > 1 else 0
        old, new = median(slowness[before : last.index]), median(slowness[last.index :])
        worse_nights = sum(value - old > math.log1p(magnitude) for value in slowness[last.index :])
        kind = IMPROVEMENT if new < old else ALARM if worse_nights >= RECURRENCE else WATCH
        return [
            _finding(key, points, last.index, new - old, kind, f"change point, p = {last.p:.1g}, {worse_nights} nights agree")
        ]
    streak = _streak(points)
    if streak:
        kind = ALARM if streak >= RECURRENCE else WATCH
        first = len(points) - streak
        old = median(slowness[:first]) if first else 0.0
        return [
            _finding(
                key, points, first, median(slowness[first:]) - old, kind, f"regressed against the pin {streak} nights in a row"
            )
        ]
    return []


def _finding(key: Key, points: Sequence[Point], index: int, change: float, kind: str, why: str) -> Finding:
    return Finding(
        node_id=key[0],
        metric=key[1],
        kind=kind,
        change=math.exp(change),
        commit=points[index].commit,
        since=points[index].at,
        nights=len(points) - index,
        why=why,
    )


def _streak(points: Sequence[Point]) -> int:
    """How many of the last nights said regressed."""
    count = 0
    for point in reversed(points):
        if point.outcome != REGRESSED:
            break
        count += 1
    return count


def _magnitude(points: Sequence[Point]) -> float:
    widths = [point.half_width for point in points if point.half_width is not None]
    return NOISY_MAGNITUDE if widths and median(widths) > NOISY_HALF_WIDTH else QUIET_MAGNITUDE


def cell_ratio(verdict: Verdict) -> CellRatio:
    """A paired verdict as the history keeps it. ValueError for one without evidence."""
    evidence = verdict.evidence
    if evidence is None or verdict.metric is None or verdict.ratio is None:
        raise ValueError(f"{verdict.node_id}: found a verdict without pairs; expected one with evidence")
    bounds = [None if bound is None else math.log(bound) for bound in (evidence.low, evidence.high)]
    return CellRatio(
        node_id=verdict.node_id,
        metric=verdict.metric,
        log_ratio=math.log(verdict.ratio),
        low=bounds[0],
        high=bounds[1],
        pairs=evidence.pairs,
        outcome=verdict.outcome,
    )


def grouped(found: Sequence[Finding]) -> Mapping[str, tuple[Finding, ...]]:
    """Findings by kind, all kinds present."""
    return {kind: tuple(one for one in found if one.kind == kind) for kind in (ALARM, WATCH, IMPROVEMENT)}
