"""A long run at one rate: does memory leak, do latencies drift; pure arithmetic on samples and logs.

Both ask for the slope of a series that begins with a warm-up, moves in steps and remembers its past. The first third is left
out, the rest is replaced by the medians of 20 blocks (spikes and single samples do not count), and a line is fitted by
generalized least squares for first-order autocorrelated errors (S. Prais and C. Winsten 1954; for trends E. Canjels and
M. Watson, Estimating deterministic trends in the presence of serially correlated errors, 1997). Where the errors are
independent that is the common regression; the longer they last the more it approaches the difference of the ends, as it must
for a random walk. Least squares, Theil-Sen and Mann-Kendall on the samples themselves take them for independent and find
trends in every slow fluctuation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmbench.load.requests import RequestLog
from lmbench.measure.series import Pair

LEAK, NO_LEAK, DRIFT, NO_DRIFT, UNRESOLVED = "leak", "no leak", "drift", "no drift", "unresolved"
WARMUP = 1 / 3
"""Share of the run that is left out. Growth whose time constant is under a tenth of the run is over by then."""
BLOCKS = 20
PER_BLOCK = 3
MIN_RUN_S = 60.0
MIN_FREEDOM = 3.0
MAX_RHO = 0.95
LASTING = 0.5
"""A slope lasts when that of the second half of the window is at least this share of the whole; else it is levelling off."""
MIN_GROWTH_BYTES = 2**20
MIN_GROWTH = 0.005
MIN_CHANGE = 0.02
"""Growth of memory (the larger of 1 MiB and 0.5 % of its level) and change of latency over the window that do not matter."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """A line through a window: slope in units per second with its 95 % interval; `level` is the median in the window."""

    per_s: float
    low: float
    high: float
    level: float
    window_s: float
    lasting: bool

    @property
    def smallest(self) -> float:
        """The smallest slope that would have been told from none."""
        return max(self.high - self.per_s, self.per_s - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Growth of memory over the later two thirds of a run; None where not known. Verdict leak, no leak or unresolved."""

    verdict: str
    reason: str
    bytes_per_s: float | None = None
    low: float | None = None
    high: float | None = None
    per_request: float | None = None
    """Bytes per completed request, with its interval."""
    low_per_request: float | None = None
    high_per_request: float | None = None
    smallest_per_request: float | None = None
    """The smallest leak that the run could have shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Relative change of the latency per hour (0.1: 10 % slower after an hour) with its 95 % interval; None where not known."""

    verdict: str
    reason: str
    per_hour: float | None = None
    low: float | None = None
    high: float | None = None
    smallest_per_hour: float | None = None


def leak(memory: Sequence[Pair], logs: Sequence[RequestLog]) -> Leak:
    """Whether memory, given as (moment, bytes) in order of time, keeps growing, per second and per completed request."""
    if missing := _too_little(memory, "samples of memory"):
        return Leak(verdict=UNRESOLVED, reason=missing)
    found = slope(memory)
    begin = memory[-1][0] - found.window_s
    served = sum(log.finished_s is not None and begin <= log.finished_s <= memory[-1][0] for log in logs if log.completed)
    verdict, reason = _leak_verdict(found)
    if not served:
        return Leak(verdict=verdict, reason=reason, bytes_per_s=found.per_s, low=found.low, high=found.high)
    scale = found.window_s / served
    shown = max(found.smallest, _worth(found) / found.window_s) * scale
    return Leak(
        verdict=verdict,
        reason=f"{reason}: {found.per_s * scale / 1e4:+.3g} MB per 100 requests; {shown / 1e4:.2g} MB would have shown",
        bytes_per_s=found.per_s,
        low=found.low,
        high=found.high,
        per_request=found.per_s * scale,
        low_per_request=found.low * scale,
        high_per_request=found.high * scale,
        smallest_per_request=shown,
    )


