"""Bound by compute or by bandwidth, and how far from the roof: phases of a record against its machine's measured ceilings.

A phase takes no less than flops / peak, and no less than bytes / bandwidth (Williams, Waterman & Patterson 2009). The larger of
the two shares of its time says which roof is above it, and how close it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmbench.measure.ceilings import Ceilings
from lmbench.record.record import FULL, OK, Record

COMPUTE, BANDWIDTH = "compute", "bandwidth"
PHASES = {
    "training_step": (("step", "step_p50_s", "mfu", None),),
    "scoring": (("pass", "latency_p50_s", "mfu", None),),
    "latency": (("prefill", "prefill_p50_s", "mfu", None), ("decode step", "decode_p50_s", None, "mbu")),
}
"""Workload -> (phase, its time, the metric that is its share of the compute roof, and of the bandwidth roof)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One phase under the roofs. Shares of the time that the roof alone would take; None where not known."""

    node_id: str
    phase: str
    seconds: float
    compute_share: float | None
    bandwidth_share: float | None
    bound: str | None
    """The roof it is closer to, where both shares are known."""
    reason: str = ""

    @property
    def distance(self) -> float | None:
        """How many times faster the nearer roof would allow; None when neither is known."""
        known = [share for share in (self.compute_share, self.bandwidth_share) if share]
        return 1 / max(known) if known else None


def roofline(record: Record, ceilings: Ceilings | None) -> list[Point]:
    """The phases of a record. Without the ceilings of its machine only what the record itself holds is known.

    What is missing is bounded from below: a pass reads all weights at least once, a decode step multiplies each of them once.
    """
    if record.status != OK or record.mode != FULL:
        return []
    found = []
    for phase, time, compute, bandwidth in PHASES.get(record.case.workload, ()):
        seconds = _value(record, time)
        if seconds is None or seconds <= 0:
            continue
        flops, size = _value(record, compute), _value(record, bandwidth)
        reason = "" if ceilings else "the ceilings of its machine class are not known here: run `lmbench ceilings` there"
        if ceilings is not None and size is None:
            size = _least_bandwidth(record, seconds, ceilings)
        if ceilings is not None and flops is None:
            flops = _least_compute(record, seconds, ceilings)
        both = flops is not None and size is not None
        bound = None if not both else COMPUTE if (flops or 0) >= (size or 0) else BANDWIDTH
        found.append(
            Point(
                node_id=record.case.node_id,
                phase=phase,
                seconds=seconds,
                compute_share=flops,
                bandwidth_share=size,
                bound=bound,
                reason=reason,
            )
        )
    return found


def _least_bandwidth(record: Record, seconds: float, ceilings: Ceilings) -> float | None:
    weights = _value(record, "weights_bytes")
    peak = ceilings.memory_bytes_per_s
    return None if weights is None or not peak else weights / seconds / peak


def _least_compute(record: Record, seconds: float, ceilings: Ceilings) -> float | None:
    parameters = (record.subject.get("facts") or {}).get("parameters")
    peak = ceilings.matmul_flops.get("fp32")
    if not isinstance(parameters, int) or not peak:
        return None
    batch = int(record.case.params.get("batch", 1))
    return 2 * parameters * batch / seconds / peak


def _value(record: Record, name: str | None) -> float | None:
    found = None if name is None else record.metrics.get(name)
    return None if found is None else found.value
