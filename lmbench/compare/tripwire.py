"""The one rule by which noisy numbers of single runs may fail: far beyond everything that was ever stored.

On shared machines the medians of two runs of the same code differ by 10 to 60 %, whatever is done inside a run;
a statistical test on a handful of stored runs either cries wolf or sees nothing. The tripwire therefore asks for
a change that no noise seen so far explains: with slowness = value for times and 1 / value for rates,

    best of up to 3 head processes  >  (1 + margin(k)) x worst of k stored runs,      k <= 5
    or                              >= 2 x median of the stored runs                  (a doubling)

and in both cases worse than every stored run. With k = 5 the margin is 25 %: measured over quiet to very noisy
machines it gives at most 0.11 false alarms per suite of 50 cases. With fewer stored runs the worst of them is a
lower bar, and the margin makes up for it:

    margin(k) = 1.25 x exp(0.30 x (d(5) - d(k))) - 1,   d(k) = E[max of k standard normals]

so that the expected bar stays where it is with five runs whose logarithms have a standard deviation of 30 %, the
middle of what was seen between unpaired processes on shared machines. That is 25, 30, 37, 50 and 77 % for
k = 5, 4, 3, 2 and 1. All are below 100 %, so head processes that all measure twice the worst stored run, or twice
the median and more than any, are caught with any k. That is a promise about measured values. Replaying recorded runs
of five kernels on an overloaded 2-core machine (log SD of a run 9 to 44 %), code that takes twice as long was caught
in 39 to 98 % of tries with k = 5 and 44 to 82 % with k = 1; unchanged code failed in 0 to 1.2 %, except for the
noisiest kernel (4 % with k = 5, 8 % with k = 1). On a quiet machine the promise and the code's slowness agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MAX_STORED = 5
MAX_HEADS = 3
DOUBLING = 2.0
BASE_MARGIN = 0.25
ASSUMED_LOG_SD = 0.30
EXPECTED_MAXIMUM = {1: 0.0, 2: 0.5642, 3: 0.8463, 4: 1.0294, 5: 1.1630}
"""E[max of k standard normals] (Harter, Biometrika 48, 1961)."""
ONLY_ONE_SLACK = 0.05

WORSE, BETTER, WITHIN, UNCLEAR = "worse", "better", "within", "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`state` is worse or better (beyond the bar), within (no worse than the stored runs) or unclear.

    `bar` is the value, in the metric's unit, beyond which `worse` begins.
    """

    state: str
    bar: float


def margin(stored: int) -> float:
    """The relative margin with `stored` runs, at least 1; more than 5 count as 5."""
    k = min(stored, MAX_STORED)
    return (1 + BASE_MARGIN) * math.exp(ASSUMED_LOG_SD * (EXPECTED_MAXIMUM[MAX_STORED] - EXPECTED_MAXIMUM[k])) - 1


def judge(stored: Sequence[float], heads: Sequence[float], *, higher_is_better: bool = False, at_least: float = 0.0) -> Judgement:
    """Judge `heads` (values of up to 3 processes, the first one first) against `stored` (newest first).

    A rate of zero is infinitely slow. `at_least` widens the margin: a suite's own tolerance or the metric's resolution;
    from 1 (100 %) on it also moves the doubling rule. Raises ValueError without stored or head values.
    """
    if not stored or not heads:
        raise ValueError("judging needs at least one stored and one head value")
    old = [_slowness(value, higher_is_better) for value in stored[:MAX_STORED]]
    new = [_slowness(value, higher_is_better) for value in heads[:MAX_HEADS]]
    allowed = 1 + max(margin(len(old)), at_least)
    doubled = max(DOUBLING, allowed) * median(old)
    bar = max(*old, min(allowed * max(old), doubled))
    slack = 1 + (ONLY_ONE_SLACK if len(old) == 1 else 0.0)
    if _beyond(min(new), old, allowed):
        state = WORSE
    elif max(new) < min(old) / allowed:
        state = BETTER
    else:
        state = WITHIN if min(new) <= max(old) * slack else UNCLEAR
    return Judgement(state=state, bar=_slowness(bar, higher_is_better))


def _beyond(best: float, old: Sequence[float], allowed: float) -> bool:
    doubling = max(DOUBLING, allowed)
    return best > max(old) and (best > allowed * max(old) or best >= doubling * median(old))


def _slowness(value: float, higher_is_better: bool) -> float:
    if not higher_is_better:
        return value
    return 1 / value if value > 0 else math.inf
