"""What is to be said of the nightly history now: alarms, what is watched, silent cases, improvements, levels; pure.

A single tight interval is no proof: the same commit was seen at +11.6 % [10.4, 11.9] in one run and at +0.9 % in the next,
through another layout of native code. So only what recurs counts, for the worse and for the better (levels.py). A re-pin
settles what was before it: nights are judged against the present pin, and against levels seen since it was set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from lmbench.base.catalogue import HIGHER, METRICS
from lmbench.compare import levels
from lmbench.compare.levels import LASTING, PIN, RECURRENCE, Level, Sample, Worse
from lmbench.compare.nightly import NORMAL_95, Key, Point, nights_by_date, nights_of, series_of, since_pin
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.store.history import CellRatio, History, Night, Retirement

ALARM, WATCH, SILENT, IMPROVEMENT = "alarm", "watch", "silent", "improvement"
KINDS = (ALARM, WATCH, SILENT, IMPROVEMENT)
RECENT = 3
"""A case that none of so many last nights has measured is silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is to be said of one metric now. `change` is a ratio of slowness (above 1: slower) to what it is held to."""

    node_id: str
    metric: str
    kind: str
    change: float
    commit: str
    """The first night of what was found, and its date; of a silent case the last night that measured it."""
    since: str
    nights: int
    """Nights since then, the first one included; of a silent case those that did not measure it."""
    why: str
    against: str = PIN
    """'pin', or the date of the first night of the level that it is held to."""
    absent: int = 0
    """How many of the last nights did not measure it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One level as it is shown: head / pin, with its two-sided 90 % interval."""

    pinned: str
    since: str
    until: str
    commit: str
    nights: int
    ratio: float
    low: float | None
    high: float | None
    lasting: bool


def findings(history: History) -> list[Finding]:
    """The present state of each case: alarms first, then what is to be watched, silent cases, improvements.

    A case that has an alarm and is not measured any more keeps it, until it is measured again, retired, or the pin moves.
    """
    nights = nights_of(history)
    series = {key: since_pin(points, history) for key, points in series_of(history).items()}
    found = [
        finding
        for key in _expected(history, series)
        if not _is_retired(key, series.get(key, ()), history)
        for finding in _of_series(key, series.get(key, ()), nights)
    ]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.node_id, one.metric))


def judged(history: History) -> int:
    """How many metrics the last RECENT nights have measured against the present pin: 0 when there is nothing to judge."""
    return len({(cell.node_id, cell.metric) for group in nights_of(history)[-RECENT:] for one in group for cell in one.cells})


def stretches(points: Sequence[Point], metric: str) -> tuple[Stretch, ...]:
    """All levels of a series, by pin and date."""
    found = []
    sign = _sign(metric)
    for pinned in dict.fromkeys(point.pinned for point in points):
        own = [point for point in points if point.pinned == pinned]
        for level in levels.levels_of(_samples(own, sign)):
            found.append(_stretch(level, own, sign))
    return tuple(found)


def retirements(history: History, pattern: str, *, at: str, reason: str) -> tuple[Retirement, ...]:
    """One per silent case that matches: a node id, or a pattern with * and ?; brackets are literal."""
    gone = dict.fromkeys(one.node_id for one in findings(history) if one.absent >= RECENT)
    literal = pattern.replace("[", "[[]")
    names = [name for name in gone if name == pattern or fnmatchcase(name, literal)]
    last = {name: night.at for night in nights_by_date(history) for name in {cell.node_id for cell in night.cells}}
    return tuple(Retirement(node_id=name, at=at, last=last.get(name, ""), reason=reason) for name in names)


def _expected(history: History, series: Mapping[Key, Sequence[Point]]) -> list[Key]:
    """What was measured against the present pin, or in the night that became its bridge."""
    current = history.pins[-1].commit if history.pins else None
    bridged = [(cell.node_id, cell.metric) for one in history.bridges if one.new == current for cell in one.cells]
    return list(dict.fromkeys([*bridged, *(key for key, points in series.items() if points)]))


def _is_retired(key: Key, points: Sequence[Point], history: History) -> bool:
    """Whether the case was removed on purpose after it was last measured."""
    last = points[-1].at if points else ""
    return any(one.node_id == key[0] and one.last >= last for one in history.retired)


def _of_series(key: Key, points: Sequence[Point], nights: Sequence[Sequence[Night]]) -> list[Finding]:
    absent = _absent(points, nights)
    found = _change(key, points) if points else None
    if found is not None:
        why = f"{found.why}; not measured in the last {_nights(absent)}" if absent else found.why
        found = replace(found, why=why, absent=absent)
    if absent < RECENT:
        return [found] if found is not None else []
    gone = [_silent(key, points, nights, absent)]
    return [found, *gone] if found is not None and found.kind == ALARM else gone


def _change(key: Key, points: Sequence[Point]) -> Finding | None:
    """What is to be said of the present level of a metric that was measured."""
    samples = _samples(points, _sign(key[1]))
    for kind, look in ((ALARM, levels.alarm), (WATCH, levels.watched), (IMPROVEMENT, levels.improved)):
        found = look(samples)
        if found is not None:
            return _finding(key, points, found, kind)
    return None


def _finding(key: Key, points: Sequence[Point], found: Worse, kind: str) -> Finding:
    nights, start = len(points) - found.start, found.reference.start
    against = PIN if start is None else points[start].at
    held = "the pin" if start is None else f"the level that began {against} ({points[start].commit[:10]})"
    if kind == IMPROVEMENT and start is not None:
        held = f"the level before, from {against} on"
    why = f"against {held}; {_nights(nights)} since"
    if start is not None:
        why += f"; {'slower' if found.value > 0 else 'faster'} than the pin by {abs(math.exp(found.value) - 1):.1%}"
    if kind == WATCH:
        why += f"; an alarm needs {RECURRENCE} nights that agree, surely, against the pin or a level of {LASTING} nights"
    return Finding(
        node_id=key[0],
        metric=key[1],
        kind=kind,
        change=math.exp(found.gap),
        commit=points[found.start].commit,
        since=points[found.start].at,
        nights=nights,
        why=why,
        against=against,
    )


def _silent(key: Key, points: Sequence[Point], nights: Sequence[Sequence[Night]], absent: int) -> Finding:
    last = points[-1] if points else None
    present = levels.levels_of(_samples(points, _sign(key[1])))
    when = f"since {last.at}" if last is not None else "against this pin"
    return Finding(
        node_id=key[0],
        metric=key[1],
        kind=SILENT,
        change=math.exp(present[-1].value) if present else 1.0,
        commit=last.commit if last is not None else nights[0][0].pinned,
        since=last.at if last is not None else nights[0][0].at,
        nights=absent,
        why=f"not measured {when}, in {_nights(absent)}; if it was removed on purpose: lmbench history retire",
        absent=absent,
    )


def _absent(points: Sequence[Point], nights: Sequence[Sequence[Night]]) -> int:
    """How many of the last nights lack the metric."""
    runs = {(point.run, point.at) for point in points}
    count = 0
    for group in reversed(nights):
        if any((one.run, one.at) in runs for one in group):
            break
        count += 1
    return count


def _nights(count: int) -> str:
    return f"{count} night{'s' if count != 1 else ''}"


def _sign(metric: str) -> float:
    """1 where more is slower; ratios are kept as they were measured, so a rate's is turned round."""
    return -1.0 if (spec := METRICS.get(metric)) is not None and spec.better == HIGHER else 1.0


def _samples(points: Sequence[Point], sign: float) -> list[Sample]:
    """Points against their own pin."""
    return [Sample(slowness=sign * (point.log_ratio - point.offset), se=_error(point)) for point in points]


def _error(point: Point) -> float:
    """The standard error of one night: unknown without an interval, unless the night itself was sure."""
    if point.half_width is None:
        return 0.0 if point.outcome == REGRESSED else math.inf
    return point.half_width / NORMAL_95


def _stretch(level: Level, points: Sequence[Point], sign: float) -> Stretch:
    reach = NORMAL_95 * level.se
    ends = sorted((sign * level.value - reach, sign * level.value + reach))
    known = math.isfinite(reach)
    return Stretch(
        pinned=points[level.start].pinned,
        since=points[level.start].at,
        until=points[level.end - 1].at,
        commit=points[level.start].commit,
        nights=level.nights,
        ratio=math.exp(sign * level.value),
        low=math.exp(ends[0]) if known else None,
        high=math.exp(ends[1]) if known else None,
        lasting=level.lasting,
    )


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
    return {kind: tuple(one for one in found if one.kind == kind) for kind in KINDS}
