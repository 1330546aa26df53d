"""What the sampler saw, and its summary: pure arithmetic on rows, no process and no clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from lmbench.measure.devices import UsedDevices
from lmbench.measure.energy import energy
from lmbench.measure.series import Pair, decimated, deltas, pairs, rates, spread

GAUGES = (
    "rss_bytes",
    "uss_bytes",
    "threads",
    "processes",
    "loadavg_1m",
    "cgroup_memory_bytes",
    "psi_cpu_some_avg10",
    "psi_memory_some_avg10",
    "psi_io_some_avg10",
)
"""Quantities that have a value at each moment; psi_*_avg10 are percents as the kernel gives them."""
RATES = {
    "cpu_s": "cpu_cores",
    "steal_s": "stolen_cores",
    "busy_s": "busy_cores",
    "psi_cpu_some_s": "psi_cpu_some_share",
    "psi_memory_some_s": "psi_memory_some_share",
    "psi_io_some_s": "psi_io_some_share",
    "voluntary_switches": "voluntary_switches_per_s",
    "involuntary_switches": "involuntary_switches_per_s",
    "cgroup_throttled_s": "throttled_share",
}
"""Counter -> the name of its growth per second."""
COUNTERS = (*RATES, "cgroup_throttled_periods")
DEVICE_GAUGES = (
    "utilization",
    "memory_used_bytes",
    "tree_memory_bytes",
    "power_w",
    "sm_clock_hz",
    "memory_clock_hz",
    "temperature_c",
)
TIMELINE = ("cpu_cores", "rss_bytes", "psi_cpu_some_share")
GAP = 1.5
"""A sample is late when it comes more than this many periods after the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Raw rows in order of time; `t` is on CLOCK's scale. `problem` says why there are none or the end is missing."""

    header: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    footer: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @property
    def period_s(self) -> float:
        return 1.0 / float(self.header.get("hz", 20.0))


def parse(lines: Iterable[str], problem: str = "") -> Samples:
    """Samples from the sampler's lines; a last line cut short by a kill is left out."""
    header: dict[str, Any] = {}
    footer: dict[str, Any] = {}
    rows = []
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if value.get("kind") == "header":
            header = value
        elif value.get("kind") == "footer":
            footer = value
        else:
            rows.append(value)
    if not footer and not problem:
        problem = "the sampler was killed: its last samples may be missing"
    return Samples(header=header, rows=tuple(rows), footer=footer, problem=problem)


def summary(
    samples: Samples, *, start: float | None = None, end: float | None = None, used: UsedDevices | None = None
) -> dict[str, Any]:
    """Plain JSON about the window [start, end] (CLOCK seconds; default: all samples). Energy is of the devices `used`.

    quantities: {n, min, mean, max} of each gauge and rate over the window's samples, mean unweighted.
    totals: growth of each counter, interpolated linearly at the window's edges.
    gpu: one entry per device, or None with gpu_reason.
    """
    rows = samples.rows
    if not rows:
        reason = samples.problem or "no samples were taken"
        return {"window": None, "problem": reason, "gpu": None, "gpu_reason": samples.header.get("gpu_reason", reason)}
    start = float(rows[0]["t"]) if start is None else start
    end = float(rows[-1]["t"]) if end is None else end
    inside = [row for row in rows if start <= row["t"] <= end]
    counters = {name: pairs(rows, name) for name in COUNTERS}
    gauges = {name: pairs(inside, name) for name in GAUGES}
    gauges |= {label: rates(pairs(inside, name)) for name, label in RATES.items()}
    devices = _devices(samples, inside)
    return {
        "window": {"start": start, "end": end, "wall_s": end - start, "samples": len(inside), "hz": 1 / samples.period_s},
        "quantities": {name: spread(series) for name, series in gauges.items() if series},
        "totals": {name: deltas(series, start, end) for name, series in counters.items() if series},
        "energy": energy(samples.header, rows, start, end, used),
        "gaps": gaps([row["t"] for row in inside], samples.period_s),
        "sampler": own_cost(rows),
        "gpu": devices,
        "gpu_reason": samples.header.get("gpu_reason", ""),
        "limits": samples.header.get("limits", {}),
        "reasons": {**samples.header.get("reasons", {}), **samples.footer.get("reasons", {})},
        "problem": samples.problem,
        "timeline": _timeline(gauges, inside, start),
    }


def gaps(moments: Sequence[float], period_s: float) -> dict[str, float]:
    """Samples later than 1.5 periods after their predecessor: how many, the longest interval, samples lost."""
    late = [after - before for before, after in pairwise(moments) if after - before > GAP * period_s]
    lost = sum(max(round(interval / period_s) - 1, 0) for interval in late)
    return {"count": len(late), "longest_s": max(late, default=0.0), "lost_samples": lost}


def own_cost(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The sampler's CPU seconds, start-up apart, and as a share of wall time and per sample."""
    cost = pairs(rows, "own_cpu_s")
    if len(cost) < 2:
        return {"cpu_s": None, "share": None, "cpu_s_per_sample": None, "start_cpu_s": cost[0][1] if cost else None}
    spent, wall = cost[-1][1] - cost[0][1], cost[-1][0] - cost[0][0]
    share = spent / wall if wall > 0 else None
    return {"cpu_s": spent, "share": share, "cpu_s_per_sample": spent / (len(cost) - 1), "start_cpu_s": cost[0][1]}


def _devices(samples: Samples, inside: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    facts = samples.header.get("devices")
    if facts is None:
        return None
    endings = samples.footer.get("devices", [])
    found = []
    for index, fact in enumerate(facts):
        rows = device_rows(inside, index)
        masks = [int(row["throttle_reasons"]) for row in rows if "throttle_reasons" in row]
        ending = endings[index] if index < len(endings) else {"lost": "", "reasons": {}}
        series = {name: pairs(rows, name) for name in DEVICE_GAUGES}
        found.append(
            {
                **fact,
                "quantities": {name: spread(values) for name, values in series.items() if values},
                "throttled_samples": _count_bits(masks),
                **ending,
            }
        )
    return found


def device_rows(rows: Sequence[Mapping[str, Any]], index: int) -> list[Mapping[str, Any]]:
    """The rows of one device, each with the time of its sample."""
    return [{"t": row["t"], **row["devices"][index]} for row in rows if len(row.get("devices", ())) > index]


def _count_bits(masks: Sequence[int]) -> dict[str, int]:
    from lmbench.measure.probes.nvml import throttle_names

    counts: dict[str, int] = {}
    for mask in masks:
        for name in throttle_names(mask):
            counts[name] = counts.get(name, 0) + 1
    return counts


def _timeline(
    gauges: Mapping[str, Sequence[Pair]], inside: Sequence[Mapping[str, Any]], start: float
) -> dict[str, list[list[float]]]:
    series: dict[str, Sequence[Pair]] = {name: gauges[name] for name in TIMELINE}
    count = max((len(row.get("devices", ())) for row in inside), default=0)
    for index in range(count):
        rows = device_rows(inside, index)
        series |= {f"gpu{index}_{name}": pairs(rows, name) for name in ("utilization", "memory_used_bytes", "power_w")}
    return {name: decimated(values, start) for name, values in series.items() if values}
