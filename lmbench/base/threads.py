"""How many compute threads an engine gets: one number, resolved here for every engine, and where it came from.

In this order: the suite's `threads`, the user's variables (OMP_NUM_THREADS and its kind), the CPUs that this process may use.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from lmbench.base.control_groups import cpu_quota, located

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "LLAMA_ARG_THREADS",
)
"""What users set to choose the number of threads, each read by some of the engines; where several are set the smallest counts."""
LIMIT = "OMP_THREAD_LIMIT"
"""Never raises the number, only lowers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadBudget:
    """`threads` of every engine and the `source` of that number; `cpus` and `quota` are what this process may use."""

    threads: int
    source: str
    cpus: int
    """CPUs of the affinity mask."""
    quota: float | None = None
    """CPUs of the control group's quota; None without one."""
    notes: tuple[str, ...] = ()
    """What a reader must know: a setting that was not understood, more threads than CPUs."""

    @property
    def usable(self) -> float:
        """CPUs that this process can keep busy."""
        return float(self.cpus) if self.quota is None else min(float(self.cpus), self.quota)

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "notes": list(self.notes)}


def thread_budget(suite: int | None = None) -> ThreadBudget:
    """The budget of this process as it is now; `suite` is the backend's option `threads`, which comes before all else."""
    return resolve(affinity_count(), cpu_quota(located()), os.environ, suite)


def affinity_count() -> int:
    """CPUs of the affinity mask, or of the machine where the system has no such mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resolve(cpus: int, quota: float | None, variables: Mapping[str, str], suite: int | None = None) -> ThreadBudget:
    """The budget of a process with `cpus` in its affinity mask and a `quota` of CPUs, under these environment variables."""
    given, notes = _given(variables)
    if suite is not None:
        threads, source = suite, f"the suite's threads: {suite}"
    elif given:
        threads = min(given.values())
        source = ", ".join(f"{name}={count}" for name, count in given.items())
        source += " (the smallest counts)" if len(set(given.values())) > 1 else ""
    else:
        threads, source = _available(cpus, quota)
    limit = _count(variables.get(LIMIT, ""))
    if limit is not None and limit < threads and suite is None:
        threads, source = limit, f"{LIMIT}={limit}"
    elif limit is not None and limit < threads:
        notes.append(f"engines on OpenMP run on {limit} threads at most, for {LIMIT}={limit}")
    usable = cpus if quota is None else min(cpus, quota)
    if threads > max(1, math.ceil(usable)):
        notes.append(f"{threads} threads ({source}) share {usable:g} CPUs: they wait for each other")
    return ThreadBudget(threads=threads, source=source, cpus=cpus, quota=quota, notes=tuple(notes))


def _available(cpus: int, quota: float | None) -> tuple[int, str]:
    if quota is None or quota >= cpus:
        return cpus, f"{_cpus(cpus)} of the affinity mask"
    if quota < 1:
        return 1, f"a CPU quota of {quota:g} CPUs, at least 1 thread"
    return math.floor(quota), f"a CPU quota of {quota:g} CPUs" + (", rounded down" if quota % 1 else "")


def _given(variables: Mapping[str, str]) -> tuple[dict[str, int], list[str]]:
    """The counts that the user set, by variable, and a sentence for each value that is no count."""
    found: dict[str, int] = {}
    notes = []
    for name in VARIABLES:
        value = variables.get(name, "").strip()
        count = _count(value)
        if count is not None:
            found[name] = count
        elif value:
            notes.append(f"{name} is ignored: expected a whole number of at least 1, found {value[:40]!r}")
    return found, notes


def _count(value: str) -> int | None:
    """'4' -> 4; '4,2' (OpenMP: a number per level of nesting) -> 4; None for what is no count."""
    first = value.partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and len(first) < 10 and int(first) > 0 else None


def _cpus(count: int) -> str:
    return f"{count} CPU{'s' if count != 1 else ''}"
