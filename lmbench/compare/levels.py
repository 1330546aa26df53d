"""The levels of one series of nights, and whether its present level is worse than it should be; pure.

Everything rests on recurrence: one night, however tight its interval, neither raises an alarm nor ends one, and is no
level. Nights that stand alone (`_settled` leaves them out) are looked at again when the next night is there.

A level is a stretch between change points (E-divisive, changepoints.py), or the last few nights where all of them lie
surely off the stretch before. Its value is the median of its nights, so that a stray night does not move it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from lmbench.compare.changepoints import change_points
from lmbench.compare.paired import MARGIN

RECURRENCE = 2
"""Nights that must agree before they are a level, or end an alarm."""
LASTING = 5
"""Nights after which a level has lasted: a better one is then what later nights are held to."""
QUIET_MAGNITUDE, NOISY_MAGNITUDE = 0.005, 0.02
NOISY_ERROR = 0.012
"""Series whose nights typically have a larger standard error count change points from NOISY_MAGNITUDE on only."""
SURE = 2.5
"""Standard errors that make nights together sure. Replayed on recorded pairs that found 5 % after 2, 3 and 7 nights in
88, 95 and 100 % of series, 2 % in 15, 35 and 65 %; 50 unchanged cases raised 0 to 1 alarms in 40 nights, and 3 where
single pairs vary by 9 % with heavy tails (with 2.0: 1, and 12)."""
ALONE = 4.0
"""A night that is this many standard deviations off both its neighbours, on the same side, stands alone."""
HELD = 14
"""An alarm whose evidence grew weak is kept for at most this many nights without two good ones in a row."""
MEDIAN_LOSS = 1.2533
"""Standard error of a median over that of a mean, for normal values: sqrt(pi / 2)."""
DEVIATION = 1.4826
"""Standard deviation over the median absolute deviation, for normal values."""
MARGIN_LOG = math.log1p(MARGIN)
PIN = "pin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One night: ln(head / pin) in the direction in which more is slower, and its standard error."""

    slowness: float
    se: float
    """Infinite where the night has no interval and was not called regressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The nights from index `start` on, up to `end` (exclusive), lie around `value`, a slowness."""

    start: int
    end: int
    nights: int
    """Nights that count: those that stand alone are left out."""
    value: float
    se: float

    @property
    def lasting(self) -> bool:
        return self.nights >= LASTING


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the present level is held to: the pin, or the level that began at index `start`."""

    value: float
    se: float
    start: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worse:
    """A stretch that is worse than `reference`, from index `start` on; `value` is the slowness it has now."""

    start: int
    value: float
    reference: Reference

    @property
    def gap(self) -> float:
        return self.value - self.reference.value


def levels_of(samples: Sequence[Sample]) -> tuple[Level, ...]:
    """All levels in order, at least one when there are nights. Only the first may have less than RECURRENCE nights."""
    kept = _settled(samples)
    if not kept:
        return ()
    values = [samples[index].slowness for index in kept]
    magnitude = NOISY_MAGNITUDE if _own_error(samples) > NOISY_ERROR else QUIET_MAGNITUDE
    found = change_points([math.exp(value) for value in values], min_magnitude=magnitude)
    cuts = _long_enough([point.index for point in found], len(kept))
    begin = cuts[-1] if cuts else 0
    tail = _tail([samples[index] for index in kept[begin:]])
    edges = [0, *cuts, *([len(kept) - tail] if tail else []), len(kept)]
    levels = []
    for first, last in pairwise(edges):
        value, se = _typical([samples[index] for index in kept[first:last]])
        start = 0 if first == 0 else kept[first]
        end = len(samples) if last == len(kept) else kept[last]
        levels.append(Level(start=start, end=end, nights=last - first, value=value, se=se))
    return tuple(levels)


def alarm(samples: Sequence[Sample]) -> Worse | None:
    """Where the present level is surely worse than the pin or than the best lasting level; None when it is not.

    Once the evidence was there, an alarm ends when RECURRENCE nights in a row are good again, or when another level has
    been confirmed that is not surely worse.
    """
    kept = _settled(samples)
    levels = levels_of(samples)
    if not levels:
        return None
    references = references_of(levels)
    first = levels[-1].start
    for end in range(len(kept), max(len(kept) - HELD, 0), -1):
        found = _surely_worse(samples[: kept[end - 1] + 1])
        if found is not None:
            return found
        last = [samples[index].slowness for index in kept[max(end - RECURRENCE, 0) : end]]
        if kept[end - 1] <= first or all(value <= one.value + MARGIN_LOG for value in last for one in references):
            return None
    return None


def watched(samples: Sequence[Sample]) -> Worse | None:
    """What looks worse, but not surely or not recurrently: the last night, the present level, or a level that did not last."""
    levels = levels_of(samples)
    if not levels:
        return None
    best = min(references_of(levels), key=lambda one: one.value)
    last = samples[-1]
    if last.slowness - SURE * math.hypot(last.se, best.se) > best.value + MARGIN_LOG:
        return Worse(start=len(samples) - 1, value=last.slowness, reference=best)
    present, before = levels[-1], levels[:-1]
    if not before:
        return None
    short = min(before, key=lambda one: one.value)
    for one in (best, Reference(value=short.value, se=short.se, start=short.start)):
        if present.nights >= RECURRENCE and present.value > max(one.value, before[-1].value) + MARGIN_LOG:
            return Worse(start=present.start, value=present.value, reference=one)
    return None


def improved(samples: Sequence[Sample]) -> Worse | None:
    """A present level that is surely better than the one before it (the pin where there is none); `gap` is below 0."""
    levels = levels_of(samples)
    if not levels or levels[-1].nights < RECURRENCE:
        return None
    present = levels[-1]
    before = Reference(value=0.0, se=0.0)
    if len(levels) > 1:
        before = Reference(value=levels[-2].value, se=levels[-2].se, start=levels[-2].start)
    if before.value - present.value - SURE * math.hypot(present.se, before.se) <= MARGIN_LOG:
        return None
    return Worse(start=present.start, value=present.value, reference=before)


def references_of(levels: Sequence[Level]) -> tuple[Reference, ...]:
    """The pin, and every lasting level before the present one."""
    lasting = (Reference(value=one.value, se=one.se, start=one.start) for one in levels[:-1] if one.lasting)
    return (Reference(value=0.0, se=0.0), *lasting)


def _surely_worse(samples: Sequence[Sample]) -> Worse | None:
    levels = levels_of(samples)
    present = levels[-1]
    kept = [index for index in _settled(samples) if index >= present.start]
    found = [
        one
        for size in _sizes(len(kept))
        for reference in references_of(levels)
        if (one := _window(samples, kept[-size:], reference)) is not None
    ]
    if not found:
        return None
    whole = [one for one in found if one.start == kept[0]]
    pinned = [one for one in whole or found if one.reference.start is None]
    worst = max(whole or found, key=lambda one: one.gap)
    if pinned and worst.gap - max(one.gap for one in pinned) <= MARGIN_LOG:
        worst = max(pinned, key=lambda one: one.gap)
    return Worse(start=_begin(levels, worst), value=worst.value, reference=worst.reference)


def _window(samples: Sequence[Sample], indices: Sequence[int], reference: Reference) -> Worse | None:
    nights = [samples[index] for index in indices]
    value, se = _typical(nights)
    bar = reference.value + MARGIN_LOG
    if len(nights) <= RECURRENCE and min(one.slowness for one in nights) <= bar:
        return None
    if value - SURE * math.hypot(se, reference.se) <= bar:
        return None
    return Worse(start=indices[0], value=value, reference=reference)


def _begin(levels: Sequence[Level], worse: Worse) -> int:
    """Where what is worse began: levels before that were worse than the same reference belong to it."""
    begin = worse.start
    if begin > levels[-1].start:
        return begin
    for level in reversed(levels[:-1]):
        if level.value <= worse.reference.value + MARGIN_LOG or level.start == worse.reference.start:
            break
        begin = level.start
    return begin


def _sizes(count: int) -> Iterator[int]:
    """Windows of 2, 3, 5, 8, 12 ... nights, and all of them."""
    size = RECURRENCE
    while size < count:
        yield size
        size = max(size + 1, size * 3 // 2)
    if count >= RECURRENCE:
        yield count


def _typical(nights: Sequence[Sample]) -> tuple[float, float]:
    """Median and its standard error: from the nights' own errors, or from their spread where that is larger."""
    values = [one.slowness for one in nights]
    middle = median(values)
    error = _own_error(nights)
    count = len(nights)
    if count <= RECURRENCE:
        return middle, error / math.sqrt(count)
    spread = DEVIATION * median(abs(value - middle) for value in values)
    return middle, MEDIAN_LOSS * max(error, spread) / math.sqrt(count)


