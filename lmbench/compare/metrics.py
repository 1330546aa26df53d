"""The verdict on one metric of one case, by its kind; the words that explain it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from lmbench.base.units import pretty, pretty_change
from lmbench.compare import tripwire
from lmbench.compare.tolerance import NOISY, Tolerance, is_higher_better, resolution, tolerance_for
from lmbench.compare.tripwire import Judgement
from lmbench.compare.verdicts import ERROR, IMPROVED, INCONCLUSIVE, NEW, OK, REGRESSED, Verdict
from lmbench.measure.measurement import Metric
from lmbench.record.record import Record


def judge_metric(name: str, heads: Sequence[Record], stored: Sequence[Record], *, can_fail: bool) -> Verdict | None:
    """The verdict on metric `name`; None when it is never gated or neither side has a number.

    `heads` holds this run's record and its reruns, `stored` comparable records, newest first.
    """
    record = heads[0]
    metric = record.metrics.get(name) or _unrecorded(name, stored)
    tolerance = tolerance_for(record.case, metric)
    old = _values(name, stored)
    if tolerance is None or (metric.value is None and not old):
        return None
    if metric.value is None:
        lost = ERROR if metric.kind == "exact" else INCONCLUSIVE
        return _verdict(record, metric, old, lost, f"not known now: {metric.reason}")
    if not old:
        return _verdict(record, metric, old, NEW, "no comparable stored run has a number for it")
    if metric.kind in NOISY:
        return _judge_noisy(heads, metric, old, tolerance, can_fail=can_fail)
    return _judge_steady(record, metric, old, tolerance)


def trips(name: str, heads: Sequence[Record], stored: Sequence[Record]) -> bool:
    """Whether a time or rate is beyond the tripwire in every one of `heads`."""
    metric, old = heads[0].metrics[name], _values(name, stored)
    tolerance = tolerance_for(heads[0].case, metric)
    if metric.value is None or not old or tolerance is None:
        return False
    return _judgement(heads, metric, old, tolerance).state == tripwire.WORSE


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


def _judge_noisy(
    heads: Sequence[Record], metric: Metric, old: Sequence[float], tolerance: Tolerance, *, can_fail: bool
) -> Verdict:
    judgement = _judgement(heads, metric, old, tolerance)
    outcome = _outcome(judgement.state, can_fail)
    why = _why(judgement, heads, metric, old, can_fail=can_fail)
    allowance = max(tripwire.margin(len(old)), tolerance.relative, resolution(heads[0].case, metric.name))
    verdict = _verdict(heads[0], metric, old, outcome, why)
    return replace(verdict, tolerance=allowance, limit=judgement.bar) if can_fail else verdict


def _judgement(heads: Sequence[Record], metric: Metric, old: Sequence[float], tolerance: Tolerance) -> Judgement:
    at_least = max(tolerance.relative, resolution(heads[0].case, metric.name))
    return tripwire.judge(old, _values(metric.name, heads), higher_is_better=is_higher_better(metric), at_least=at_least)


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
    change = pretty_change((metric.value or 0.0) / median(old)) if median(old) else "worse"
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


def _values(name: str, records: Sequence[Record]) -> tuple[float, ...]:
    found = (record.metrics[name].value for record in records if name in record.metrics)
    return tuple(value for value in found if value is not None)


def _unrecorded(name: str, stored: Sequence[Record]) -> Metric:
    known = next(record.metrics[name] for record in stored if name in record.metrics)
    return Metric(
        name=name, value=None, unit=known.unit, better=known.better, kind=known.kind, reason="this run did not record it"
    )
