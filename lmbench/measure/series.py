"""Arithmetic on sampled series: pairs (moment, value) in order of time, as any of the sampler's quantities."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Pair = tuple[float, float]
RATE_SPAN_S = 0.25
"""CPU time comes in ticks of 10 ms: over a shorter span its growth is mostly rounding."""
TIMELINE_POINTS = 120


def pairs(rows: Sequence[Mapping[str, Any]], name: str) -> list[Pair]:
    """(t, value) of the rows that have the quantity; samples need not all have it."""
    return [(float(row["t"]), float(row[name])) for row in rows if row.get(name) is not None]


def spread(series: Sequence[Pair]) -> dict[str, float]:
    """{n, min, mean, max} of a series that is not empty."""
    values = [value for _, value in series]
    low, high = min(values), max(values)
    # The sum rounds: without the clamp the mean of equal values can leave their range.
    mean = min(max(sum(values) / len(values), low), high)
    return {"n": len(values), "min": low, "mean": mean, "max": high}


def at(series: Sequence[Pair], moment: float) -> float:
    """Value at a moment, linear between neighbours, constant beyond the ends; the series is not empty."""
    index = bisect_left(series, moment, key=lambda pair: pair[0])
    if index == 0:
        return series[0][1]
    if index == len(series):
        return series[-1][1]
    (before, low), (after, high) = series[index - 1], series[index]
    return low + (high - low) * (moment - before) / (after - before) if after > before else high


def deltas(series: Sequence[Pair], start: float, end: float) -> float:
    """Growth of a counter from `start` to `end`, interpolated at both."""
    return at(series, end) - at(series, start)


def rates(series: Sequence[Pair], span_s: float = RATE_SPAN_S) -> list[Pair]:
    """(moment, growth per second) of a counter over consecutive spans of at least `span_s`."""
    found: list[Pair] = []
    if not series:
        return found
    moment, value = series[0]
    for later, now in series[1:]:
        if later - moment >= span_s:
            found.append((later, (now - value) / (later - moment)))
            moment, value = later, now
    return found


def integral(series: Sequence[Pair], start: float, end: float) -> float:
    """Area under a series from `start` to `end` by the trapezoidal rule; the series is not empty."""
    inner = [(start, at(series, start)), *(pair for pair in series if start < pair[0] < end), (end, at(series, end))]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(inner))


def decimated(series: Sequence[Pair], start: float, points: int = TIMELINE_POINTS) -> list[list[float]]:
    """At most `points` pairs [seconds since start, mean of the bucket], for drawing."""
    size = -(-len(series) // points) if series else 1
    found = []
    for first in range(0, len(series), size):
        bucket = series[first : first + size]
        moment = sum(pair[0] for pair in bucket) / len(bucket) - start
        found.append([round(moment, 3), float(f"{sum(pair[1] for pair in bucket) / len(bucket):.5g}")])
    return found
