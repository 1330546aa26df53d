"""Records of options whose truth is known: a simulated service in virtual time, and what the other workloads would have told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from lmbench.capacity.matching import Source
from lmbench.load.ramp import Ramp
from lmbench.load.requests import Request
from lmbench.measure.measurement import metric
from lmbench.plan.case import Case, Choice
from lmbench.record.record import Record
from lmbench.suite.params import Slo
from tests.workloads.simulated import virtual

GIB = float(1 << 30)


def case(workload: str, compression: str, params: Mapping[str, Any], kind: str = "decoder") -> Case:
    return Case(
        suite="suites/plan.suite.yaml",
        name=workload,
        workload=workload,
        params=params,
        model=Choice(name="gpt", kind=kind),
        backend=Choice(name="torch", kind="torch"),
        compression=Choice(name=compression, kind=compression),
        corpus={"source": "python-reference"},
    )


def record(workload: str, compression: str, params: Mapping[str, Any], metrics: Mapping[str, float], **more: Any) -> Record:
    return Record(
        case=case(workload, compression, params, more.pop("kind", "decoder")),
        status="ok",
        started_at=more.pop("at", "2026-01-01T00:00:00+00:00"),
        wall_s=1.0,
        environment="e",
        machine_class="m",
        metrics={name: metric(name, value) for name, value in metrics.items()},
        **more,
    )


def service_times(mean_s: float, scv: float, seed: int = 7, fails_each: int = 0) -> Any:
    """Gamma service times of this mean and squared coefficient of variation, one per request number; constant for scv 0.

    Every `fails_each`-th request fails.
    """
    drawn = np.random.default_rng(seed).gamma(1 / scv, mean_s * scv, size=200_000) if scv else np.full(1, mean_s)

    def of(request: Request) -> float:
        bad = fails_each and request.index % fails_each == fails_each - 1
        return float(drawn[request.index % len(drawn)]) * (-1 if bad else 1)

    return of


@cache
def stress(
    compression: str = "none",
    *,
    mean_s: float = 0.01,
    scv: float = 0.25,
    workers: int = 1,
    start: float = 20.0,
    growth: float = 1.3,
    kind: str = "decoder",
    fails_each: int = 0,
    at: str = "2026-01-01T00:00:00+00:00",
) -> Record:
    """A ramp of 30 s steps against a service of known times, under 'latency within 10 service times for 95 %'."""
    ramp = Ramp(start_rate=start, growth=growth, max_steps=10, step_s=30.0, recovery_s=5.0)
    found = virtual(service_times(mean_s, scv, fails_each=fails_each), ramp=ramp, slo=Slo(latency_s=10 * mean_s), workers=workers)
    return Record(
        case=case("stress", compression, {"workers": workers, "prompt_tokens": 32, "output_tokens": 2}, kind),
        status="ok",
        started_at=at,
        wall_s=1.0,
        environment="e",
        machine_class="m",
        metrics=found.metrics,
        series=found.series,
        primary=found.primary,
        details=found.details,
        notes=found.notes,
    )


@cache
def sources(compression: str = "none", *, ratio: float = 1.0, cold_start_s: float = 3.0, **more: Any) -> list[Source]:
    """Everything a plan can use of one option."""
    mean_s = more.get("mean_s", 0.01)
    latency = {"prefill_p50_s": mean_s / 2, "decode_p50_s": mean_s / 2, "perplexity_ratio": ratio}
    memory = {"peak_rss_bytes": 1.5 * GIB, "weights_bytes": GIB, "state_bytes_per_token": 4096.0}
    records = [
        stress(compression, **more),
        record("latency", compression, {"prompt_tokens": 32, "output_tokens": 2}, latency),
        record("latency", compression, {"prompt_tokens": 64, "output_tokens": 2}, latency | {"prefill_p50_s": mean_s}),
        record("memory", compression, {}, memory),
        record("cold_start", compression, {}, {"cold_start_mean_s": cold_start_s}),
    ]
    return [Source(record=one, origin="run.json", memory_bytes=16 * GIB) for one in records]


def of_model(known: Iterable[Source], name: str) -> list[Source]:
    """The same, told of a model of another name."""

    def renamed(one: Record) -> Record:
        return replace(one, case=replace(one.case, model=replace(one.case.model, name=name)))

    return [replace(source, record=renamed(source.record)) for source in known]
