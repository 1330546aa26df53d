"""Energy of a window from counters where there are any, from polled power only where there is nothing better.

NVML's energy counter is integrated in the device; polled power misses everything between two samples
(Yang, Adamek, Armour 2024, "Part-time Power Measurements: nvidia-smi's Lack of Attention").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.measure.devices import UsedDevices
from lmbench.measure.series import deltas, integral, pairs

COUNTER = "energy counter"
POLLED = "integral of polled power"
SILENT_PERIODS = 4.0
"""A device whose last answer is more than this many periods older than the last sample was lost on the way."""


def energy(
    header: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    start: float,
    end: float,
    used: UsedDevices | None = None,
) -> dict[str, Any]:
    """{total_j, covers, parts, reason, note}: joules from `start` to `end`.

    `parts` has one entry per source {source, j, method, reason, counted}; `total_j` adds those that are known and counted, and
    `covers` names them. It is None when none is known, and then `reason` says why. The package is counted always, and is that of
    the whole machine; a device only where it was `used` (default, or where that is not known: all of them, and `note` says so).
    """
    parts = [{**_package(header, rows, start, end), "counted": True}]
    for index in range(len(header.get("devices") or ())):
        counted = used is None or used.indices is None or index in used.indices
        parts.append({**_whole(_device(rows, index, start, end), header, rows, index, end), "counted": counted})
    own = [part for part in parts if part["counted"]]
    known = [part for part in own if part["j"] is not None]
    missing = "; ".join(f"{part['source']}: {part['reason']}" for part in own if part["j"] is None)
    if header.get("devices") is None:
        missing = "; ".join(text for text in (missing, header.get("gpu_reason", "")) if text)
    total = sum(part["j"] for part in known) if known else None
    covers, note = [part["source"] for part in known], "" if used is None else used.note
    return {"total_j": total, "covers": covers, "parts": parts, "reason": missing, "note": note}


def _package(header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], start: float, end: float) -> dict[str, Any]:
    counter = pairs(rows, "rapl_j")
    if len(counter) < 2:
        reason = header.get("reasons", {}).get("rapl_j", "fewer than two RAPL samples")
        return {"source": "package", "j": None, "method": None, "reason": reason}
    return {"source": "package", "j": deltas(counter, start, end), "method": COUNTER, "reason": ""}


def _whole(
    part: dict[str, Any], header: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], index: int, end: float
) -> dict[str, Any]:
    """The part, or without its joules when the device fell silent before the window's end."""
    if part["j"] is None:
        return part
    answered = max(row["t"] for row in rows if len(row.get("devices", ())) > index and row["devices"][index])
    silent = min(end, rows[-1]["t"]) - answered
    if silent <= SILENT_PERIODS / float(header.get("hz", 20.0)):
        return part
    return {**part, "j": None, "method": None, "reason": f"the device fell silent {silent:.1f} s before the end"}


def _device(rows: Sequence[Mapping[str, Any]], index: int, start: float, end: float) -> dict[str, Any]:
    own = [{"t": row["t"], **row["devices"][index]} for row in rows if len(row.get("devices", ())) > index]
    counter, power = pairs(own, "energy_j"), pairs(own, "power_w")
    part: dict[str, Any] = {"source": f"gpu{index}", "j": None, "method": None, "reason": ""}
    if len(counter) >= 2:
        return {**part, "j": deltas(counter, start, end), "method": COUNTER}
    if len(power) >= 2:
        return {**part, "j": integral(power, start, end), "method": POLLED}
    return {**part, "reason": "the device gives neither an energy counter nor its power"}
