"""When requests leave: schedules of absolute offsets, computed ahead from a rate and a seed, never from completions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lmbench.base.digest import digest_bytes

Schedule = npt.NDArray[np.float64]
"""Offsets in seconds from the start of a step, sorted, all in [0, duration_s)."""


def poisson(rate: float, duration_s: float, rng: np.random.Generator) -> Schedule:
    """Arrivals of a homogeneous Poisson process of `rate` per second over `duration_s` seconds.

    Given their number N ~ Poisson(rate x duration_s), the moments are N sorted uniform draws
    (Kingman, Poisson Processes, 1993, section 2.4).
    """
    _require_positive(rate, duration_s)
    count = int(rng.poisson(rate * duration_s))
    offsets = np.sort(rng.random(count)) * duration_s
    return np.minimum(offsets, np.nextafter(duration_s, 0.0))


def constant(rate: float, duration_s: float) -> Schedule:
    """One arrival every 1 / rate seconds, the first at 0."""
    _require_positive(rate, duration_s)
    offsets = np.arange(int(np.ceil(rate * duration_s)), dtype=np.float64) / rate
    return offsets[offsets < duration_s]


def schedule_digest(schedule: Schedule) -> str:
    """16 hex digits that are equal only for equal schedules, to the nanosecond."""
    return digest_bytes(np.round(schedule * 1e9).astype("<i8").tobytes())


def _require_positive(rate: float, duration_s: float) -> None:
    if not (rate > 0 and duration_s > 0 and np.isfinite(rate * duration_s)):
        raise ValueError(f"found rate {rate} /s over {duration_s} s; expected both positive and finite")
