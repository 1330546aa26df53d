"""One whole run of the base beside the head's own: what needs no pairs - sizes, quality, memory - compared directly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from lmbench.base.catalogue import METRICS
from lmbench.base.errors import Unavailable
from lmbench.compare.judging import compare_case
from lmbench.compare.verdicts import INCOMPARABLE, INCONCLUSIVE, REGRESSED, Verdict
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Sides
from lmbench.paired.runs import declared_otherwise, run_one
from lmbench.record.record import Record
from lmbench.run.execute import Setting
from lmbench.run.isolate import Place

STEADY = ("exact", "memory")
CONFIRMATIONS = 2


def against_base(
    jobs: Sequence[Job], heads: Mapping[str, Record], sides: Sides, setting: Setting, say: Callable[[str], None]
) -> list[Verdict]:
    """Verdicts on the exact and the memory metrics of `jobs`, from one run of each in the base.

    Memory that seems to have grown is measured twice more on both sides, and has grown only if every head run is
    beyond every base run. A base that cannot run the case leaves its steady metrics incomparable.
    """
    verdicts: list[Verdict] = []
    for job in jobs:
        if declared_otherwise(job, sides.base, sides.renames):
            continue
        base = _run(job, setting, sides.base, say=say)
        if isinstance(base, str):
            verdicts.append(Verdict(node_id=job.node_id, metric=None, outcome=INCOMPARABLE, why=f"the base's own run: {base}"))
            continue
        found = steady(heads[job.node_id], [base])
        grown = [one.metric or "" for one in found if one.outcome == REGRESSED and METRICS[one.metric or ""].kind == "memory"]
        if grown:
            found = _confirmed(found, grown, [heads[job.node_id]], [base], partial(_run, job, setting, say=say), sides)
        verdicts += found
    return verdicts


def steady(head: Record, base: Sequence[Record], kinds: Sequence[str] = STEADY) -> list[Verdict]:
    """Verdicts on the metrics that are the same, or nearly, on every run."""
    found = compare_case(head, base)
    return [one for one in found if one.metric is None or METRICS[one.metric].kind in kinds]


def _confirmed(
    found: list[Verdict],
    grown: Sequence[str],
    heads: list[Record],
    bases: list[Record],
    run: Callable[[Place], Record | str],
    sides: Sides,
) -> list[Verdict]:
    for _ in range(CONFIRMATIONS):
        for place, records in ((sides.base, bases), (sides.head, heads)):
            one = run(place)
            if isinstance(one, Record):
                records.append(one)
    return [_again(one, heads, bases) if one.metric in grown else one for one in found]


def _again(verdict: Verdict, heads: Sequence[Record], bases: Sequence[Record]) -> Verdict:
    name = verdict.metric or ""
    now, before = _values(name, heads), _values(name, bases)
    allowed = abs((verdict.limit or 0.0) - (verdict.baseline or 0.0))
    runs = f"{len(now)} runs of the head, {len(before)} of the base"
    if len(now) > 1 and min(now) > max(before) + allowed:
        return replace(verdict, why=f"{verdict.why}; every one of {runs} agrees")
    return replace(verdict, outcome=INCONCLUSIVE, why=f"{verdict.why}; {runs} overlap")


def _run(job: Job, setting: Setting, place: Place, *, say: Callable[[str], None]) -> Record | str:
    """The record, or why there is none."""
    try:
        record = run_one(job, setting, place, say)
    except Unavailable as lack:
        return str(lack)
    return record if record.failure is None else f"{record.failure.kind}: {record.failure.message}"


def _values(name: str, records: Sequence[Record]) -> list[float]:
    found = [one.metrics[name].value for one in records if name in one.metrics]
    return [value for value in found if value is not None]
