"""Which metrics of a case are decided by pairs of processes, and how many separate tests that makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lmbench.base.catalogue import METRICS
from lmbench.base.registry import BACKENDS, WORKLOADS
from lmbench.compare.tolerance import NOISY
from lmbench.plan.case import Case

MIRRORS: Mapping[str, str] = {
    "trained_tokens_per_s": "step_p50_s",
    "samples_per_s": "step_p50_s",
    "total_tokens_per_s": "output_tokens_per_s",
    "scored_tokens_per_s": "latency_p50_s",
}
"""Metric -> the one it is a constant over, or times: the same test said in another unit, so it is counted once."""
LATENCY_MIRRORS: Mapping[str, str] = {"output_tokens_per_s": "latency_p50_s"}

PLAIN, PLAIN_CPU = "round_p50_s", "round_cpu_p50_s"


def needs_runs(case: Case) -> bool:
    """Whether a pair of `case` is two whole runs: stress, memory and cold_start always, engines in an environment of
    their own, others when the gate names what rounds cannot say.

    A quantile or a peak belongs to a run: it is taken per run and compared per pair, never pooled over runs.
    """
    told = WORKLOADS[case.workload].per_round
    if not told or BACKENDS[case.backend.kind].env is not None:
        return True
    return any(METRICS[name].kind in NOISY and name not in told for name in case.gate if name in METRICS)


def deciding(case: Case | None, clock: str = "wall") -> tuple[str, ...]:
    """Names of the metrics that decide a case; of a plain test (None) its wall or CPU time."""
    if case is None:
        return (PLAIN_CPU if clock == "cpu" else PLAIN,)
    named = (name for name in case.gate if name in METRICS and METRICS[name].kind in (*NOISY, "memory"))
    return tuple(dict.fromkeys([*WORKLOADS[case.workload].decided_by, *named]))


def tests_of(case: Case | None) -> int:
    """How many separate tests a case's deciding metrics are: mirrors of another deciding metric do not count."""
    names = deciding(case)
    mirrors = {**MIRRORS, **(LATENCY_MIRRORS if case is not None and case.workload == "latency" else {})}
    return sum(mirrors.get(name) not in names for name in names)


def count_cells(cases: Iterable[Case | None]) -> int:
    """Separate tests of all `cases` together, at least 1: what an error rate is divided by (Bonferroni)."""
    return max(1, sum(tests_of(case) for case in cases))


def tolerance_of(case: Case | None, name: str, default: float) -> float:
    """The relative change for the worse that is still ok: the suite's gate, the catalogue's, else `default`."""
    if case is None:
        return default
    declared = case.gate.get(name)
    spec = METRICS[name]
    if declared is not None:
        return declared
    return spec.tolerance if spec.tolerance is not None else default
