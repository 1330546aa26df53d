"""A pair of whole runs: one fresh process per side, one value per metric and run; and what a tree's suites declare."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from lmbench.base.errors import ConfigError, Unavailable
from lmbench.compare.resolution import resolution_of
from lmbench.measure.clock import CLOCK
from lmbench.paired.numbers import BASE, HEAD, CasePair, Job
from lmbench.paired.pair import Sides
from lmbench.plan.expand import expand
from lmbench.record.record import Record
from lmbench.run.execute import Setting
from lmbench.run.isolate import Place, run_isolated
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.suite.load import load

COMPARED_KINDS = ("time", "rate", "memory")
RUN_UNIT = "pair of whole runs"


def run_both(
    job: Job, sides: Sides, setting: Setting, rng: np.random.Generator, say: Callable[[str], None]
) -> tuple[CasePair, Mapping[str, Record]]:
    """Run `job` once on each side, in random order; the pair's numbers, and both records."""
    lack = declared_otherwise(job, sides.base, sides.renames)
    if lack:
        return CasePair(node_id=job.node_id, side=BASE, absent=True, failure=lack), {}
    order = [BASE, HEAD] if rng.random() < 0.5 else [HEAD, BASE]
    started = CLOCK.now()
    records: dict[str, Record] = {}
    for name in order:
        place = sides.base if name == BASE else sides.head
        try:
            records[name] = run_one(job, setting, place, say)
        except Unavailable as lack_of:
            return CasePair(node_id=job.node_id, side=name, failure=f"{name}: cannot run: {lack_of}"), records
        failure = records[name].failure
        if failure is not None:
            return CasePair(node_id=job.node_id, side=name, failure=f"{name}: {failure.kind}: {failure.message}"), records
    pair = _numbers(job.node_id, records[BASE], records[HEAD], CLOCK.now() - started)
    return replace(pair, base_id=base_name(job, sides.base, sides.renames)), records


def run_one(job: Job, setting: Setting, place: Place, say: Callable[[str], None]) -> Record:
    """One whole run of a suite's case at `place`. Raises Unavailable; other failures are in the record."""
    if job.case is None:
        raise ValueError("a plain test has no whole runs; it is paired round by round")
    return run_isolated(job.case, replace(setting, once=False, pins=job.pins), lambda text: say(f"{place.name}: {text}"), place)


def declared_otherwise(job: Job, base: Place, renames: Renames = NO_RENAMES) -> str:
    """Why the base's suite does not have this very case, under its own name or a former one, or nothing."""
    if job.case is None:
        return ""
    name = base_name(job, base, renames)
    declared = _declared(base.root, name.partition("::")[0])
    if isinstance(declared, str):
        return declared
    if name not in declared:
        return "the base tree does not have this case"
    return "" if declared[name] == job.case.digest else "the case is declared differently in the base"


def base_name(job: Job, base: Place, renames: Renames) -> str:
    """What the base calls the job's case; its own name where the base has none of its names."""
    for name in (job.node_id, *renames.former(job.node_id)):
        declared = _declared(base.root, name.partition("::")[0])
        if not isinstance(declared, str) and name in declared:
            return name
    return job.node_id


@cache
def _declared(root: Path, suite: str) -> dict[str, str] | str:
    path = root / suite
    if not path.is_file():
        return "the base tree does not have this suite"
    try:
        return {case.node_id: case.digest for case in expand(load(path, root), root)}
    except ConfigError as error:
        return f"the base tree's suite is not valid: {error}"


def _numbers(node_id: str, base: Record, head: Record, wall_s: float) -> CasePair:
    before, after = _values(base), _values(head)
    shared = [name for name in after if name in before]
    steps = {name: (resolution_of(base, name), resolution_of(head, name)) for name in shared}
    coarse = {name: both for name, both in steps.items() if any(one.step for one in both)}
    return CasePair(
        node_id=node_id,
        log_ratios={name: math.log(after[name] / before[name]) for name in shared},
        base={name: before[name] for name in shared},
        head={name: after[name] for name in shared},
        rounds=1,
        loops=1,
        wall_s=wall_s,
        steps={name: (_finite(both[0].step), _finite(both[1].step)) for name, both in coarse.items()},
        recorded_steps=all(one.recorded for both in coarse.values() for one in both),
    )


def _finite(step: float) -> float | None:
    return step if math.isfinite(step) else None


def _values(record: Record) -> dict[str, float]:
    return {
        name: metric.value
        for name, metric in record.metrics.items()
        if metric.kind in COMPARED_KINDS and metric.better is not None and metric.value is not None and metric.value > 0
    }
