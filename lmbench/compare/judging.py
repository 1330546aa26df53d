"""Records become verdicts: a case against its stored runs, and the cases that are gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from lmbench.base.catalogue import is_of_batch
from lmbench.compare import metrics
from lmbench.compare.comparability import comparable, why_incomparable
from lmbench.compare.contention import BOUND, of_record
from lmbench.compare.same_experiment import fit, why_barred
from lmbench.compare.tolerance import NOISY, tripwired
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, MISSING, NEW, Verdict
from lmbench.record.record import ERROR as FAILED
from lmbench.record.record import FULL, OK, Record


def compare_case(
    record: Record, baselines: Sequence[Record], reruns: Sequence[Record] = (), *, bound: float = BOUND
) -> list[Verdict]:
    """Verdicts on one case: one per metric that can be judged, or a single one on the whole case.

    `baselines` are its stored records, newest first; those of another machine class or declaration are left out.
    `reruns` are up to two more runs of the same case in processes of their own, made because `suspects` named
    something. A record of mode 'once' is never compared. `bound` is the contention from which times and rates of a run
    decide nothing (contention.py).
    """
    node_id = record.case.node_id
    if record.status != OK:
        failure = record.failure
        why = f"{failure.kind}: {failure.message}" if failure else "the case failed without saying why"
        return [Verdict(node_id=node_id, metric=None, outcome=ERROR, why=why)]
    if record.mode != FULL:
        return []
    if not baselines:
        return [Verdict(node_id=node_id, metric=None, outcome=NEW, why="no stored run has this case" + _mark(record, bound))]
    stored = comparable(baselines, record)
    if not stored:
        why = "; ".join(why_incomparable(baselines[0], record))
        return [Verdict(node_id=node_id, metric=None, outcome=INCOMPARABLE, why=why, n_baselines=len(baselines))]
    runs = metrics.Runs(heads=_heads(record, reruns), stored=stored, bound=bound)
    names = dict.fromkeys([*record.metrics, *stored[0].metrics])
    judged = [verdict for name in names if (verdict := _judged(name, runs)) is not None]
    return [_named(verdict, stored[0].case.node_id) for verdict in (*_other_experiment(judged, runs), *judged)]


def suspects(record: Record, baselines: Sequence[Record], *, bound: float = BOUND) -> tuple[str, ...]:
    """The times and rates on which this run alone trips the wire; rerun the case in fresh processes when there are any."""
    if record.status != OK or record.mode != FULL:
        return ()
    runs = metrics.Runs(heads=(record,), stored=comparable(baselines, record), bound=bound)
    return tuple(
        name
        for name, metric in record.metrics.items()
        if metric.kind in NOISY and name in tripwired(record) and metrics.trips(name, _fitting(name, runs))
    )


def compare_missing(
    expected: Iterable[str],
    collected: Collection[str],
    *,
    suites: Collection[str] | None = None,
    skipped: Mapping[str, str] | None = None,
    where: str = "the suite",
) -> list[Verdict]:
    """One 'missing' verdict per expected case that is gone, or that is skipped now (node id -> reason).

    `collected` holds every case collected, deselected ones included. With `suites`, only cases of those suite files
    count: what was not asked for is not missing.
    """
    reasons = skipped or {}
    found = []
    for node_id in expected:
        if suites is not None and node_id.partition("::")[0] not in suites:
            continue
        if node_id in reasons:
            why = f"was measured before and is skipped now: {reasons[node_id]}"
        elif node_id not in collected:
            why = f"was measured before and is not in {where} any more; if that is meant, store this run as the new baseline"
        else:
            continue
        found.append(Verdict(node_id=node_id, metric=None, outcome=MISSING, why=why))
    return found


def _fitting(name: str, runs: metrics.Runs) -> metrics.Runs:
    """The stored runs in which the metric was measured as in this one."""
    return replace(runs, stored=fit(name, runs.stored, runs.heads[0]))


def _judged(name: str, runs: metrics.Runs) -> Verdict | None:
    """The verdict on one metric; incomparable where no stored run measured it under the same objectives."""
    why = why_barred(name, runs.stored, runs.heads[0])
    can_fail = name in tripwired(runs.heads[0])
    if not why:
        return metrics.judge_metric(name, _fitting(name, runs), can_fail=can_fail)
    verdict = metrics.judge_metric(name, runs, can_fail=can_fail)
    if verdict is None:
        return None
    return replace(verdict, outcome=INCOMPARABLE, why=why, doubt="", ratio=None, tolerance=None, limit=None, n_baselines=0)


def _other_experiment(judged: Sequence[Verdict], runs: metrics.Runs) -> list[Verdict]:
    """One on the whole case where a metric that can fail it was measured under other objectives: it must not look ok."""
    record = runs.heads[0]
    lost = [one for one in judged if one.outcome == INCOMPARABLE and one.metric in tripwired(record)]
    lost = [one for one in lost if not is_of_batch(one.metric or "")]
    if not lost:
        return []
    names = ", ".join(one.metric or "" for one in lost)
    why = f"{lost[0].why}; not compared: {names}, and what depends on them"
    return [Verdict(node_id=record.case.node_id, metric=None, outcome=INCOMPARABLE, why=why)]


def _named(verdict: Verdict, stored_as: str) -> Verdict:
    """The verdict; where the stored runs have the case under another name, it says so."""
    if verdict.node_id == stored_as:
        return verdict
    return replace(verdict, why=f"{verdict.why}; renamed, the stored runs have it as {stored_as}")


def _mark(record: Record, bound: float) -> str:
    """What is to be known of a contended run before it becomes a baseline."""
    found = of_record(record)
    return f"; {found.words}: its times and rates are too long or too low to be held to" if found.beyond(bound) else ""


def _heads(record: Record, reruns: Sequence[Record]) -> tuple[Record, ...]:
    usable = (rerun for rerun in reruns if rerun.status != FAILED and rerun.mode == FULL)
    return (record, *comparable(tuple(usable), record))
