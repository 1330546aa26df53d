"""The verdict on one metric of one case, by its kind; the words that explain it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from lmbench.base.units import pretty, pretty_change
from lmbench.compare import tripwire
from lmbench.compare.contention import BOUND, REMEDY, calm, of_record, preferred
from lmbench.compare.resolution import EXACT_SLACK, Resolution, coarsest
from lmbench.compare.tolerance import NOISY, Tolerance, is_higher_better, tolerance_for
from lmbench.compare.tripwire import Judgement
from lmbench.compare.verdicts import ERROR, IMPROVED, INCONCLUSIVE, NEW, OK, REGRESSED, Verdict
from lmbench.measure.measurement import Metric
from lmbench.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Both sides of a comparison of single runs: this run's record and its reruns, and stored records, newest first."""

    heads: tuple[Record, ...]
    stored: tuple[Record, ...]
    bound: float = BOUND
    """Contention from which a run's times and rates decide nothing."""

    def having(self, name: str) -> Runs:
        """The runs that have a number for metric `name`."""
        heads, stored = (tuple(one for one in side if _has(name, one)) for side in (self.heads, self.stored))
        return replace(self, heads=heads, stored=stored)

    @property
    def of_times(self) -> Runs:
        """The runs that times and rates are judged by: uncontended ones, where a side has any."""
        return replace(self, heads=preferred(self.heads, self.bound), stored=preferred(self.stored, self.bound))

    @property
    def head_contended(self) -> bool:
        return not calm(self.heads, self.bound)

    @property
    def stored_contended(self) -> bool:
        return not calm(self.stored, self.bound)

    @property
    def unconfirmed(self) -> bool:
        """Whether reruns were made, and not one on uncontended CPUs."""
        return len(self.heads) > 1 and not calm(self.heads[1:], self.bound)


def judge_metric(name: str, runs: Runs, *, can_fail: bool) -> Verdict | None:
    """The verdict on metric `name`; None when it is never gated or neither side has a number."""
    record = runs.heads[0]
    metric = record.metrics.get(name) or _unrecorded(name, runs.stored)
    tolerance = tolerance_for(record.case, metric)
    old = _values(name, runs.stored)
    if tolerance is None or (metric.value is None and not old):
        return None
    if metric.value is None:
        lost = ERROR if metric.kind == "exact" else INCONCLUSIVE
        return _verdict(record, metric, old, lost, f"not known now: {metric.reason}")
    if not old:
        return _verdict(record, metric, old, NEW, "no comparable stored run has a number for it")
    if metric.kind in NOISY:
        return _judge_noisy(name, runs, tolerance, can_fail=can_fail)
    return _judge_steady(record, metric, old, tolerance)


def trips(name: str, runs: Runs) -> bool:
    """Whether a time or rate is beyond the tripwire in every head."""
    runs = runs.having(name)
    if not runs.heads or not runs.stored:
        return False
    tolerance = tolerance_for(runs.heads[0].case, runs.heads[0].metrics[name])
    return tolerance is not None and _judgement(name, runs.of_times, tolerance).state == tripwire.WORSE


def _judge_steady(record: Record, metric: Metric, old: Sequence[float], tolerance: Tolerance) -> Verdict:
    now, baseline = metric.value or 0.0, median(old)
    allowed = tolerance.allowed(baseline)
    loss = baseline - now if is_higher_better(metric) else now - baseline
    limit = baseline - allowed if is_higher_better(metric) else baseline + allowed
    if loss > allowed:
        outcome = REGRESSED
        why = f"worse by {pretty(loss, metric.unit)}, where {pretty(allowed, metric.unit)} is allowed"
    elif loss < -allowed:
        outcome, why = IMPROVED, f"better by {pretty(-loss, metric.unit)}"
    else:
        outcome, why = OK, f"within the allowed {pretty(allowed, metric.unit)}"
    verdict = _verdict(record, metric, old, outcome, why)
    return replace(verdict, tolerance=tolerance.relative, limit=limit)


def _judge_noisy(name: str, runs: Runs, tolerance: Tolerance, *, can_fail: bool) -> Verdict:
    runs = runs.having(name)
    used = runs.of_times
    metric, old = used.heads[0].metrics[name], _values(name, used.stored)
    judgement = _judgement(name, used, tolerance)
    outcome = _outcome(judgement.state, can_fail)
    why = _why(judgement, used.heads, metric, old, can_fail=can_fail)
    step = coarsest((*used.heads, *used.stored), name)
    doubt = _doubt(runs, judgement.state) or _blunt(name, used, judgement, tolerance)
    if doubt:
        outcome, why = INCONCLUSIVE, f"{_change(metric, old)}: {doubt}"
    elif judgement.state == tripwire.UNCLEAR and step.step:
        why = f"{why}; {step.words}"
    elif runs.head_contended:
        why = f"{why}, although {of_record(runs.heads[0]).words}"
    verdict = _verdict(used.heads[0], metric, old, outcome, why)
    verdict = replace(verdict, doubt=doubt)
    allowance = max(tripwire.margin(len(old)), tolerance.relative)
    return replace(verdict, tolerance=allowance, limit=judgement.bar) if can_fail else verdict


