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
from lmbench.compare.changepoints import ChangePoint, detect
from lmbench.compare.paired import MARGIN
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.store.history import Bridge, CellRatio, History, Night

ALARM, WATCH, IMPROVEMENT = "alarm", "watch", "improvement"
QUIET_MAGNITUDE, NOISY_MAGNITUDE = 0.01, 0.02
NOISY_HALF_WIDTH = 0.02
"""Hosts whose nights are typically less sure than this alarm from NOISY_MAGNITUDE on only."""
RECENT = 3
RECURRENCE = 2
"""Nights that must agree."""
NORMAL_95, SURE = 1.645, 1.645
"""Standard errors in half of a 90 % interval, and those that make nights together sure (one-sided 95 %)."""
Key = tuple[str, str]
Offset = tuple[float, float]
"""ln(pin / first pin) and its variance."""
NO_OFFSET: Offset = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One night of one metric: ln(head / first pin), and that night's own verdict."""

    at: str
    commit: str
    log_ratio: float
    half_width: float | None
    outcome: str
    pinned: str
    run: str = ""
    bridge_variance: float = 0.0
    """Squared standard error of the bridges between the first pin and this night's: nights of one pin share it."""


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

    A case that a bridge lacks (it came later) starts again at the new pin: its nights against earlier pins are left out.
    """
    offsets: dict[str, dict[Key, Offset] | None] = {}
    table: dict[Key, list[Point]] = {}
    for night in history.nights:
        offset = _offset(night.pinned, history, offsets)
        for cell in night.cells:
            key = (cell.node_id, cell.metric)
            points = table.setdefault(key, [])
            known = NO_OFFSET if offset is None else offset.get(key)
            if known is None and points and points[-1].pinned != night.pinned:
                points.clear()
            points.append(_point(night, cell, known or NO_OFFSET))
    return {key: tuple(points) for key, points in table.items()}


def findings(history: History) -> list[Finding]:
    """What changed and has not changed back: alarms first, then what is to be watched, then improvements.

    A re-pin settles what began before it: whoever moves the pin has taken the new level as it is. A case that has not
    been measured for RECENT nights is not spoken of.
    """
    recent = {night.run for night in history.nights[-RECENT:]}
    current = history.pins[-1].commit if history.pins else None
    found = [
        finding
        for key, points in series_of(history).items()
        if points[-1].run in recent
        for finding in _of_series(key, points)
        if points[len(points) - finding.nights].pinned == current
    ]
    order = (ALARM, WATCH, IMPROVEMENT)
    return sorted(found, key=lambda one: (order.index(one.kind), one.node_id, one.metric))


def bridge(history: History, new: str) -> Bridge | None:
    """The bridge to commit `new` from the latest night of exactly that commit against the current pin; None without one."""
    old = history.pins[-1].commit if history.pins else None
    nights = [night for night in history.nights if night.pinned == old and night.commit == new]
    return Bridge(old=str(old), new=new, cells=nights[-1].cells) if nights else None


def _offset(pinned: str, history: History, known: dict[str, dict[Key, Offset] | None]) -> dict[Key, Offset] | None:
    """ln(pinned / first pin) and its variance by metric; None for the first pin, nothing known for a pin without a bridge."""
    if pinned in known:
        return known[pinned]
    known[pinned] = None
    if history.pins and history.pins[0].commit == pinned:
        return None
    table: dict[Key, Offset] = {}
    joining = next((one for one in history.bridges if one.new == pinned), None)
    if joining is not None:
        before = _offset(joining.old, history, known) or {}
        for cell in joining.cells:
            ratio, variance = before.get((cell.node_id, cell.metric), NO_OFFSET)
            error = (_half_width(cell) or 0.0) / NORMAL_95
            table[cell.node_id, cell.metric] = (ratio + cell.log_ratio, variance + error * error)
    known[pinned] = table
    return table


def _point(night: Night, cell: CellRatio, offset: Offset) -> Point:
    return Point(
        at=night.at,
        commit=night.commit,
        log_ratio=cell.log_ratio + offset[0],
        half_width=_half_width(cell),
        outcome=cell.outcome,
        pinned=night.pinned,
        run=night.run,
        bridge_variance=offset[1],
    )


def _half_width(cell: CellRatio) -> float | None:
    return None if cell.low is None or cell.high is None else (cell.high - cell.low) / 2


def _of_series(key: Key, points: Sequence[Point]) -> list[Finding]:
    """At most one finding: the last change of level that still holds."""
    sign = -1.0 if (spec := METRICS.get(key[1])) is not None and spec.better == HIGHER else 1.0
    magnitude = _magnitude(points)
    slowness = [sign * point.log_ratio for point in points]
    last = _last_change(points, slowness, magnitude)
    if last is not None and last.after < last.before:
        return [
            _finding(key, points, last.index, math.log(last.after / last.before), IMPROVEMENT, f"change point, p = {last.p:.1g}")
        ]
    streak = _streak(points, slowness)
    if last is None and not streak:
        return []
    index = len(points) - streak if last is None else last.index
    old = _level(slowness[:index])
    worse = sum(value - old > math.log1p(magnitude) for value in slowness[index:])
    sure = _surely_worse(points, slowness, index)
    why = f"{worse} nights agree" + (f", change point with p = {last.p:.1g}" if last is not None else "")
    kind = ALARM if worse >= RECURRENCE and sure else WATCH
    return [_finding(key, points, index, median(slowness[index:]) - old, kind, why)]


def _last_change(points: Sequence[Point], slowness: Sequence[float], magnitude: float) -> ChangePoint | None:
    """The last change point that is more than the error of a bridge.

    A bridge is one night's measurement: its error shifts every night after a re-pin alike and looks like a step there.
    """
    found = detect([math.exp(value) for value in slowness], min_magnitude=magnitude)
    edges = [0, *(point.index for point in found), len(points)]
    for position in range(len(found) - 1, -1, -1):
        point = found[position]
        left, right = points[edges[position] : point.index], points[point.index : edges[position + 2]]
        error = _bridge_error(left, right)
        if error == 0 or abs(math.log(point.after / point.before)) - SURE * error > math.log1p(magnitude):
            return point
    return None


def _bridge_error(left: Sequence[Point], right: Sequence[Point]) -> float:
    """The standard error that bridges add to the difference of two groups of nights; 0 when both are against one pin.

    It is exact when a re-pin falls between the groups, and an upper bound when it falls inside one of them.
    """
    if not left or not right:
        return 0.0
    variances = [sum(point.bridge_variance for point in group) / len(group) for group in (left, right)]
    return math.sqrt(abs(variances[1] - variances[0]))


def _streak(points: Sequence[Point], slowness: Sequence[float]) -> int:
    """How many of the last nights are each worse than the level before them by more than the margin, and surely so together.

    It sees a step some nights before a test on the whole series can.
    """
    for count in range(len(points), 0, -1):
        first = len(points) - count
        bar = _level(slowness[:first]) + math.log1p(MARGIN)
        if all(value > bar for value in slowness[first:]) and _surely_worse(points, slowness, first):
            return count
    return 0


def _surely_worse(points: Sequence[Point], slowness: Sequence[float], first: int) -> bool:
    """Whether the nights from `first` on lie above the level before by more than the margin and SURE standard errors.

    The errors come from the nights' own intervals, those of the level before and of a bridge between them included.
    """
    if any(point.half_width is None for point in points):
        return all(point.outcome == REGRESSED for point in points[first:])
    gap = sum(slowness[first:]) / (len(points) - first) - _level(slowness[:first])
    bridged = _bridge_error(points[:first], points[first:])
    error = math.hypot(_mean_error(points[first:]), _mean_error(points[:first]), bridged)
    return gap - SURE * error > math.log1p(MARGIN)


def _mean_error(points: Sequence[Point]) -> float:
    """The standard error of the mean of nights; 0 of none."""
    squares = sum(((point.half_width or 0.0) / NORMAL_95) ** 2 for point in points)
    return math.sqrt(squares) / len(points) if points else 0.0


def _level(before: Sequence[float]) -> float:
    """The level of the nights before; that of the pin itself when there are none."""
    return median(before) if before else 0.0


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