def drift(logs: Sequence[RequestLog]) -> Drift:
    """Whether latencies, by scheduled moment, rise or fall over the run. Requests that did not complete have none."""
    known = sorted((log.request.scheduled_s, log.latency_s) for log in logs if log.latency_s is not None)
    if missing := _too_little(known, "completed requests"):
        return Drift(verdict=UNRESOLVED, reason=missing)
    found = slope(known)
    if found.level <= 0:
        return Drift(verdict=UNRESOLVED, reason="the median latency is not positive")
    scale = 3600 / found.level
    change = found.per_s * found.window_s / found.level
    span = f"latency changed by {change:+.1%} over {found.window_s:.0f} s"
    verdict, reason = NO_DRIFT, f"{span}, within chance or under {MIN_CHANGE:.0%}"
    if abs(found.per_s) > found.smallest and abs(change) >= MIN_CHANGE:
        verdict, reason = DRIFT, span
        if not found.lasting:
            verdict, reason = UNRESOLVED, f"{span} and levels off: too short to tell from warm-up"
    shown = max(found.smallest, MIN_CHANGE * found.level / found.window_s) * scale
    ends = (found.per_s * scale, found.low * scale, found.high * scale)
    return Drift(verdict=verdict, reason=reason, per_hour=ends[0], low=ends[1], high=ends[2], smallest_per_hour=shown)


def slope(series: Sequence[Pair]) -> Slope:
    """The slope after the warm-up, of at least 90 pairs in order of time at roughly equal distances."""
    moments, values = np.asarray(series, dtype=np.float64).T
    kept = moments >= moments[0] + WARMUP * (moments[-1] - moments[0])
    moments, values = moments[kept], values[kept]
    times = np.array([part.mean() for part in np.array_split(moments, BLOCKS)])
    medians = np.array([np.median(part) for part in np.array_split(values, BLOCKS)])
    per_s, half = _prais_winsten(times, medians)
    late, _ = _prais_winsten(times[BLOCKS // 2 :], medians[BLOCKS // 2 :])
    return Slope(
        per_s=per_s,
        low=per_s - half,
        high=per_s + half,
        level=float(np.median(medians)),
        window_s=float(moments[-1] - moments[0]),
        lasting=late * math.copysign(1, per_s) >= LASTING * abs(per_s),
    )


def _prais_winsten(times: Array, values: Array) -> tuple[float, float]:
    """(slope, half of its 95 % interval).

    The autocorrelation of the residuals is corrected for its bias of -(2 + 4 rho) / n after a fitted line, and Student's
    degrees of freedom are those of the effective number n (1 - rho) / (1 + rho) of independent values, at least 3.
    """
    from scipy.special import stdtrit

    count = len(values)
    design = np.column_stack([np.ones(count), times - times.mean()])
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    power = float(residuals @ residuals)
    if power <= 1e-12 * float(values @ values):
        return float(np.polyfit(design[:, 1], values, 1)[0]), 0.0
    rho = (count * float(residuals[:-1] @ residuals[1:]) / power + 2) / (count - 4)
    rho = min(max(rho, 0.0), MAX_RHO)
    first = math.sqrt(1 - rho * rho)
    left = np.vstack([first * design[:1], design[1:] - rho * design[:-1]])
    right = np.concatenate([first * values[:1], values[1:] - rho * values[:-1]])
    fitted = np.linalg.lstsq(left, right, rcond=None)[0]
    errors = right - left @ fitted
    variance = float(errors @ errors) / (count - 2) * float(np.linalg.inv(left.T @ left)[1, 1])
    freedom = max(MIN_FREEDOM, count * (1 - rho) / (1 + rho) - 2)
    return float(fitted[1]), float(stdtrit(freedom, 0.975)) * math.sqrt(variance)


def _leak_verdict(found: Slope) -> tuple[str, str]:
    growth = found.per_s * found.window_s
    span = f"memory changed by {growth / 2**20:+.3g} MiB over {found.window_s:.0f} s"
    if found.low <= 0 or growth < _worth(found):
        return NO_LEAK, f"{span}, within chance or too little to matter"
    if not found.lasting:
        return UNRESOLVED, f"{span} and levels off: too short to tell a leak from warm-up"
    return LEAK, f"{span} and keeps growing"


def _worth(found: Slope) -> float:
    return max(MIN_GROWTH_BYTES, MIN_GROWTH * found.level)


def _too_little(series: Sequence[Pair], what: str) -> str:
    """Why nothing can be said, or ''."""
    needed = math.ceil(BLOCKS * PER_BLOCK / (1 - WARMUP))
    if len(series) < needed:
        return f"too few {what}: {len(series)}, a slope needs {needed}"
    span = series[-1][0] - series[0][0]
    if span < MIN_RUN_S:
        return f"too short: {span:.1f} s of {what}, a slope needs {MIN_RUN_S:.0f} s"
    late, enough = sum(moment >= series[0][0] + WARMUP * span for moment, _ in series), BLOCKS * PER_BLOCK
    return "" if late >= enough else f"too few {what} after the first third: {late}, a slope needs {enough}"