def _judgement(name: str, runs: Runs, tolerance: Tolerance) -> Judgement:
    """The tripwire, moved out to what the runs can resolve: a fall within one step of a ladder may be none."""
    higher = is_higher_better(runs.heads[0].metrics[name])
    now, old = _values(name, runs.heads), _values(name, runs.stored)
    judgement = tripwire.judge(old, now, higher_is_better=higher, at_least=tolerance.relative)
    slow, fast = (min, max) if higher else (max, min)
    step = coarsest(runs.heads, name)
    if step.step and math.isfinite(step.step):
        reach = slow(old) / (1 + step.step) if higher else slow(old) * (1 + step.step)
        judgement = replace(judgement, bar=slow(judgement.bar, reach))
    if judgement.state == tripwire.WORSE and not _apart(fast(now), slow(old), step):
        return replace(judgement, state=tripwire.UNCLEAR)
    if judgement.state == tripwire.BETTER and not _apart(fast(old), slow(now), coarsest(runs.stored, name)):
        return replace(judgement, state=tripwire.WITHIN)
    return judgement


def _apart(slow: float, fast: float, step: Resolution) -> bool:
    """Whether two values differ by more than one step of a run, whichever of them is the larger number."""
    if not step.step:
        return True
    low, high = sorted((slow, fast))
    return low <= 0 or high / low > (1 + step.step) * (1 + EXACT_SLACK)


def _blunt(name: str, runs: Runs, judgement: Judgement, tolerance: Tolerance) -> str:
    """Why the runs are too coarse for what is asked of them, or nothing."""
    step = coarsest((*runs.heads, *runs.stored), name)
    if not step.step or judgement.state in (tripwire.WORSE, tripwire.BETTER):
        return ""
    bound_now, bound_old = (math.isinf(coarsest(side, name).step) for side in (runs.heads, runs.stored))
    if bound_old or (bound_now and judgement.state == tripwire.UNCLEAR):
        return f"{step.words}; raise the highest rate that is tried"
    if tolerance.declared and math.isfinite(step.step) and step.step > tolerance.relative * (1 + EXACT_SLACK):
        asked = f"the suite's gate tolerates {tolerance.relative * 100:.4g} %"
        return f"within the resolution: {step.words}, {asked}; search more finely"
    return ""


def _doubt(runs: Runs, state: str) -> str:
    """Why contended CPUs keep `state` from deciding, or nothing."""
    if runs.head_contended and state != tripwire.WITHIN:
        again = ", in the reruns too" if len(runs.heads) > 1 else ""
        return f"{of_record(runs.heads[0]).words}{again}, so it is not known whether this is the code; {REMEDY}"
    if runs.unconfirmed and state == tripwire.WORSE:
        words = of_record(runs.heads[1]).words
        return f"far worse than the stored runs, but no rerun on uncontended CPUs could be had ({words}); {REMEDY}"
    if runs.stored_contended and state in (tripwire.WITHIN, tripwire.BETTER):
        words = of_record(runs.stored[0]).words
        return f"no stored run was measured on uncontended CPUs ({words}); {REMEDY}, and store that run"
    return ""


def _change(metric: Metric, old: Sequence[float]) -> str:
    return pretty_change((metric.value or 0.0) / median(old)) if median(old) else "worse"


def _outcome(state: str, can_fail: bool) -> str:
    if state == tripwire.WORSE:
        return REGRESSED if can_fail else INCONCLUSIVE
    if state == tripwire.UNCLEAR:
        return INCONCLUSIVE if can_fail else OK
    return IMPROVED if state == tripwire.BETTER else OK


def _why(judgement: Judgement, heads: Sequence[Record], metric: Metric, old: Sequence[float], *, can_fail: bool) -> str:
    count = min(len(old), tripwire.MAX_STORED)
    runs = f"{count} stored run{'s' if count > 1 else ''}"
    processes = min(len(_values(metric.name, heads)), tripwire.MAX_HEADS)
    bar = pretty(judgement.bar, metric.unit)
    if judgement.state == tripwire.WORSE:
        where = f"in each of {processes} processes" if processes > 1 else "in this process"
        text = f"beyond {bar} {where}, far worse than {runs}"
        return text if can_fail else f"{text}; only reported, too noisy to fail on stored runs"
    if judgement.state == tripwire.BETTER:
        return f"far better than {runs}"
    if judgement.state == tripwire.WITHIN:
        return f"within the range of {runs}"
    change = _change(metric, old)
    if not can_fail:
        return f"{change}; only reported, too noisy to fail on stored runs"
    again = f", not confirmed by {processes - 1} more" if processes > 1 else ""
    return f"{change} against {runs}{again}; single runs cannot tell, it fails beyond {bar}"


def _verdict(record: Record, metric: Metric, old: Sequence[float], outcome: str, why: str) -> Verdict:
    baseline = median(old) if old else None
    ratio = metric.value / baseline if metric.value is not None and baseline else None
    return Verdict(
        node_id=record.case.node_id,
        metric=metric.name,
        outcome=outcome,
        why=why,
        unit=metric.unit,
        better=metric.better,
        baseline=baseline,
        now=metric.value,
        ratio=ratio,
        n_baselines=len(old),
    )


def _has(name: str, record: Record) -> bool:
    return name in record.metrics and record.metrics[name].value is not None


def _values(name: str, records: Sequence[Record]) -> tuple[float, ...]:
    found = (record.metrics[name].value for record in records if name in record.metrics)
    return tuple(value for value in found if value is not None)


def _unrecorded(name: str, stored: Sequence[Record]) -> Metric:
    known = next(record.metrics[name] for record in stored if name in record.metrics)
    return Metric(
        name=name, value=None, unit=known.unit, better=known.better, kind=known.kind, reason="this run did not record it"
    )
