"""What a session has measured, which of it deserves pairs, and what pairs of it will roughly cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lmbench.base.catalogue import is_of_batch
from lmbench.base.registry import BACKENDS
from lmbench.compare.cells import PLAIN, PLAIN_CPU, deciding, needs_runs
from lmbench.compare.comparability import comparable
from lmbench.compare.contention import calm
from lmbench.compare.same_experiment import fit
from lmbench.compare.triage import Observation
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.paired.cost import Cost
from lmbench.paired.docket import ROUND_UNIT
from lmbench.paired.numbers import Job
from lmbench.paired.pair import rounds_for
from lmbench.paired.runs import RUN_UNIT
from lmbench.record.objectives import own_pins
from lmbench.record.record import FULL, OK, Record

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

HEAVY_START_S, LIGHT_START_S = 12.0, 4.0
"""First guesses for starting two workers, with and without an engine to import; the first pair corrects them."""
WARM_CALLS = 5
SHORT_ROUND_S = 1e-3
NO_SIZES: Mapping[str, int] = {}


def measured_cases(run: Run) -> dict[str, Record]:
    """The session's suite cases that have full records, by node id."""
    return {name: one for name, one in run.records.items() if one.status == OK and one.mode == FULL}


def measured_tests(run: Run) -> dict[str, Any]:
    """The session's plain benchmark tests: pytest-benchmark's results by node id."""
    session = run.config._benchmarksession  # type: ignore[attr-defined]
    return {one.fullname: one for one in session.benchmarks if one and not one.has_error and one.fullname not in run.collected}


def deciding_of(cases: Mapping[str, Record], tests: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names of the deciding metrics of every measured case and test, by node id."""
    return {name: deciding(record.case) for name, record in cases.items()} | dict.fromkeys(tests, (PLAIN, PLAIN_CPU))


def observations(run: Run, cases: Mapping[str, Record], tests: Mapping[str, Any]) -> list[Observation]:
    """Every deciding metric beside its stored values, where there are any.

    Stored runs of contended CPUs are slow: they clear nobody.
    """
    return [*_of_cases(run, cases), *_of_tests(run, tests)]


def triggers(run: Run) -> dict[str, str]:
    """Cases that stored runs or --benchmark-compare-fail speak against: under the gate that asks for pairs, and fails nobody."""
    session = run.config._benchmarksession  # type: ignore[attr-defined]
    found = {one.node_id: f"{one.metric}: {one.why}" for one in run.verdicts if one.outcome == REGRESSED}
    for bench in filter(None, session.benchmarks):
        for stored in _compared(run):
            if bench.fullname not in stored:
                continue
            before = {**bench.as_dict(include_data=False, stats=False), **stored[bench.fullname]["stats"]}
            failed = [str(text) for check in session.compare_fail or () if (text := check.fails(bench, before))]
            if failed:
                found.setdefault(bench.fullname, "; ".join(failed))
    return found


def slow_batches(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """The largest batch size of each case that stored runs speak against: that is the one to pair."""
    sizes: dict[str, int] = {}
    for one in verdicts:
        if one.outcome == REGRESSED and is_of_batch(one.metric or ""):
            sizes[one.node_id] = max(sizes.get(one.node_id, 0), int((one.metric or "").rpartition("_")[2]))
    return sizes


def jobs_of(
    chosen: Sequence[str], cases: Mapping[str, Record], tests: Mapping[str, Any], sizes: Mapping[str, int] = NO_SIZES
) -> list[tuple[Job, str]]:
    """Jobs with the unit of their pairs, in the order of the session; cases that pairs would decide nothing of are left out.

    A sweep is paired at the batch size in `sizes`, else at the best one.
    """
    jobs = [_job(record, sizes.get(name)) for name, record in cases.items() if name in chosen and deciding(record.case)]
    return jobs + [(Job(node_id=name), ROUND_UNIT) for name in tests if name in chosen]


def without_pairs(chosen: Sequence[str], cases: Mapping[str, Record]) -> list[Job]:
    """Chosen cases without a time, rate or peak to decide: one run of the base is enough to compare them with."""
    return [_job(record)[0] for name, record in cases.items() if name in chosen and not deciding(record.case)]


def guess(jobs: Sequence[tuple[Job, str]], cases: Mapping[str, Record], tests: Mapping[str, Any]) -> Cost:
    """What one pair will cost, from what the session's own measuring took."""
    rounds = [job for job, unit in jobs if unit == ROUND_UNIT]
    heavy = any(job.case is not None and BACKENDS[job.case.backend.kind].needs for job in rounds)
    start_s = (HEAVY_START_S if heavy else LIGHT_START_S) if rounds else 0.0
    return Cost(start_s=start_s, cases={job.node_id: _case_s(job, unit, cases, tests) for job, unit in jobs})


def _case_s(job: Job, unit: str, cases: Mapping[str, Record], tests: Mapping[str, Any]) -> float:
    if job.case is None:
        call_s = float(tests[job.node_id].stats.mean)
        setup_s = 0.0
    else:
        record = cases[job.node_id]
        if unit == RUN_UNIT:
            return 2 * record.wall_s
        samples = record.series[record.primary or ""]
        call_s = sum(samples) / len(samples)
        load = record.metrics.get("load_s")
        setup_s = load.value if load is not None and load.value is not None else 0.0
    round_s = max(call_s, SHORT_ROUND_S)
    return 2 * (setup_s + WARM_CALLS * call_s + rounds_for(round_s) * round_s)


def _job(record: Record, size: int | None = None) -> tuple[Job, str]:
    case = record.case
    best = record.metrics.get("best_batch")
    batch = size or (int(best.value) if best is not None and best.value else None)
    given = {"max_batch": batch} if case.workload == "throughput" and batch else {}
    job = Job(node_id=case.node_id, case=case, given=given, pins=own_pins(record), timeout_s=case.timeout_s)
    return job, RUN_UNIT if needs_runs(case) else ROUND_UNIT


def _of_cases(run: Run, cases: Mapping[str, Record]) -> Iterator[Observation]:
    if not run.comparing:
        return
    for node_id, record in cases.items():
        stored = calm(comparable(run.stored_baselines().of(node_id), record), run.confirmation.bound)
        for name in deciding(record.case):
            metric = record.metrics.get(name)
            old = tuple(
                value
                for one in fit(name, stored, record)
                if name in one.metrics and (value := one.metrics[name].value) is not None
            )
            if metric is not None and metric.value is not None and old:
                yield Observation(node_id=node_id, metric=name, now=metric.value, stored=old, better=metric.better or "lower")


def _of_tests(run: Run, tests: Mapping[str, Any]) -> Iterator[Observation]:
    for node_id, bench in tests.items():
        stored = tuple(float(found[node_id]["stats"]["median"]) for found in _compared(run) if node_id in found)
        if stored:
            yield Observation(node_id=node_id, metric=PLAIN, now=float(bench.stats.median), stored=stored, better="lower")


def _compared(run: Run) -> list[dict[str, Any]]:
    session = run.config._benchmarksession  # type: ignore[attr-defined]
    return list((session.compared_mapping or {}).values())
