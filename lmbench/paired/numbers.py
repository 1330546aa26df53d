"""The nouns of one pair - a job, what the pair said about it - and its rounds as one number per metric; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lmbench.measure.objectives import Pin
from lmbench.paired.protocol import Round
from lmbench.paired.starved import without_waiting
from lmbench.plan.case import Case

BASE, HEAD = "base", "head"
PARALLEL = 1.1
"""CPU time over wall time from which a case counts as multi-threaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A case to be decided by pairs of processes."""

    node_id: str
    case: Case | None = None
    """None for a plain pytest-benchmark test."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the case that the first run has settled, such as the batch size of a throughput case."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """Objectives of the first run, which every run of both sides uses."""
    timeout_s: float = 300.0

    @property
    def file(self) -> str:
        return self.node_id.partition("::")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePair:
    """What one pair said about one case; without numbers `failure` says why and `side` whose fault it was."""

    node_id: str
    log_ratios: Mapping[str, float] = field(default_factory=dict)
    """ln(head / base) by metric, the median over rounds."""
    base: Mapping[str, float] = field(default_factory=dict)
    head: Mapping[str, float] = field(default_factory=dict)
    """Medians over rounds, in the metrics' units."""
    running: Mapping[str, float] = field(default_factory=dict)
    """The same without the time in which threads waited for a CPU (starved.py); empty where that is not known."""
    cpu_log_ratio: float | None = None
    """The same of the CPU time of all threads."""
    switches: tuple[float, float] = (0.0, 0.0)
    """Involuntary context switches per round, base and head."""
    parallel: bool = False
    """More than one thread worked."""
    clock: str = "wall"
    rounds: int = 0
    loops: int = 0
    calls: tuple[int, int] = (0, 0)
    """Calls per round really made, base and head: they differ only where work was injected."""
    wall_s: float = 0.0
    base_id: str = ""
    """What the base calls the case, where that is known."""
    contention: float | None = None
    """Share of the pair's time in which some task waited for a CPU; None where the kernel does not know."""
    starved: str = ""
    """Why the times and rates of this pair of whole runs count for nothing; its sizes do."""
    steps: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """What each run, base and head, resolved of a metric that is found on a ladder: a share; None: only a bound."""
    recorded_steps: bool = True
    """Whether the runs recorded their steps; else they are from the declaration."""
    side: str = ""
    absent: bool = False
    """The side does not have the case, or declares it differently: nobody's fault, yet nothing to compare."""
    failure: str = ""


def summarise(
    node_id: str, found: Mapping[str, Sequence[Round]], *, loops: int, clock: str, wall_s: float, cpus: int = 1
) -> CasePair:
    """The rounds of both sides as one number per metric, on a machine of `cpus` usable CPUs; pure."""
    base, head = found[BASE], found[HEAD]
    parallel = any(one.cpu_s > PARALLEL * one.wall_s for one in (*base, *head))
    by_cpu = clock == "cpu" and not parallel
    values = {name: [_values(one, loops, by_cpu=by_cpu) for one in found[name]] for name in (BASE, HEAD)}
    names = [name for name in values[HEAD][0] if all(one.get(name, 0) > 0 for side in values.values() for one in side)]
    ratios = {
        name: median(math.log(after[name] / before[name]) for before, after in zip(values[BASE], values[HEAD], strict=True))
        for name in names
    }
    both = zip((one.cpu_s for one in base), (one.cpu_s for one in head), strict=True)
    spent = [(before, after) for before, after in both if before > 0 and after > 0]
    return CasePair(
        node_id=node_id,
        log_ratios=ratios,
        running=without_waiting(base, head, (values[BASE], values[HEAD]), cpus),
        base={name: median(one[name] for one in values[BASE]) for name in names},
        head={name: median(one[name] for one in values[HEAD]) for name in names},
        cpu_log_ratio=median(math.log(after / before) for before, after in spent) if spent else None,
        switches=(sum(one.switches for one in base) / len(base), sum(one.switches for one in head) / len(head)),
        parallel=parallel,
        clock=clock,
        rounds=len(base),
        loops=loops,
        calls=(base[0].calls, head[0].calls),
        wall_s=wall_s,
    )


def _values(one: Round, loops: int, *, by_cpu: bool) -> dict[str, float]:
    if not by_cpu:
        return dict(one.values)
    return {**one.values, "round_cpu_p50_s": one.thread_cpu_s / loops}
