"""Where the rate-latency curve turns up, from measured steps alone: between two of them, or not at all; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FACTOR = 2.0
"""Kleinrock's power, rate over response time, is largest where an M/M/1 request takes twice what it takes on an idle server
(L. Kleinrock, Power and deterministic rules of thumb for probabilistic problems in computer communications, ICC 1979)."""
UNEVEN = 0.8
"""A higher rate that is faster than this share of the lowest one shows that the lowest was no quiet reference."""


Point = tuple[float, float | None]
"""One step of the curve: rate in requests/s, and a latency in seconds (say the median), None where nothing completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The knee lies in [rate, high] requests/s. No knee: `rate` is None and `reason` says why."""

    rate: float | None
    high: float | None
    limit_s: float | None
    """The latency that was passed: `factor` times that of the lowest rate."""
    reason: str


def knee(points: Sequence[Point], factor: float = FACTOR) -> Knee:
    """The last rate before latency exceeds `factor` times its value at the lowest rate, in any order of `points`.

    Measured rates only: nothing is interpolated or extrapolated. Kneedle (V. Satopaa et al., ICDCSW 2011) is not used: it
    scales the curve by its ends, so its knee moves with the highest rate that happened to be tried, and it finds one on a curve
    that never turns. Where latency falls under the limit again at a higher rate, the knee is said to lie anywhere between.
    """
    if factor <= 1:
        raise ValueError(f"found factor {factor}; expected more than 1")
    ordered = sorted(points, key=lambda point: point[0])
    if len(ordered) < 3:
        return Knee(rate=None, high=None, limit_s=None, reason=f"no knee: {len(ordered)} rates, a curve needs 3")
    lowest, base = ordered[0]
    if base is None:
        return Knee(rate=None, high=None, limit_s=None, reason=f"no knee: nothing completed at {lowest:.4g} requests/s")
    faster = [rate for rate, latency_s in ordered[1:] if latency_s is not None and latency_s < UNEVEN * base]
    if faster:
        reason = f"no knee: {faster[0]:.4g} requests/s was faster than the lowest rate, which is then no reference"
        return Knee(rate=None, high=None, limit_s=None, reason=f"{reason} (was it warm?)")
    return _turn(ordered, base, factor)


def _turn(ordered: Sequence[Point], base: float, factor: float) -> Knee:
    limit = factor * base
    slow = [latency_s is None or latency_s > limit for _, latency_s in ordered]
    if True not in slow:
        reached = f"up to {ordered[-1][0]:.4g} requests/s"
        reason = f"no knee: {reached} latency stayed within {factor:g} times that of the lowest rate"
        return Knee(rate=None, high=None, limit_s=limit, reason=reason)
    first = slow.index(True)
    below = ordered[first - 1][0]
    settled = next((place for place in range(first, len(slow)) if all(slow[place:])), None)
    high = None if settled is None else ordered[settled][0]
    between = f"between {below:.4g} and {ordered[first][0]:.4g} requests/s"
    reason = f"latency passed {factor:g} times that of the lowest rate {between}"
    if settled != first:
        reason += ", and came back under it at a higher rate: the knee lies anywhere between"
    return Knee(rate=below, high=high, limit_s=limit, reason=reason)
