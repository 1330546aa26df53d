"""Falling behind, seen early: a watch that ends a step once requests pile up faster than chance allows; reads no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from lmbench.load.targets import Pulse

TURNOVERS = 4
"""So many times the service must have answered all that was open before growth counts: until then it may be filling up."""
MIN_SENT = 60
MIN_PULSES = 12
Z = 4.0
"""Growth counts beyond this many standard errors, which leaves room for a look at every pulse."""
PERSIST = 4
"""Consecutive pulses (about a second) for which it must look so."""
RISE = 1.1
"""Latency rises when the median of the last third of the window is above this multiple of that of its first third."""


class OverSaturation:
    """The watch of one step of constant rate: says why to end it once the service falls behind, else ''.

    Under a rate it cannot serve, the number of open requests is a random walk with a positive drift. The drift is estimated by
    the mean growth per pulse, its error from the growths, which are nearly independent. A line fitted to the numbers
    themselves, or Mann-Kendall's test of them, takes the points of a random walk for independent and sees trends in chance
    (C. Granger and P. Newbold, Spurious regressions in econometrics, J. Econometrics 2, 1974). The variance is taken no smaller
    than that of Poisson arrivals, one per request sent.

    At load r the growth is (1 - 1/r) of what was sent: it passes the bound after about (4 / (1 - 1/r))^2 requests, 144 at a
    load of 1.5 and 576 at 1.2. Below load 1 the bound is all but never reached, since the walk has a negative drift. What can
    still deceive it is a service of hundreds of slots whose lengths differ so much that it fills up over many turnovers.
    """

    def __init__(self) -> None:
        self._pulses: list[Pulse] = []
        self._turned = 0
        self._mark = 0
        self._suspicious = 0

    def __call__(self, pulse: Pulse) -> str:
        if self._turned < TURNOVERS:
            self._fill(pulse)
            return ""
        self._pulses.append(pulse)
        reason = falling_behind(self._pulses)
        self._suspicious = self._suspicious + 1 if reason else 0
        return reason if self._suspicious >= PERSIST else ""

    def _fill(self, pulse: Pulse) -> None:
        """Count turnovers: all that were open at the last one (in number) have been answered since."""
        if pulse.sent and pulse.ended >= self._mark:
            self._mark = pulse.ended + pulse.in_flight
            self._turned += 1


def falling_behind(pulses: Sequence[Pulse]) -> str:
    """Why the service falls behind over `pulses`, or '': open requests and latencies both grow."""
    first, last = pulses[0], pulses[-1]
    sent, steps = last.sent - first.sent, len(pulses) - 1
    if steps < MIN_PULSES or sent < MIN_SENT:
        return ""
    growth = last.in_flight - first.in_flight
    if growth <= Z * math.sqrt(sent) or growth <= Z * (error := _error(pulses)):
        return ""
    early, late = _ends(pulses)
    if early is None or late is None or late < RISE * early:
        return ""
    seconds = last.now_s - first.now_s
    return (
        f"the service falls behind: requests in flight grew by {growth / seconds:.3g} per second "
        f"(at least {(growth - Z * error) / seconds:.3g}) over {seconds:.1f} s to {last.in_flight}, "
        f"while the median latency rose from {early:.3g} s to {late:.3g} s"
    )


def _error(pulses: Sequence[Pulse]) -> float:
    """Standard error of the growth over all of `pulses`, from the growths between neighbours."""
    growths = [after.in_flight - before.in_flight for before, after in pairwise(pulses)]
    mean = fmean(growths)
    found = sum((value - mean) ** 2 for value in growths) * len(growths) / (len(growths) - 1)
    return math.sqrt(max(found, pulses[-1].sent - pulses[0].sent))


def _ends(pulses: Sequence[Pulse]) -> tuple[float | None, float | None]:
    """Median latencies of the first and the last third; None where nothing completed."""
    third = len(pulses) // 3
    found = [[pulse.latency_s for pulse in part if pulse.latency_s is not None] for part in (pulses[:third], pulses[-third:])]
    early, late = (median(values) if values else None for values in found)
    return early, late
