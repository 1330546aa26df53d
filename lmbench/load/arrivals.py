"""When requests leave: schedules of absolute offsets, computed ahead from a rate and a seed, never from completions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmbench.base.digest import digest_bytes
from lmbench.load.shapes import Step

Schedule = npt.NDArray[np.float64]
"""Offsets in seconds from the start of a step, sorted, all in [0, duration_s)."""
CONSTANT, POISSON, GAMMA = "constant", "poisson", "gamma"
KINDS = (CONSTANT, POISSON, GAMMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """How requests are spaced at a given rate.

    constant: evenly; poisson: independent users; gamma: gaps with the shape parameter `burstiness` (vLLM's `--burstiness`,
    AIPerf's `--arrival-smoothness`): 1 is poisson, lower is burstier. Over long windows the variance of the count is
    1 / burstiness times its mean.
    """

    kind: str = POISSON
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"found arrivals {self.kind!r}; expected one of {', '.join(KINDS)}")
        if not (self.burstiness > 0 and math.isfinite(self.burstiness)):
            raise ValueError(f"found burstiness {self.burstiness}; expected a positive, finite number; below 1 is bursty")
        if self.kind != GAMMA and self.burstiness != 1.0:
            raise ValueError(f"found burstiness {self.burstiness} for {self.kind} arrivals; expected kind {GAMMA!r} with it")


def schedule(step: Step, arrivals: Arrivals, rng: np.random.Generator) -> Schedule:
    """The arrivals of a step; none for a closed loop, whose requests follow from its answers.

    A process of unit rate is laid over the step's cumulative rate and mapped back to time by its inverse, which keeps the
    kind of process while the rate moves (E. Cinlar, Introduction to Stochastic Processes, 1975, section 4.7; for renewal
    processes Gerhardt & Nelson, INFORMS J. Computing 21, 2009). Raises ValueError for a step without any rate or length.
    """
    if step.streams is not None:
        return np.empty(0)
    first, last = step.rate, step.rate if step.end_rate is None else step.end_rate
    expected = step.mean_rate * step.duration_s
    if not (first >= 0 and last >= 0 and step.duration_s > 0 and 0 < expected < math.inf):
        raise ValueError(
            f"found a rate from {first} to {last} /s over {step.duration_s} s; expected none negative, not both 0, all finite"
        )
    offsets = step.duration_s * _moments(_shares(arrivals, expected, rng), first, last)
    # Rounding may put a time a bit before its neighbour's, or at the very end.
    return np.minimum(np.maximum.accumulate(offsets), np.nextafter(step.duration_s, 0.0))


def schedule_digest(schedule: Schedule) -> str:
    """16 hex digits that are equal only for equal schedules, to the nanosecond."""
    return digest_bytes(np.round(schedule * 1e9).astype("<i8").tobytes())


def _shares(arrivals: Arrivals, expected: float, rng: np.random.Generator) -> Schedule:
    """Where the arrivals lie on the cumulative rate, as sorted shares in [0, 1) of the `expected` number."""
    if arrivals.kind == CONSTANT:
        shares = np.arange(math.ceil(expected), dtype=np.float64) / expected
    elif arrivals.kind == POISSON:
        # Given their number, arrivals are sorted uniform draws (Kingman, Poisson Processes, 1993, section 2.4).
        shares = np.sort(rng.random(int(rng.poisson(expected))))
    else:
        shares = _renewals(arrivals.burstiness, expected, rng) / expected
    return shares[shares < 1.0]


def _renewals(shape: float, until: float, rng: np.random.Generator) -> Schedule:
    """Points up to about `until`, the gaps between them gamma with mean 1, of a process that began long ago.

    Seen at any moment, such a process is inside a gap drawn in proportion to its length, gamma of shape + 1, and at a uniform
    place in it (D. R. Cox, Renewal Theory, 1962, chapter 5). Starting with a full gap instead would offer (1 / shape - 1) / 2
    requests too many in every step.
    """
    points = np.array([rng.random() * rng.gamma(shape + 1.0) / shape])
    while points[-1] < until:
        count = 16 + math.ceil((until - points[-1]) + 4 * math.sqrt((until - points[-1]) / shape))
        points = np.concatenate([points, points[-1] + np.cumsum(rng.gamma(shape, 1.0 / shape, count))])
    return points


def _moments(shares: Schedule, first: float, last: float) -> Schedule:
    """The times, as shares of the step, at which the cumulative rate reaches `shares` of its total.

    With x the time and the rate first + (last - first) x, x solves first x + (last - first) x^2 / 2 = share (first + last) / 2;
    written so that nothing cancels.
    """
    if first == last:
        return shares
    root = np.sqrt(first**2 + (last**2 - first**2) * shares)
    return np.divide((first + last) * shares, first + root, out=np.zeros_like(shares), where=shares > 0)
