"""Where a series of nightly ratios changed its level: E-divisive in windows, with Student's t as the test of significance.

The statistic is that of Matteson & James (JASA 109, 2014): for a split of a stretch into X and Y, of n and m values,

    Q = 2 / (n + m) * (sum |x - y| - m / (n - 1) * sum |x - x'| - n / (m - 1) * sum |y - y'|)

with the inner sums over pairs. Windows, the t-test in place of permutations, and the second pass that takes weak points
away again follow Fleming et al., Hunter (ICPE 2023). Recorded answers of Apache Otava 0.8.0, which grew out of Hunter,
are the test of this implementation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

WINDOW = 50
MAX_P = 0.001
MIN_MAGNITUDE = 0.01
WEAK = 10.0
"""The first pass lets points with WEAK times the p in: what follows a point may make it clear."""
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePoint:
    """The level changes from `before` to `after` (means) with the value at `index`."""

    index: int
    p: float
    before: float
    after: float

    @property
    def magnitude(self) -> float:
        """The larger of the relative changes seen from either side."""
        return max(abs(_relative(self.before, self.after)), abs(_relative(self.after, self.before)))


def change_points(
    values: Sequence[float], *, window: int = WINDOW, max_p: float = MAX_P, min_magnitude: float = MIN_MAGNITUDE
) -> list[ChangePoint]:
    """Change points of a series of ratios, in order of their index; none in fewer than 3 values."""
    series = np.asarray(values, dtype=np.float64)
    if len(series) < 3:
        return []
    weak = _first_pass(series, window, max_p * WEAK)
    return _second_pass(weak, series, max_p, min_magnitude)


def _first_pass(series: FloatArray, window: int, max_p: float) -> list[int]:
    indices: set[int] = set()
    start = 0
    while start < len(series):
        inside = [start + index for index in _divide(series[start : start + window], max_p)]
        indices.update(inside)
        start = max(inside[-1] if inside else 0, start + window // 2)
    return sorted(indices)


def _divide(stretch: FloatArray, max_p: float) -> list[int]:
    """Split again and again at the best point of all parts, until the best one is not significant."""
    splits: list[int] = []
    while True:
        edges = [0, *splits, len(stretch)]
        parts = [(low, high) for low, high in pairwise(edges) if high - low > 1]
        best = max((_best_split(stretch, low, high) for low, high in parts), default=None, key=lambda one: one[0])
        if best is None:
            return splits
        _, index, low, high = best
        if not _test(stretch[low:index], stretch[index:high]) <= max_p:
            return splits
        splits = sorted([*splits, index])


def _best_split(stretch: FloatArray, low: int, high: int) -> tuple[float, int, int, int]:
    """(Q, index, low, high) of the split of stretch[low:high] with the largest Q over all ends of the right side."""
    part = stretch[low:high]
    count = len(part)
    # sums[i, j]: sum of distances between the first i and the first j values
    sums = np.zeros((count + 1, count + 1))
    sums[1:, 1:] = np.abs(part[:, None] - part[None, :]).cumsum(axis=0).cumsum(axis=1)
    split, end = np.arange(1, count)[:, None], np.arange(2, count + 1)[None, :]
    left, right = split, end - split
    inner_left = sums[split, split] / 2
    between = sums[split, end] - sums[split, split]
    inner_right = sums[end, end] / 2 - inner_left - between
    with np.errstate(divide="ignore", invalid="ignore"):
        spread_left = np.where(left > 1, right / (left - 1) * inner_left, 0.0)
        spread_right = np.where(right > 1, left / (right - 1) * inner_right, 0.0)
        quality = np.where(right > 0, 2 / end * (between - spread_left - spread_right), -np.inf)
    row, column = np.unravel_index(int(np.argmax(quality)), quality.shape)
    return float(quality[row, column]), low + int(row) + 1, low, high


def _second_pass(indices: list[int], series: FloatArray, max_p: float, min_magnitude: float) -> list[ChangePoint]:
    """Take the least significant point away, then the smallest, until all are significant and large enough."""
    points = [_point(series, indices, position) for position in range(len(indices))]
    while points:
        worst = max(range(len(points)), key=lambda one: points[one].p)
        if points[worst].p < max_p:
            worst = min(range(len(points)), key=lambda one: points[one].magnitude)
            if points[worst].magnitude > min_magnitude:
                return points
        del points[worst]
        left = [point.index for point in points]
        for neighbour in (worst - 1, worst):
            if 0 <= neighbour < len(points):
                points[neighbour] = _point(series, left, neighbour)
    return points


def _point(series: FloatArray, indices: Sequence[int], position: int) -> ChangePoint:
    edges = [0, *indices, len(series)]
    index = indices[position]
    left, right = series[edges[position] : index], series[index : edges[position + 2]]
    return ChangePoint(index=index, p=_test(left, right), before=float(left.mean()), after=float(right.mean()))


def _test(left: FloatArray, right: FloatArray) -> float:
    """p of the two-sided t-test with pooled variance, from standard deviations that divide by n, as Otava's does.

    It is not a number when all values are equal, and 0 when both sides are constant and differ.
    """
    from scipy.special import stdtr

    n, m = len(left), len(right)
    if n + m <= 2:
        return 1.0
    pooled = ((n - 1) * left.var() + (m - 1) * right.var()) / (n + m - 2)
    gap = float(left.mean() - right.mean())
    error = math.sqrt(pooled * (1 / n + 1 / m))
    if error == 0:
        return math.nan if gap == 0 else 0.0
    return 2 * float(stdtr(n + m - 2, -abs(gap / error)))


def _relative(before: float, after: float) -> float:
    return after / before - 1 if before else 0.0
