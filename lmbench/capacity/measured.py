"""What stored records tell of one option: the newest of each workload joined into a Replica, and checked on rates left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmbench.base.entry import ENDPOINT
from lmbench.base.errors import SubjectError
from lmbench.base.registry import MODELS
from lmbench.capacity.nouns import BackTest, Replica
from lmbench.capacity.plan_file import Option
from lmbench.capacity.simulate import Shard, simulate
from lmbench.record.record import FULL, OK, Record
from lmbench.store.imports import record_digest

FEW_REQUESTS = 30
"""A step of fewer says too little of its p95."""
SLOTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
LANES, ARRIVALS = 32, 2000
STEADY = 0.95
"""Busy share above which a step of seconds is not in a steady state, so that a queue's formula says nothing of it."""
NOT_STEPS = ("recovery", "spike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record, where it was read, and the memory of the machine it was measured on."""

    record: Record
    origin: str = ""
    memory_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate of a stress run: its completed requests' times in seconds."""

    rate: float
    latency_s: tuple[float, ...]
    service_s: tuple[float, ...]
    first_token_s: tuple[float, ...]
    output_tokens: tuple[float, ...]
    below_knee: bool
    kept: bool
    """Whether it kept the SLO it was measured under."""


def replica(name: str, option: Option, sources: Sequence[Source]) -> Replica:
    """The option as its records show it; SubjectError when no stress record tells of it."""
    found = _newest(option, sources)
    if "stress" not in found:
        seen = sorted({_axes(source.record) for source in sources if source.record.case.workload == "stress"})
        raise SubjectError(
            f"option {name!r}: found no stored stress record of {option.model} / {option.backend} / {option.compression}"
            f"{f' on {option.machine_class}' if option.machine_class else ''}; there are: {'; '.join(seen) or 'none'}; "
            "run a stress suite with --benchmark-autosave, or correct the option"
        )
    stress = found["stress"].record
    steps = _steps(stress)
    slots, service, reasons = _service(stress, steps)
    known = [step for step in steps if step.below_knee] or steps
    prompt = _length(stress, "prompt_tokens")
    output = _mean([one for step in known for one in step.output_tokens])
    return Replica(
        option=name,
        slots=slots,
        service_s=service,
        first_token_s=tuple(one for step in known for one in step.first_token_s)
        if not _is_endpoint(stress)
        else known[0].first_token_s,
        prompt_tokens=prompt,
        output_tokens=output,
        rates=tuple(step.rate for step in steps if step.kept) or (steps[0].rate,),
        max_rate=_value(stress, "max_sustainable_rate"),
        backtests=tuple(backtests(stress, steps)),
        bottleneck=str((stress.details.get("bottleneck") or {}).get("resource") or ""),
        machine_class=stress.machine_class,
        sources=tuple(sorted(f"{one.origin} {record_digest(one.record)} ({kind})".strip() for kind, one in found.items())),
        memory_bytes=found["stress"].memory_bytes,
        **_others(found, sources, option, reasons),
    )


def backtests(stress: Record, steps: Sequence[Step]) -> list[BackTest]:
    """Each rate predicted from all others, where enough requests were seen and others are left to learn from."""
    tests = []
    for held_out in steps:
        others = [step for step in steps if step is not held_out and step.below_knee]
        if len(held_out.latency_s) < FEW_REQUESTS or len(others) < 2 or not held_out.below_knee:
            continue
        slots, service, _ = _service(stress, others)
        predicted = _quantiles(service, slots, held_out.rate)
        if predicted is None:
            continue
        tests.append(
            BackTest(
                rate=held_out.rate,
                measured_p95_s=float(np.quantile(held_out.latency_s, 0.95)),
                predicted_p95_s=predicted[1],
                requests=len(held_out.latency_s),
                below_knee=held_out.below_knee,
            )
        )
    return tests


def _newest(option: Option, sources: Sequence[Source]) -> dict[str, Source]:
    matching = sorted((one for one in sources if _matches(option, one.record)), key=lambda one: one.record.started_at)
    stress = [one for one in matching if one.record.case.workload == "stress" and option.case in (None, one.record.case.name)]
    if not stress:
        return {}
    found = {one.record.case.workload: one for one in matching if _alike(one.record, stress[-1].record)}
    return {**found, "stress": stress[-1]}


def _alike(one: Record, other: Record) -> bool:
    """The same subject on the same class of machine: what one tells holds for the other."""
    axes = ("model", "backend", "compression")
    return one.machine_class == other.machine_class and all(getattr(one.case, axis) == getattr(other.case, axis) for axis in axes)


def _matches(option: Option, record: Record) -> bool:
    case = record.case
    wanted = ((option.model, case.model), (option.backend, case.backend), (option.compression, case.compression))
    return (
        record.status == OK
        and record.mode == FULL
        and all(name in (choice.name, choice.kind) for name, choice in wanted)
        and option.machine_class in (None, record.machine_class)
        and option.suite in (None, case.suite)
    )


def _axes(record: Record) -> str:
    case = record.case
    return f"{case.model.name} / {case.backend.name} / {case.compression.name}"


def _is_endpoint(record: Record) -> bool:
    entry = MODELS.get(record.case.model.kind)
    return entry is not None and entry.form == ENDPOINT


def _steps(stress: Record) -> list[Step]:
    """The steps that tried a rate and were not cut short, by rate; the knee is the lowest rate that did not keep its SLO."""
    columns = stress.details["requests"]
    rows = [
        row
        for row in stress.details["steps"]
        if row["kind"] not in NOT_STEPS and not row["cut"] and row["streams"] is None and row["offered_rate"] > 0
    ]
    bend = stress.metrics["knee_rate"].value if "knee_rate" in stress.metrics else None
    broke = [row["offered_rate"] for row in rows if not row["slo_met"]]
    knee = min([*broke, *([bend] if bend else [])], default=math.inf)
    found = [_step(row, columns, below_knee=row["offered_rate"] < knee, kept=bool(row["slo_met"])) for row in rows]
    steps = sorted((step for step in found if step.latency_s), key=lambda step: step.rate)
    if not steps:
        raise SubjectError("the stress record has no completed request in any step of a steady rate; measure a ramp or a search")
    return steps


def _step(row: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], *, below_knee: bool, kept: bool) -> Step:
    chosen = [
        place
        for place, (step, status) in enumerate(zip(columns["step"], columns["status"], strict=True))
        if step == row["index"] and status == "completed" and columns["started"][place] is not None
    ]

    def times(end: str, start: str) -> tuple[float, ...]:
        pairs = ((columns[end][place], columns[start][place]) for place in chosen)
        return tuple(float(last - first) for last, first in pairs if last is not None and first is not None)

    return Step(
        rate=float(row["offered_rate"]),
        latency_s=times("finished", "scheduled"),
        service_s=times("finished", "started"),
        first_token_s=times("first_token", "started"),
        output_tokens=tuple(float(columns["tokens"][place]) for place in chosen),
        below_knee=below_knee,
        kept=kept,
    )


