"""Has it settled? A steady-state test for warm-up and a trend test for what was measured; pure arithmetic.

A steady state may never come (Barrett et al. 2017, "Virtual Machine Warmup Blows Hot and Cold", find it missing
in a good part of their benchmarks), so "not reached" is an answer that is kept, not an error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_HALF, MAX_HALF = 3, 10
TOLERANCE = 0.05
"""Largest relative difference between the medians of the last and the previous rounds."""
TREND_P = 0.05
MIN_DRIFT = 0.02
"""A trend moves less than this share of the median over the window: real or not, it does not matter."""
MAX_TREND_SAMPLES = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyState:
    """Outcome of warming up. `reached` is None when there were too few rounds to tell."""

    reached: bool | None
    reason: str
    warmup_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Monotone drift of a series. `found` is None when it is too short; `drift` is relative to its median."""

    found: bool | None
    drift: float
    p: float
    reason: str


def steady(samples: Sequence[float]) -> SteadyState:
    """Whether the last rounds are steady.

    With k = half the rounds, between 3 and 10: the medians of the last k and of the k before differ by at
    most 5 %, and the last 2k show no trend (see `trend`). The samples count as `warmup_rounds`.
    """
    count = len(samples)
    if count < 2 * MIN_HALF:
        reason = f"too few rounds to tell: {count}, the test needs {2 * MIN_HALF}"
        return SteadyState(reached=None, reason=reason, warmup_rounds=count)
    half = min(count // 2, MAX_HALF)
    before, after = np.median(samples[-2 * half : -half]), np.median(samples[-half:])
    change = float(after / before - 1) if before > 0 else 0.0
    if abs(change) > TOLERANCE:
        reason = f"the median of the last {half} rounds differs by {change:+.1%} from the {half} before (bound {TOLERANCE:.0%})"
        return SteadyState(reached=False, reason=reason, warmup_rounds=count)
    drift = trend(samples[-2 * half :])
    if drift.found:
        return SteadyState(reached=False, reason=drift.reason, warmup_rounds=count)
    reason = f"medians of the last two times {half} rounds differ by {change:+.1%}, no trend"
    return SteadyState(reached=True, reason=reason, warmup_rounds=count)


def trend(samples: Sequence[float]) -> Trend:
    """Mann-Kendall test (Mann 1945, Kendall 1975; normal approximation with ties) and Theil-Sen drift over the series.

    Found means p < 0.05 two-sided and a drift of at least 2 % of the median. Series longer than 400 are
    replaced by the medians of 400 consecutive blocks, since the tests are quadratic.
    """
    values = _thinned(np.asarray(samples, dtype=np.float64))
    count = len(values)
    if count < 2 * MIN_HALF:
        return Trend(found=None, drift=0.0, p=1.0, reason=f"too few rounds to tell: {count}, the test needs {2 * MIN_HALF}")
    early, late = np.triu_indices(count, k=1)
    differences = values[late] - values[early]
    p = _mann_kendall_p(values, float(np.sign(differences).sum()))
    middle = float(np.median(values))
    drift = float(np.median(differences / (late - early))) * (count - 1) / middle if middle > 0 else 0.0
    found = p < TREND_P and abs(drift) >= MIN_DRIFT
    verb = "drift" if found else "do not drift"
    return Trend(
        found=found, drift=drift, p=p, reason=f"{count} rounds {verb}: {drift:+.1%} from first to last (Mann-Kendall p={p:.2g})"
    )


def _mann_kendall_p(values: np.ndarray[tuple[int], np.dtype[np.float64]], score: float) -> float:
    count = len(values)
    _, ties = np.unique(values, return_counts=True)
    variance = (count * (count - 1) * (2 * count + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    if variance <= 0 or score == 0:
        return 1.0
    return math.erfc((abs(score) - 1) / math.sqrt(2 * variance))


def _thinned(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if len(values) <= MAX_TREND_SAMPLES:
        return values
    return np.array([np.median(block) for block in np.array_split(values, MAX_TREND_SAMPLES)])