def _own_error(nights: Sequence[Sample]) -> float:
    return median(one.se for one in nights)


def _settled(samples: Sequence[Sample]) -> list[int]:
    """Indices of the nights that do not stand alone. A first or last night has one neighbour only; a sole one is kept."""
    kept = list(range(len(samples)))
    bar = max(MARGIN_LOG, ALONE * _scale(samples))
    while len(kept) > 1:
        alone = [_aloneness([samples[index].slowness for index in kept], place) for place in range(len(kept))]
        worst = max(range(len(kept)), key=lambda place: alone[place])
        if alone[worst] <= bar or len(kept) == RECURRENCE:
            break
        del kept[worst]
    return kept


def _aloneness(values: Sequence[float], place: int) -> float:
    """How far a value is off both neighbours, 0 when it lies between them."""
    gaps = [values[place] - values[near] for near in (place - 1, place + 1) if 0 <= near < len(values)]
    if min(gaps) > 0 or max(gaps) < 0:
        return min(abs(gap) for gap in gaps)
    return 0.0


def _scale(samples: Sequence[Sample]) -> float:
    """Standard deviation of a night around its level, which steps and stray nights do not move."""
    steps = [abs(after.slowness - before.slowness) for before, after in pairwise(samples)]
    return DEVIATION * median(steps) / math.sqrt(2) if steps else 0.0


def _long_enough(cuts: Sequence[int], count: int) -> list[int]:
    """Cuts without those that would leave a level of fewer than RECURRENCE nights."""
    kept: list[int] = []
    for place, cut in enumerate(cuts):
        after = cuts[place + 1] if place + 1 < len(cuts) else count
        if cut >= RECURRENCE and after - cut >= RECURRENCE:
            kept.append(cut)
    return kept


def _tail(nights: Sequence[Sample]) -> int:
    """How many of the last nights all lie off the nights before, on one side, by more than the margin, and surely together.

    It sees a step some nights before a test on the whole stretch can.
    """
    for count in range(len(nights) - 1, RECURRENCE - 1, -1):
        value, se = _typical(nights[-count:])
        old, old_se = _typical(nights[:-count])
        side = 1 if value > old else -1
        off = min(side * (one.slowness - old) for one in nights[-count:])
        if off > MARGIN_LOG and side * (value - old) - SURE * math.hypot(se, old_se) > MARGIN_LOG:
            return count
    return 0
