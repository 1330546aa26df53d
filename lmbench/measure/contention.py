"""How much others were in the way while something was measured: a figure from the sampler's summary; pure.

Where the kernel has pressure stall information the figure is the share of the time in which some task waited for a CPU.
That counts the measured process' own threads too, so the CPU time that others took stands beside it: threads that only wait
for each other are part of the workload. Without it the figure is what others and the hypervisor took of CPUs that were all
busy. Where neither can be read it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CONTENDED = 0.2
"""From this figure on times and rates are not to be trusted: alone on its machine a case shows 0.01 to 0.05."""
OTHERS = 0.05
"""Share of the usable CPUs that others must have taken before waiting is laid at their door."""
SATURATED = 0.95
PRESSURE, CPU_TIME, STEAL, UNKNOWN = "pressure", "CPU time", "stolen time", "unknown"


WORDS = {
    PRESSURE: "tasks waited for a CPU",
    CPU_TIME: "other processes held the CPUs",
    STEAL: "the hypervisor took the CPUs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """`share` of the measured time, and where it was read; None where nothing could be."""

    share: float | None
    source: str
    others: float | None = None
    """Share of the usable CPUs that processes outside of the measured tree took, the sampler's own left out."""

    def beyond(self, bound: float) -> bool:
        """Whether it reaches `bound` and others are to blame, as far as that is known; never where nothing is."""
        return self.share is not None and self.share >= bound and (self.others is None or self.others >= OTHERS)

    @property
    def words(self) -> str:
        """'tasks waited for a CPU 96 % of the measured time'."""
        if self.share is None:
            return "contention is not known here"
        return f"{WORDS[self.source]} {self.share:.0%} of the measured time"


def contention_of(resources: Mapping[str, Any], *, cpus: float | None = None) -> Contention:
    """The figure of a summary; of a record's own resources, which keep it, that very figure."""
    kept = resources.get("contention")
    if isinstance(kept, Mapping):
        return Contention(**kept)
    others = _others(resources, cpus)
    stolen = _mean(resources, "stolen_cores")
    candidates = [
        Contention(share=share, source=source, others=others)
        for share, source in (
            (_mean(resources, "psi_cpu_some_share"), PRESSURE),
            (_taken(resources, cpus, others), CPU_TIME),
        )
        if share is not None
    ][:1]
    if stolen is not None and cpus:
        candidates.append(Contention(share=stolen / cpus, source=STEAL))
    return max(candidates, key=lambda one: one.share or 0.0, default=Contention(share=None, source=UNKNOWN))


def _taken(resources: Mapping[str, Any], cpus: float | None, others: float | None) -> float | None:
    """What others took where all CPUs were busy: 0 while some were idle."""
    busy = _mean(resources, "busy_cores")
    if busy is None or others is None or not cpus:
        return None
    return others if busy >= SATURATED * cpus else 0.0


def _others(resources: Mapping[str, Any], cpus: float | None) -> float | None:
    busy, own = _mean(resources, "busy_cores"), _mean(resources, "cpu_cores")
    if busy is None or own is None or not cpus:
        return None
    sampler = resources.get("sampler", {}).get("share") or 0.0
    return max(0.0, busy - own - sampler) / cpus


def _mean(resources: Mapping[str, Any], name: str) -> float | None:
    value = resources.get("quantities", {}).get(name, {}).get("mean")
    return None if value is None else float(value)