def _service(stress: Record, steps: Sequence[Step]) -> tuple[int, tuple[float, ...], dict[str, str]]:
    """(slots, service times, how they were found): as measured of a subject in process, fitted of an endpoint."""
    known = [step for step in steps if step.below_knee] or list(steps[:1])
    if not _is_endpoint(stress):
        params = stress.case.params
        slots = int(params.get("workers", 1)) * int(params.get("batch_size", 1))
        why = (
            {} if slots == int(params.get("workers", 1)) else {"slots": "workers times batch size: batches are taken to be full"}
        )
        return slots, tuple(one for step in known for one in step.service_s), why
    service = known[0].latency_s
    errors = {slots: _misfit(service, slots, known) for slots in SLOTS}
    slots = min(errors, key=lambda one: (errors[one], one))
    reason = (
        f"fitted: requests served at once that explain the measured latencies best (mean error {math.expm1(errors[slots]):.0%})"
    )
    return slots, service, {"slots": reason, "service_s": f"latencies at {known[0].rate:.4g} requests/s, where little waits"}


def _misfit(service: Sequence[float], slots: int, steps: Sequence[Step]) -> float:
    """Mean |ln(predicted / measured)| of p50 and p95 over the steps; infinite where the queue would have no steady state."""
    found = []
    for step in steps:
        predicted = _quantiles(service, slots, step.rate)
        if predicted is None:
            return math.inf
        for value, share in zip(predicted, (0.5, 0.95), strict=True):
            found.append(abs(math.log(value / float(np.quantile(step.latency_s, share)))))
    return float(np.mean(found))


