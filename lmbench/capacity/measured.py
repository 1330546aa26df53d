"""What stored records tell of one option: the newest of each workload, and some runs of its load, joined into a Replica."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lmbench.base.errors import SubjectError
from lmbench.capacity.matching import Source, absent, alike, failing, matches, newest, started
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan_file import Option
from lmbench.capacity.promised import steady
from lmbench.capacity.stressed import StressRun, backtests, discipline_of, stress_run
from lmbench.record.record import Record
from lmbench.store.imports import record_digest

MOST_RUNS = 5
"""Stress runs that are used, the newest: older ones tell of an older machine."""


def replica(name: str, option: Option, sources: Sequence[Source]) -> Replica:
    """The option as its records show it; SubjectError when no stress record tells of it."""
    found = _newest(option, sources)
    if "stress" not in found:
        raise SubjectError(f"option {name!r}: {absent('stress', option, sources)}")
    older = _older(found["stress"], option, sources)
    runs = [*(run for _, run in older), stress_run(found["stress"].record)]
    now, stress = runs[-1], runs[-1].record
    serves, reasons = discipline_of(now)
    known, unknown = steady(runs)
    first_token = tuple(run.first_token_s for run in runs)
    used = [*((one, "stress") for one, _ in older), *((one, kind) for kind, one in found.items())]
    others, missing = _others(found, sources, option)
    return Replica(
        option=name,
        slots=serves.slots,
        shared=serves.shared,
        service_s=tuple(run.service_s for run in runs),
        first_token_s=first_token if all(first_token) else (),
        prompt_tokens=_length(stress, "prompt_tokens"),
        output_tokens=_mean([one for step in now.calm for one in step.output_tokens]),
        rates=tuple(step.rate for step in now.steps if step.kept) or (now.steps[0].rate,),
        max_rate=_value(stress, "max_sustainable_rate"),
        steady=known,
        late_client_s=now.late_s,
        backtests=tuple(backtests(now, runs[:-1])),
        bottleneck=str((stress.details.get("bottleneck") or {}).get("resource") or ""),
        machine_class=stress.machine_class,
        sources=tuple(sorted(f"{one.origin} {record_digest(one.record)} ({kind})".strip() for one, kind in used)),
        memory_bytes=found["stress"].memory_bytes,
        reasons={**reasons, **unknown, **missing},
        failing=tuple(filter(None, (failing(one, sources) for one in found.values()))),
        **others,
    )


def _newest(option: Option, sources: Sequence[Source]) -> dict[str, Source]:
    stress = newest("stress", option, sources)
    if stress is None:
        return {}
    matching = sorted((one for one in sources if matches(option, one.record)), key=started)
    found = {one.record.case.workload: one for one in matching if alike(one.record, stress.record)}
    return {**found, "stress": stress}


def _older(stress: Source, option: Option, sources: Sequence[Source]) -> list[tuple[Source, StressRun]]:
    """Earlier runs of the same declared case on the same class of machine, rising; ones without a steady rate are left out."""
    same = {
        record_digest(one.record): one
        for one in sources
        if one.record.case.digest == stress.record.case.digest
        and matches(option, one.record)
        and alike(one.record, stress.record)
    }
    same.pop(record_digest(stress.record), None)
    found: list[tuple[Source, StressRun]] = []
    for one in sorted(same.values(), key=started, reverse=True):
        try:
            found.append((one, stress_run(one.record)))
        except SubjectError:
            continue
        if len(found) == MOST_RUNS - 1:
            break
    return found[::-1]


def _others(found: Mapping[str, Source], sources: Sequence[Source], option: Option) -> tuple[dict[str, Any], dict[str, str]]:
    """(what the other workloads know, newest first; why each of it that is None is not known)."""
    why: dict[str, str] = {}
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
    same = [one.record for one in sources if matches(option, one.record) and alike(one.record, found["stress"].record)]
    values["scaling"], told = _scaling(same)
    if told:
        why["scaling"] = told
    return values, why


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
