"""How near a ratio is known: the gate's interval over pairs, and when there are pairs enough; arithmetic only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lmbench.compare.intervals import trimmed
from lmbench.compare.paired import LOOKS, SHOWN_ALPHA

WITHIN = 0.01
"""The 90 % interval of a ratio is narrow enough when it reaches no farther than this from its estimate."""
STEP = 4
"""Pairs between two looks; the first is the gate's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio with its two-sided 90 % interval; without one where there are too few pairs."""

    estimate: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def reach(self) -> float | None:
        """How far the interval reaches from the estimate, as a relative change."""
        return None if self.low is None or self.high is None else max(self.high / self.estimate, self.estimate / self.low) - 1

    @property
    def words(self) -> str:
        """'1.004 [0.997, 1.011] from 12 pairs'."""
        if self.low is None or self.high is None:
            return f"{self.estimate:.3f} from {self.pairs} pairs, too few for an interval"
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}] from {self.pairs} pairs"

    def verdict(self, within: float) -> str:
        """What the interval says of agreement within `within`."""
        if self.low is None or self.high is None or self.reach is None:
            return "whether both agree is not known"
        if self.reach > within:
            return f"known within {self.reach:.1%} only, {within:.1%} was the aim"
        known = f"known within {self.reach:.1%}"
        if self.low > 1 or self.high < 1:
            return f"{known}; they differ by {abs(self.estimate - 1):.1%}"
        return f"{known}; no difference is seen"


def ratio_of(log_ratios: Sequence[float]) -> Ratio:
    """The estimate over pairs, as the gate makes it: Yuen's trimmed mean of the logarithms."""
    found = trimmed(log_ratios)
    if found is None:
        return Ratio(estimate=math.exp(median(log_ratios)), low=None, high=None, pairs=len(log_ratios))
    low, high = math.exp(found.lower(SHOWN_ALPHA)), math.exp(found.upper(SHOWN_ALPHA))
    return Ratio(estimate=math.exp(found.estimate), low=low, high=high, pairs=found.n)


def log_ratio(ours: Sequence[float], plain: Sequence[float]) -> float:
    """One pair's number: the median over rounds of ln(lmbench / bare)."""
    return median(math.log(after / before) for before, after in zip(plain, ours, strict=True))


def is_look(pairs: int) -> bool:
    """Whether it is decided after so many pairs if more are needed.

    Looking after every pair would stop at the moments at which the spread happens to look small.
    """
    return pairs >= LOOKS[0] and (pairs - LOOKS[0]) % STEP == 0


def enough(found: Mapping[str, Sequence[float]], within: float = WITHIN) -> bool:
    """Whether every ratio's interval is narrow enough at a look."""
    if not found or not all(is_look(len(values)) for values in found.values()):
        return False
    reaches = [ratio_of(values).reach for values in found.values()]
    return all(reach is not None and reach <= within for reach in reaches)


def pairs_left(found: Mapping[str, Sequence[float]], within: float = WITHIN) -> int | None:
    """About how many pairs are still needed, the spread staying as it is; None while it is not known."""
    reaches = {name: ratio_of(values).reach for name, values in found.items()}
    wanted = [len(found[name]) * (reach / within) ** 2 for name, reach in reaches.items() if reach is not None]
    if len(wanted) < len(found) or not found:
        return None
    have = min(len(values) for values in found.values())
    need = max(LOOKS[0], math.ceil(max(wanted)))
    return max(0, LOOKS[0] + STEP * math.ceil((need - LOOKS[0]) / STEP) - have)
