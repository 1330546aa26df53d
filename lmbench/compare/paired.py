"""The verdict on one metric from pairs of base and head: ok, regressed, improved or inconclusive, with its interval; pure.

One number per pair, d = ln(head / base) in the direction in which more is worse, estimated with Yuen's trimmed interval
(intervals.py). At each of three looks, after 8, 16 and 32 pairs,

    ok            the upper bound lies below ln(1 + tolerance)
    regressed     else, the lower bound lies above ln(1 + margin)
    inconclusive  else

so the verdicts exclude each other: a sure slowdown within the tolerance is ok, and says how slow. Error rates: the bound
that may fail somebody is one-sided at ALPHA / cells / looks, where `cells` counts all separate tests of the session
(Bonferroni), so that a session of unchanged code fails with a probability of at most ALPHA = 5 % in all. Bonferroni holds
under any dependence, and so for the metrics of one case, which move together; a rate that is a constant over a time is
the same test and counts once (cells.py). The bound that lets a metric pass is one-sided at ALPHA / looks: it protects
against missing a slowdown of the tolerance, metric by metric. Cases are chosen for pairing on other data than they are
judged on, so the choice costs nothing.

Where threads waited for a CPU, d is known twice: as measured, and without the waiting (paired/starved.py). The truth is one or
the other or between, so each bound is the farther one of both intervals: a metric regresses, improves or is ok only
where both say so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from lmbench.base.catalogue import HIGHER
from lmbench.base.units import pretty_change
from lmbench.compare.intervals import Trimmed, degrees_of_freedom, student_t, trimmed
from lmbench.compare.resolution import EXACT_SLACK, NONE, Resolution
from lmbench.compare.verdicts import IMPROVED, INCONCLUSIVE, OK, REGRESSED, Evidence, Verdict

LOOKS = (8, 16, 32)
ALPHA = 0.05
TOLERANCE = 0.05
MARGIN = 0.01
"""Slowdowns below this are never called regressed: start order and position alone were seen to shift pairs by 0.7 %."""
REFILL = 0.02
"""A thread that waited finds its caches cold: that lengthened its own work by up to 1.6 % beside a load average of 15."""
SHOWN_ALPHA = 0.05
"""Per side of the interval that is shown: two-sided 90 %."""
MOST_PAIRS = 1024
BLIND = math.log(100)
"""Pairs that would only show a hundredfold slowdown see nothing: four wild ones would otherwise see e ** 1000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One metric of one case with its pairs so far."""

    node_id: str
    metric: str
    unit: str
    better: str
    tolerance: float
    """Relative change for the worse that is still ok."""
    log_ratios: tuple[float, ...]
    """ln(head / base), one per pair."""
    running: tuple[float, ...] = ()
    """The same without the time in which threads waited for a CPU; empty where that is not known."""
    medians: tuple[float, float] | None = None
    """Each side's median over its pairs, base and head, in `unit`: for display, and never for the verdict."""
    unit_of_pair: str = "pair of processes"
    explanation: str = ""
    declared: bool = False
    """Whether the suite's `gate:` names the tolerance."""
    steps: tuple[Resolution, Resolution] = (NONE, NONE)
    """What one run resolves of the metric, base and head: the coarsest of its runs."""

    @property
    def step(self) -> Resolution:
        """The coarser of both sides."""
        return max(self.steps, key=lambda one: one.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """Slowness in logarithms, and the error rates of its two bounds."""

    found: Trimmed
    running: Trimmed
    """Without the waiting for a CPU; `found` itself where nothing waited or it is not known."""
    margin: float
    tolerance: float
    alpha_regressed: float
    alpha_ok: float

    @property
    def refilled(self) -> float:
        """What cold caches after the waits may have added; no more than the waits themselves moved the ratio."""
        return min(REFILL, abs(self.found.estimate - self.running.estimate))

    def lower(self, alpha: float) -> float:
        return min(self.found.lower(alpha), self.running.lower(alpha) - self.refilled)

    def upper(self, alpha: float) -> float:
        return max(self.found.upper(alpha), self.running.upper(alpha) + self.refilled)

    @property
    def seen(self) -> float:
        """The slowness from which these pairs would have shown a regression."""
        return self.margin + self.found.estimate - self.lower(self.alpha_regressed)

    def state(self) -> str:
        if self.upper(self.alpha_ok) < self.tolerance:
            return OK
        return REGRESSED if self.lower(self.alpha_regressed) > self.margin else INCONCLUSIVE

    def after(self, pairs: int) -> _Bounds:
        """What `pairs` pairs of the same estimate and scatter would give."""
        return replace(self, found=_grown(self.found, pairs), running=_grown(self.running, pairs))


def _grown(found: Trimmed, pairs: int) -> Trimmed:
    return replace(found, se=found.se * math.sqrt(found.n / pairs), df=degrees_of_freedom(pairs), n=pairs)


def judge(cell: Cell, *, cells: int) -> Verdict:
    """The verdict on `cell` among `cells` separate tests; inconclusive with fewer than 4 pairs."""
    sign = -1.0 if cell.better == HIGHER else 1.0
    found = trimmed([sign * value for value in cell.log_ratios])
    asked, cell = cell.tolerance, _resolved(cell)
    if found is None:
        pairs = len(cell.log_ratios)
        why = f"{pairs} pair{' is' if pairs == 1 else 's are'} too few to know their spread"
        ratio = math.exp(median(cell.log_ratios)) if cell.log_ratios else None
        return _verdict(cell, INCONCLUSIVE, why, ratio, _too_few(cell))
    bounds = _Bounds(
        found=found,
        running=trimmed([sign * value for value in cell.running]) or found,
        margin=math.log1p(max(min(MARGIN, cell.tolerance), cell.steps[1].step)),
        tolerance=math.log1p(cell.tolerance),
        alpha_regressed=ALPHA / cells / len(LOOKS),
        alpha_ok=ALPHA / len(LOOKS),
    )
    outcome = bounds.state()
    if outcome == OK and bounds.upper(bounds.alpha_regressed) < -math.log1p(max(min(MARGIN, asked), cell.steps[0].step)):
        outcome = IMPROVED
    evidence = _evidence(cell, bounds, sign, outcome)
    why = _why(outcome, cell, bounds, evidence, sign)
    if outcome == OK and _too_coarse(cell, asked):
        outcome, why = INCONCLUSIVE, _blunt(cell, asked, evidence)
        evidence = replace(evidence, within_resolution=True)
    elif cell.tolerance > asked:
        why = f"{why} ({cell.step.words}; {asked * 100:.4g} % would be finer)"
    return _verdict(cell, outcome, why, math.exp(sign * found.estimate), evidence)


def decided(verdict: Verdict) -> bool:
    """Whether more pairs would change nothing."""
    return verdict.outcome != INCONCLUSIVE or (verdict.evidence is not None and verdict.evidence.within_resolution)


def _resolved(cell: Cell) -> Cell:
    """The cell with a tolerance that its runs can resolve: what is finer is not judged, and that is said."""
    step = cell.step.step
    if not step or math.isinf(step):
        return cell
    return replace(cell, tolerance=max(cell.tolerance, (1 + step) * (1 + EXACT_SLACK) - 1))


def _too_coarse(cell: Cell, asked: float) -> bool:
    """Whether runs that seem equal may still differ by more than was asked for."""
    return math.isinf(cell.step.step) or (cell.declared and cell.step.step > asked * (1 + EXACT_SLACK))


def _blunt(cell: Cell, asked: float, evidence: Evidence) -> str:
    change = f"[{pretty_change(evidence.low)}, {pretty_change(evidence.high)}]"
    if math.isinf(cell.step.step):
        return f"{change}: {cell.step.words}; raise the highest rate that is tried"
    return f"{change}: within the resolution: {cell.step.words}, the gate tolerates {asked * 100:.4g} %; search more finely"


def visible(log_ratios: Sequence[float], pairs: int, *, cells: int, margin: float = MARGIN) -> float | None:
    """The smallest relative slowdown whose estimate would be called regressed after `pairs` pairs as spread as `log_ratios`.

    The standard error is taken to shrink with the square root of the number of pairs. None with too few to know it, and
    beyond a hundredfold (BLIND).
    """
    found = trimmed(log_ratios)
    df = degrees_of_freedom(pairs)
    if found is None or df < 1:
        return None
    error = found.se * math.sqrt(found.n / pairs)
    return _seen(math.log1p(margin) + student_t(df, ALPHA / cells / len(LOOKS)) * error)


def _evidence(cell: Cell, bounds: _Bounds, sign: float, outcome: str) -> Evidence:
    found = bounds.found
    low, high = sorted((math.exp(sign * bounds.lower(SHOWN_ALPHA)), math.exp(sign * bounds.upper(SHOWN_ALPHA))))
    return Evidence(
        pairs=found.n,
        low=low,
        high=high,
        smallest_visible=_seen(bounds.seen),
        pairs_needed=_needed(bounds) if outcome == INCONCLUSIVE else None,
        log_ratios=cell.log_ratios,
        running=cell.running,
        unit=cell.unit_of_pair,
        explanation=cell.explanation,
        medians=cell.medians,
    )


def _too_few(cell: Cell) -> Evidence:
    """What there is without an interval: the pairs themselves."""
    return Evidence(
        pairs=len(cell.log_ratios),
        low=None,
        high=None,
        smallest_visible=None,
        pairs_needed=None,
        log_ratios=cell.log_ratios,
        unit=cell.unit_of_pair,
        explanation=cell.explanation,
        medians=cell.medians,
    )


def _seen(slowness: float) -> float | None:
    """A slowdown in logarithms as a relative change; None when it is beyond BLIND."""
    return math.expm1(slowness) if slowness <= BLIND else None


def _needed(bounds: _Bounds) -> int | None:
    """The pairs after which this estimate and spread would decide; None beyond MOST_PAIRS."""
    n: int = bounds.found.n
    tried: tuple[int, ...] = (*range(n + 1, 4 * n), *range(4 * n, MOST_PAIRS + 1, n))
    return next((pairs for pairs in tried if bounds.after(pairs).state() != INCONCLUSIVE), None)


def _why(outcome: str, cell: Cell, bounds: _Bounds, evidence: Evidence, sign: float) -> str:
    change = (
        f"{pretty_change(math.exp(sign * bounds.found.estimate))} [{pretty_change(evidence.low)}, {pretty_change(evidence.high)}]"
    )
    allowed = f"{cell.tolerance * 100:.4g} %"
    if outcome == OK:
        surely = bounds.lower(bounds.alpha_regressed) > bounds.margin
        return (
            f"{change}: surely worse, within the tolerated {allowed}" if surely else f"{change}, within the tolerated {allowed}"
        )
    if outcome == IMPROVED:
        return f"{change}: surely better"
    if outcome == REGRESSED and bounds.lower(bounds.alpha_regressed) > bounds.tolerance:
        return f"{change}: surely worse than the tolerated {allowed}"
    if outcome == REGRESSED:
        return f"{change}: surely worse, and not surely within the tolerated {allowed}"
    more = "no number of pairs would tell" if evidence.pairs_needed is None else f"about {evidence.pairs_needed} pairs would tell"
    seen = "no slowdown of any size" if evidence.smallest_visible is None else f"{evidence.smallest_visible * 100:.1f} %"
    return f"{change} after {evidence.pairs} pairs, which see {seen}; {more}"


def _verdict(cell: Cell, outcome: str, why: str, ratio: float | None, evidence: Evidence) -> Verdict:
    """`now` is baseline x ratio: a median of ratios need not be the quotient of two medians, and what is printed
    in one line has to agree. Both medians stay in the evidence."""
    worse = (1 + cell.tolerance) ** (-1 if cell.better == HIGHER else 1)
    baseline = None if cell.medians is None else cell.medians[0]
    return Verdict(
        node_id=cell.node_id,
        metric=cell.metric,
        outcome=outcome,
        why=why,
        unit=cell.unit,
        better=cell.better,
        baseline=baseline,
        now=None if baseline is None or ratio is None else baseline * ratio,
        ratio=ratio,
        tolerance=cell.tolerance,
        limit=None if baseline is None else baseline * worse,
        evidence=evidence,
    )
