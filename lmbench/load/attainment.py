"""How sure a share of good requests is: an interval that knows that neighbouring requests share their fate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054
WINDOW = 5.0
"""Sokal's c: the sum of autocorrelations stops at the first lag of at least c correlation times."""


def attainment_interval(flags: Sequence[bool]) -> tuple[float, float]:
    """95 % interval of the share of True in `flags` (in order of time): Wilson's, on the effective number of requests.

    Near saturation a burst makes a run of neighbours late together, so n requests say as much as n / tau independent ones
    (see `correlation_time`). With tau >= 1 it is never narrower than Wilson's interval on n. Flags that are all equal show no
    correlation, whatever it is: the interval is then Wilson's on n. Raises ValueError for no flags.
    """
    if not flags:
        raise ValueError("found no requests; expected at least one")
    count = len(flags)
    return share_interval(sum(flags) / count, count / correlation_time(flags))


def correlation_time(flags: Sequence[bool]) -> float:
    """tau = 1 + 2 (rho_1 + ... + rho_m) of the flags' autocorrelations, at least 1 and at most their number.

    The factor by which the variance of a mean exceeds that of independent values. m is the first lag >= 5 tau(m)
    (A. Sokal, Monte Carlo Methods in Statistical Mechanics, 1997, section 3). No more lags than a fifth of the flags are
    summed, beyond which an estimate is noise.
    """
    values = np.asarray(flags, dtype=np.float64)
    values = values - values.mean()
    count, last = len(values), len(values) // int(WINDOW)
    if last < 1 or float(values @ values) <= 1e-12:
        return 1.0
    spectrum = np.abs(np.fft.rfft(values, 1 << (2 * count - 1).bit_length())) ** 2
    products = np.fft.irfft(spectrum)[: last + 1]
    taus = 1 + 2 * np.cumsum(products[1:] / products[0])
    wide_enough = np.arange(1, last + 1) >= WINDOW * taus
    tau = float(taus[int(np.argmax(wide_enough))] if wide_enough.any() else taus[-1])
    return min(max(tau, 1.0), float(count))


def share_interval(share: float, size: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson's score interval (E. B. Wilson, JASA 22, 1927) of a share seen in `size` > 0 independent requests."""
    weight = z * z / size
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / size + weight / (4 * size))
    low = 0.0 if share <= 0 else min(max(0.0, centre - half), share)
    high = 1.0 if share >= 1 else max(min(1.0, centre + half), share)
    return low, high


def effective_size(share: float, low: float, high: float, z: float = Z_95) -> float:
    """The inverse of `share_interval`: both bounds b solve (share - b)^2 = z^2 b (1 - b) / size; the farther one is used."""
    bound = low if share - low >= high - share else high
    return z * z * bound * (1 - bound) / (share - bound) ** 2
