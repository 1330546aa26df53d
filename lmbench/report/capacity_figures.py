"""How the figures of a plan are written: money, shares, intervals, and the mark of what was extrapolated."""

from __future__ import annotations

import math

from lmbench.base.units import UNKNOWN, pretty
from lmbench.capacity.nouns import ERROR_RATE, Check
from lmbench.capacity.plan import Plan, Sized
from lmbench.capacity.sizing import quantile_at
from lmbench.report.capacity import at_peak

DAGGER = "†"
OVERLOAD = "overload"
KWH = 3.6e6


def figure(value: float | None) -> str:
    """Four digits, thousands separated: 56.83, 1,000,000."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def money(value: float) -> str:
    """In the currency of the plan file: 5.60, or three digits of less than 1."""
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.3g}"


def share(value: float) -> str:
    """0.9994 -> '99.94 %'; never rounded up to all."""
    percent = value * 100
    if percent < 100 <= float(f"{percent:.4g}"):
        return "just under 100 %"
    return f"{percent:.4g} %"


def percent(value: float, digits: int = 1) -> str:
    """0.042 -> '4.2 %'."""
    return f"{value * 100:.{digits}f} %"


def shares(value: float, ends: tuple[float, float] | None) -> str:
    """A share with its interval: '99.9 % (99.2..100 %)'."""
    if ends is None:
        return share(value)
    low, high = (share(end).removesuffix(" %") for end in ends)
    return f"{share(value)} ({low}..{high} %)"


def seconds(value: float) -> str:
    """A time, or 'overload' where a queue would grow without end."""
    return pretty(value, "s") if math.isfinite(value) else OVERLOAD


def amount(name: str, value: float) -> str:
    """Of a promise that no queue changes: a share of the requests, or a time."""
    return share(value) if name == ERROR_RATE else pretty(value, "s")


def estimate(check: Check) -> str:
    """What is known of it, with its interval: '20.1 ms (19.8..20.4 ms)'."""
    if check.found is None:
        return UNKNOWN
    low, value, high = (amount(check.name, one) for one in (check.found.low, check.found.value, check.found.high))
    return f"{value} ({_ends(low, high)})"


def _ends(low: str, high: str) -> str:
    """An interval that names its unit once."""
    same = low.partition(" ")[2] == high.partition(" ")[2]
    return f"{low.partition(' ')[0] if same else low}..{high}"


def at_the_peak(plan: Plan, one: Sized, kind: str, quantile: str) -> str:
    """A promised quantile in the busiest minute, with its interval: '25 ms (24.1..25.9 ms)'."""
    if one.surface is None:
        return UNKNOWN
    rate = at_peak(plan, one)
    low, value, high = (seconds(quantile_at(one.surface, kind, quantile, rate, side)) for side in ("low", "mid", "high"))
    return f"{value} ({_ends(low, high)})"


def running(one: Sized) -> str:
    """Replicas through the day: '14', or '6 to 14'."""
    if one.fleet is None:
        return UNKNOWN
    least, most = one.fleet.least, one.fleet.peak
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def marked(one: Sized, text: str) -> str:
    """`text` with the mark of extrapolation where the option goes beyond what was measured."""
    return text + DAGGER if one.extrapolates and text != UNKNOWN else text
