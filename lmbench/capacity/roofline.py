"""Bound by compute or by bandwidth, and how far from the roof: phases of a record against the ceilings it was measured beside.

A phase takes no less than flops / peak, and no less than bytes / bandwidth (Williams, Waterman & Patterson 2009). The larger of
the two shares of its time says which roof is nearer, and how near it is. Peaks are those of the phase's own number type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lmbench.measure.ceilings import command
from lmbench.record.record import FULL, OK, Record
from lmbench.workloads.arithmetic import weights_format

COMPUTE, BANDWIDTH = "compute", "bandwidth"
DECODE = "decode step"
PHASES = {
    "training_step": (("training step", "step_p50_s", "mfu", None),),
    "scoring": (("pass", "latency_p50_s", "mfu", None),),
    "latency": (("prefill", "prefill_p50_s", "mfu", None), (DECODE, "decode_p50_s", None, "mbu")),
}
"""Workload -> (phase, its time, the metric that is its share of the compute roof, and of the bandwidth roof)."""
NO_CEILINGS = "its record holds no ceilings: measure again with this version"
ABOVE = "above the measured ceiling: measure the ceilings again while nothing else runs, with `{command}`"
CACHED = f"{ABOVE} (or what it reads stays in a cache)"
FP32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofs:
    """Measured peaks: FLOP/s by number type ('fp32', 'bf16', 'int8'), bytes/s."""

    flops_per_s: Mapping[str, float]
    bytes_per_s: float | None
    measured_at: str
    threads: int | None = None
    """Threads that the kernels behind the peaks computed with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One phase under its roofs. Shares of the time that a roof alone would take; None where not known, which `reasons` tell."""

    node_id: str
    machine_class: str
    phase: str
    dtype: str
    """The number type whose peak is its compute roof."""
    threads: int | None = None
    """Threads of the kernels that its roofs were measured with."""
    seconds: float
    peak_flops_per_s: float | None
    peak_bytes_per_s: float | None
    flops: float | None
    bytes: float | None
    compute_share: float | None
    bandwidth_share: float | None
    least_flops: bool = False
    """Whether `flops` and `compute_share` are lower bounds."""
    least_bytes: bool = False
    """Whether `bytes` and `bandwidth_share` are lower bounds."""
    reasons: tuple[str, ...] = ()

    @property
    def bound(self) -> str | None:
        """The roof it is nearer to, where both shares are known."""
        if self.compute_share is None or self.bandwidth_share is None:
            return None
        return COMPUTE if self.compute_share >= self.bandwidth_share else BANDWIDTH

    @property
    def distance(self) -> float | None:
        """How many times faster the nearer roof would allow; None when neither is known."""
        known = [share for share in (self.compute_share, self.bandwidth_share) if share]
        return 1 / max(known) if known else None

    @property
    def most_distance(self) -> bool:
        """Whether the distance is an upper bound: the share it comes from is a lower one, or the only one that is known."""
        compute, bandwidth = self.compute_share or 0.0, self.bandwidth_share or 0.0
        return self.bound is None or (self.least_flops if compute >= bandwidth else self.least_bytes)

    @property
    def flops_per_s(self) -> float | None:
        return None if self.flops is None else self.flops / self.seconds

    @property
    def intensity(self) -> float | None:
        """FLOP/byte."""
        return None if self.flops is None or not self.bytes else self.flops / self.bytes


def roofs(record: Record) -> Roofs | None:
    """The ceilings that the record was measured beside; None where it holds none."""
    found = record.details.get("ceilings")
    if not isinstance(found, Mapping) or not isinstance(found.get("matmul_flops"), Mapping):
        return None
    peaks = {str(dtype): number for dtype, value in found["matmul_flops"].items() if (number := _positive(value))}
    return Roofs(
        flops_per_s=peaks,
        bytes_per_s=_positive(found.get("memory_bytes_per_s")),
        measured_at=str(found.get("measured_at") or ""),
        threads=threads if isinstance(threads := found.get("threads"), int) else None,
    )


def roofline(record: Record) -> list[Point]:
    """The phases of a record. Of one without ceilings only the shares that it holds itself are known.

    What is missing is bounded from below, where the record tells enough (see `_least_flops` and `_least_bytes`).
    """
    if record.status != OK or record.mode != FULL:
        return []
    above, dtype = roofs(record), _dtype(record)
    found = []
    for phase, time, compute, bandwidth in PHASES.get(record.case.workload, ()):
        seconds = _value(record, time)
        if seconds is not None and seconds > 0:
            found.append(_point(record, phase, seconds, (above, dtype), (compute, bandwidth)))
    return found


def newest_points(records: Iterable[Record]) -> list[Point]:
    """The phases of the newest full record of every case on every machine class, the furthest from its roof first."""
    newest: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (record.machine_class, record.case.node_id)
        if record.status == OK and record.mode == FULL and (key not in newest or newest[key].started_at <= record.started_at):
            newest[key] = record
    points = [point for key in sorted(newest) for point in roofline(newest[key])]
    return sorted(points, key=lambda point: -(point.distance or -math.inf))


def _point(
    record: Record, phase: str, seconds: float, roof: tuple[Roofs | None, str], metrics: tuple[str | None, str | None]
) -> Point:
    above, dtype = roof
    peak = above.flops_per_s.get(dtype) if above else None
    stream = above.bytes_per_s if above else None
    compute, bandwidth = (_value(record, name) for name in metrics)
    flops = compute * seconds * peak if compute is not None and peak else None
    size = bandwidth * seconds * stream if bandwidth is not None and stream else None
    least_flops, least_bytes = compute is None, bandwidth is None
    if least_flops and peak:
        flops = _least_flops(record, phase, peak)
        compute = None if flops is None else flops / seconds / peak
    if least_bytes and stream:
        size = _least_bytes(record)
        bandwidth = None if size is None else size / seconds / stream
    reasons = [NO_CEILINGS if above is None else "", *(_reason(record, name) for name in metrics)]
    reasons.append("" if peak or any(reasons) else f"no compute ceiling was measured for {dtype}")
    again = command(above.threads if above else None, refresh=True)
    reasons += [text.format(command=again) if (share or 0) > 1 else "" for text, share in ((ABOVE, compute), (CACHED, bandwidth))]
    return Point(
        node_id=record.case.node_id,
        machine_class=record.machine_class,
        phase=phase,
        dtype=dtype,
        threads=above.threads if above else None,
        seconds=seconds,
        peak_flops_per_s=peak,
        peak_bytes_per_s=stream,
        flops=flops,
        bytes=size,
        compute_share=compute,
        bandwidth_share=bandwidth,
        least_flops=least_flops and compute is not None,
        least_bytes=least_bytes and bandwidth is not None,
        reasons=tuple(dict.fromkeys(filter(None, reasons))),
    )


def _least_flops(record: Record, phase: str, peak: float) -> float | None:
    """A decode step computes at least what the prefill did per token: all that is done for a token, and logits for one."""
    prefill, share = _value(record, "prefill_p50_s"), _value(record, "mfu")
    tokens = record.case.params.get("prompt_tokens")
    if phase != DECODE or prefill is None or share is None or not isinstance(tokens, int) or tokens < 1:
        return None
    return share * prefill * peak / tokens


def _least_bytes(record: Record) -> float | None:
    """A pass reads all weights at least once; the optimizer reads every weight, gradient and its own state once."""
    if record.case.workload == "training_step":
        parameters = _value(record, "parameters")
        held = [_value(record, name) or 0.0 for name in ("gradient_bytes", "optimizer_bytes")]
        return None if parameters is None else FP32_BYTES * parameters + sum(held)
    facts = record.subject.get("facts") or {}
    return _value(record, "weights_bytes") if facts.get("reads_all_weights", True) else None


def _dtype(record: Record) -> str:
    """The number type whose peak the record's MFU is a share of."""
    if record.case.workload == "training_step":
        return "bf16" if str(record.case.params.get("precision", "")).startswith("bf16") else "fp32"
    return weights_format(record.subject)


def _reason(record: Record, name: str | None) -> str:
    """Why a share is not known that the workload was to measure."""
    found = None if name is None else record.metrics.get(name)
    return "" if found is None or found.value is not None else f"{name}: {found.reason}"


def _value(record: Record, name: str | None) -> float | None:
    found = None if name is None else record.metrics.get(name)
    return None if found is None else found.value


def _positive(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
