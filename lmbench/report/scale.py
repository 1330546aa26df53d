"""Numbers to places on an axis: limits, ticks, bins and cumulative shares; no markup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_BINS = 40
MOST_POINTS = 400
LEAST_LOG_RATIO = 2.6
"""A logarithmic axis at least this wide has a tick: neighbouring ones are at most 2.5 apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: what it shows, in which unit, whether logarithmic, whether zero must be on it."""

    title: str
    unit: str
    log: bool = False
    zero: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps [low, high] of an axis onto [start, end] of the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where `value` lies in the drawing; values outside the limits stay at the nearer end."""
        low, high, value = (math.log(item) for item in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


def scale(axis: Axis, values: Sequence[float], start: float, end: float) -> Scale:
    """A scale that holds all `values` (at least one; all positive on a logarithmic axis) and its ticks."""
    low, high = min(values), max(values)
    if axis.log:
        pad = max(1.05, math.sqrt(LEAST_LOG_RATIO * low / high))
        low, high = low / pad, high * pad
        return Scale(low=low, high=high, start=start, end=end, log=True, ticks=log_ticks(low, high))
    low = min(low, 0.0) if axis.zero else low
    if high <= low:
        pad = abs(high) * 0.5 or 0.5
        low, high = (low, low + 2 * pad) if axis.zero else (low - pad, high + pad)
    ticks = linear_ticks(low, high)
    if axis.unit == "count":
        ticks = tuple(tick for tick in ticks if tick == round(tick)) or ticks
    return Scale(low=min(low, ticks[0]), high=max(high, ticks[-1]), start=start, end=end, log=False, ticks=ticks)


def linear_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 x 10^k that cover [low, high]: about `wanted`, at least 2."""
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 and math.isfinite(raw) else 1.0
    step = next((power * factor for factor in (1, 2, 5) if power * factor >= raw), power * 10)
    first, last = math.floor(low / step), math.ceil(high / step)
    return tuple(index * step for index in range(first, max(last, first + 1) + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """1, 2 and 5 x 10^k within [low, high]; only powers of ten when that would be more than 7."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = tuple(factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high)
    coarse = tuple(10.0**power for power in powers if low <= 10.0**power <= high)
    return coarse if len(fine) > 7 and len(coarse) > 1 else fine


def cumulative(values: Sequence[float]) -> list[tuple[float, float]]:
    """(value, share of samples at or below it), thinned to about 400 points; first and last are kept."""
    ranked, count = sorted(values), len(values)
    stride = max(count // MOST_POINTS, 1)
    kept = sorted({*range(0, count, stride), count - 1})
    return [(ranked[index], (index + 1) / count) for index in kept]


def bins(values: Sequence[float]) -> tuple[list[float], list[int]]:
    """Edges and counts of equal bins, at most 40, of the width of Freedman and Diaconis (1981): 2 IQR / n^(1/3)."""
    ranked, count = sorted(values), len(values)
    low, high = ranked[0], ranked[-1]
    if high <= low:
        pad = abs(low) * 0.05 or 0.5
        return [low - pad, low + pad], [count]
    spread = ranked[(3 * count) // 4] - ranked[count // 4]
    width = 2 * spread / count ** (1 / 3)
    number = min(max(math.ceil((high - low) / width), 5), MOST_BINS) if width > (high - low) / 1e6 else MOST_BINS
    step = (high - low) / number
    counts = [0] * number
    for value in ranked:
        counts[min(int((value - low) / step), number - 1)] += 1
    return [low + index * step for index in range(number + 1)], counts
