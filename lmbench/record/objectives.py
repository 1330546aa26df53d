"""The objectives that a record was measured under, as its details hold them; older records keep them in other places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.measure.objectives import DERIVED, KEY, PINNED, Objective, Pin
from lmbench.record.record import Record

UNSAID = "its source was not recorded"
_LIMITS = ("ttft_s", "tpot_s", "latency_s", "attainment")


def objectives_of(record: Record) -> dict[str, Objective]:
    """By name; empty for a record of a workload without any."""
    table = record.details.get(KEY)
    if isinstance(table, Mapping):
        return {str(name): _objective(str(name), entry) for name, entry in table.items() if isinstance(entry, Mapping)}
    values = {**_slo(record.details), **_ladder(record), **_loadgen(record.details)}
    return {name: Objective(name=name, value=value, source=UNSAID) for name, value in values.items()}


def pins_of(record: Record, run: str) -> dict[str, Pin]:
    """What later runs of the case must use: all that the suite does not give. `run` names the run that the record is of."""
    return {
        name: Pin(value=one.value, run=one.run if one.source == PINNED else run)
        for name, one in objectives_of(record).items()
        if one.source in (PINNED, DERIVED, UNSAID)
    }


def own_pins(record: Record) -> dict[str, Pin]:
    """What another run of the case in the same session must use: the very objectives of `record`."""
    return {
        name: Pin(value=one.value, run=one.run) for name, one in objectives_of(record).items() if one.source in (PINNED, DERIVED)
    }


def _objective(name: str, entry: Mapping[str, Any]) -> Objective:
    return Objective(
        name=name,
        value=float(entry.get("value", 0.0)),
        source=str(entry.get("source", "")),
        run=str(entry.get("run", "")),
        metrics=tuple(map(str, entry.get("metrics", ()))),
    )


def _slo(details: Mapping[str, Any]) -> dict[str, float]:
    slo = details.get("slo")
    return _numbers(slo, "slo") if isinstance(slo, Mapping) else {}


def _ladder(record: Record) -> dict[str, float]:
    """The first rate of a ramp that no shape and no trace declares."""
    params, steps = record.case.params, record.details.get("steps")
    if record.case.workload != "stress" or params.get("shape") or params.get("trace") or not isinstance(steps, list) or not steps:
        return {}
    rate = steps[0].get("rate") if isinstance(steps[0], Mapping) else None
    return {"start_rate": float(rate)} if isinstance(rate, (int, float)) else {}


def _loadgen(details: Mapping[str, Any]) -> dict[str, float]:
    """Of LoadGen's Server scenario, the only one with an offered rate and limits."""
    found = details.get("mlperf")
    if not isinstance(found, Mapping) or found.get("scenario") != "Server":
        return {}
    limits = found.get("limits")
    qps = found.get("qps")
    rate = {"target_qps": float(qps)} if isinstance(qps, (int, float)) else {}
    return rate | (_numbers(limits, "target") if isinstance(limits, Mapping) else {})


def _numbers(table: Mapping[str, Any], under: str) -> dict[str, float]:
    return {f"{under}.{name}": float(table[name]) for name in _LIMITS if isinstance(table.get(name), (int, float))}
