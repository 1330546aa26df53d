"""Percentiles that exist only when there are enough samples, and the latency arithmetic of a request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lmbench.base.catalogue import PERCENTILES, TAIL
from lmbench.measure.measurement import Metric, metric

CONFIDENCE = 0.95
FEWEST_PAIRS = 3


def needed_samples(q: float) -> int:
    """Fewest samples for which the q-th percentile, 0 < q < 100, is reported.

    The largest of n samples is above the percentile with probability 1 - (q/100)^n. Below
    n = ln(0.05) / ln(q/100) not even that reaches 95 %, so no order statistic bounds the percentile:
    5, 29, 59 and 299 for p50, p90, p95 and p99 (David & Nagaraja, Order Statistics, section 7.1).
    Percentiles under the median are mirrored.
    """
    if not 0 < q < 100:
        raise ValueError(f"found the percentile {q}; expected a number between 0 and 100, both excluded")
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(max(q, 100 - q) / 100))


def percentile(samples: Sequence[float], q: float) -> tuple[float | None, str]:
    """(value, '') by linear interpolation between order statistics (Hyndman & Fan 1996, type 7), or (None, reason)."""
    needed = needed_samples(q)
    if len(samples) < needed:
        return None, f"{len(samples)} samples; p{q:g} needs {needed}"
    return float(np.percentile(np.asarray(samples, dtype=np.float64), q)), ""


def ratio_interval(top: Sequence[float], bottom: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of mean(top) / mean(bottom), of samples taken in pairs; None with fewer than 3 pairs.

    The ratio estimator's variance by its residuals top - ratio * bottom (Cochran 1977, Sampling Techniques, 6.4), and Student's
    t: what disturbs both samples of a pair alike widens nothing. Pairs are taken to be independent.
    """
    count = len(top)
    if count < FEWEST_PAIRS:
        return None
    from scipy import stats

    above, below = np.asarray(top, dtype=np.float64), np.asarray(bottom, dtype=np.float64)
    ratio = above.mean() / below.mean()
    error = (above - ratio * below).std(ddof=1) / math.sqrt(count) / below.mean()
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * error)
    return float(ratio) - half, float(ratio) + half


def mean_interval(samples: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the mean by Student's t; None with fewer than 3 samples. Samples are taken to be independent."""
    count = len(samples)
    if count < FEWEST_PAIRS:
        return None
    from scipy import stats

    values = np.asarray(samples, dtype=np.float64)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * values.std(ddof=1) / math.sqrt(count))
    return float(values.mean()) - half, float(values.mean()) + half


def distribution(name: str, samples_s: Sequence[float]) -> list[Metric]:
    """Mean and percentiles of a series as the catalogue's `<name>_mean_s`, `<name>_p50_s` ..., with counts and reasons."""
    count = len(samples_s)
    if count:
        found = [metric(f"{name}_mean_s", math.fsum(samples_s) / count, n=count)]
    else:
        found = [metric(f"{name}_mean_s", None, n=0, reason="no samples")]
    for q in PERCENTILES:
        value, reason = percentile(samples_s, q)
        found.append(metric(f"{name}_p{q}_s", value, n=count, reason=reason))
    return found


def tail(name: str, samples_s: Sequence[float]) -> Metric:
    """`<name>_p999_s`, which needs 2995 samples."""
    value, reason = percentile(samples_s, TAIL)
    return metric(f"{name}_p999_s", value, n=len(samples_s), reason=reason)


def tpot_s(*, ttft_s: float, latency_s: float, tokens: int) -> float | None:
    """A request's mean time per output token after the first: (latency - ttft) / (n - 1); None below two tokens."""
    return (latency_s - ttft_s) / (tokens - 1) if tokens >= 2 else None


def itl_s(token_times: Sequence[float]) -> list[float]:
    """Gaps between neighbouring output tokens of one request, in order; empty below two tokens."""
    return [after - before for before, after in pairwise(token_times)]