def _quantiles(service: Sequence[float], slots: int, rate: float) -> tuple[float, float] | None:
    """Predicted p50 and p95 of the latency at `rate`, in seconds; None without a steady state."""
    times = np.asarray(service)
    if rate * times.mean() / slots > STEADY:
        return None
    shard = Shard(replicas=1, slots=slots, policy="random")
    found = simulate(shard, np.full(LANES, rate), lambda rng, shape: rng.choice(times, size=shape), arrivals=ARRIVALS, seed=0)
    p50, p95 = np.quantile(found.latency_s, [0.5, 0.95])
    return float(p50), float(p95)


def _others(found: Mapping[str, Source], sources: Sequence[Source], option: Option, reasons: Mapping[str, str]) -> dict[str, Any]:
    """What the other workloads know, newest first; each None with its reason."""
    why = dict(reasons)
    values: dict[str, Any] = {}
    wanted = {
        "perplexity_ratio": ("perplexity_ratio", tuple(found)),
        "weights_bytes": ("weights_bytes", ("memory", *found)),
        "state_bytes_per_token": ("state_bytes_per_token", ("memory",)),
        "peak_rss_bytes": ("peak_rss_bytes", ("memory", "latency", *found)),
        "cold_start_s": ("cold_start_mean_s", ("cold_start",)),
        "joules_per_token": ("energy_per_token_j", ("latency", "throughput", "scoring", *found)),
    }
    for key, (metric, workloads) in wanted.items():
        known = [_value(found[name].record, metric) for name in workloads if name in found]
        values[key] = next((value for value in known if value is not None), None)
        if values[key] is None:
            why[key] = f"no record of {' or '.join(dict.fromkeys(workloads))} tells {metric}"
    alike = [one.record for one in sources if _matches(option, one.record) and _alike(one.record, found["stress"].record)]
    values["scaling"], told = _scaling(alike)
    if told:
        why["scaling"] = told
    return {**values, "reasons": why}


def _scaling(records: Sequence[Record]) -> tuple[dict[str, float], str]:
    """Service time by lengths, from latency records: a line through prefills of several lengths, and a decode step's time."""
    latency = sorted((one for one in records if one.case.workload == "latency"), key=lambda one: one.started_at)
    seen = {one.case.params["prompt_tokens"]: one for one in latency}.values()
    points = [
        (float(record.case.params["prompt_tokens"]), prefill, decode)
        for record in seen
        if (prefill := _value(record, "prefill_p50_s")) is not None and (decode := _value(record, "decode_p50_s")) is not None
    ]
    if not points:
        return {}, "no latency record"
    lengths, prefills = np.array([point[0] for point in points]), np.array([point[1] for point in points])
    decode = float(np.mean([point[2] for point in points]))
    if len(set(lengths)) == 1:
        line = {"fixed_s": 0.0, "prompt_s_per_token": float(prefills.mean() / lengths[0])}
        return {
            **line,
            "output_s_per_token": decode,
        }, "one prompt length was measured: time is taken to be proportional to it"
    slope, fixed = np.polyfit(lengths, prefills, 1)
    return {"fixed_s": max(0.0, float(fixed)), "prompt_s_per_token": max(0.0, float(slope)), "output_s_per_token": decode}, ""


def _length(stress: Record, which: str) -> float | None:
    drawn = (stress.details.get("asks") or {}).get("drawn") or {}
    told = drawn.get(which) or {}
    for value in (told.get("mean"), stress.case.params.get(which)):
        if isinstance(value, int | float):
            return float(value)
    return None


def _value(record: Record, metric: str) -> float | None:
    found = record.metrics.get(metric)
    return None if found is None else found.value


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
