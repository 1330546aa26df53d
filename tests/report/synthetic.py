"""Made-up records of all workloads, alike in shape to real ones and equal on every run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.catalogue import METRICS
from lmbench.measure.measurement import Metric, as_mapping, metric
from lmbench.plan.case import Case, Choice
from lmbench.record.codec import to_json
from lmbench.record.record import Failure, Record

MACHINE = "linux-x86_64-2cpu"
MACHINE_ID = "Linux-CPython-3.11-64bit"
WORKLOADS = (
    "training_step",
    "data_parallel",
    "latency",
    "throughput",
    "scoring",
    "tasks",
    "cold_start",
    "memory",
    "stress",
    "mlperf",
)
ENVIRONMENT: Mapping[str, Any] = {
    "cpu": {"model": "Example CPU @ 2.5 GHz", "cores": 2, "flags": ["avx2", "fma"]},
    "memory_bytes": 8 << 30,
    "python": "3.11.7",
    "packages": {"torch": "2.13.0", "numpy": "2.1.0"},
    "git": {"commit": "0123abcd", "dirty": False},
}
HARNESS: Mapping[str, Any] = {
    "timer_overhead_s": 6.1e-8,
    "empty_call_s": 1.2e-6,
    "empty_round_s": 9e-6,
    "sampler_ratio": 1.004,
    "sampler_share": 0.006,
}


def case(workload: str = "latency", *, name: str = "first-token", model: str = "gpt-mini", **changes: Any) -> Case:
    base = Case(
        suite="suites/inference.suite.yaml",
        name=name,
        workload=workload,
        params={"prompt_tokens": 64, "output_tokens": 16} | ({"growth": 1.5} if workload == "stress" else {}),
        model=Choice(name=model, kind="decoder", options={"layers": 4}),
        backend=Choice(name="torch", kind="torch"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )
    return replace(base, **changes)


def record(workload: str = "latency", *, scale: float = 1.0, seed: int = 0, **changes: Any) -> Record:
    """A record whose times are `scale` x the usual ones (and whose rates are divided by it)."""
    of_case = changes.pop("case", None) or case(workload)
    metrics, series, primary, details = _BUILDERS[workload](scale, np.random.default_rng(seed))
    common = [
        metric("perplexity", 12.5),
        metric("weights_bytes", 6.4e6),
        metric("peak_rss_bytes", 310e6),
        metric("parameters", 1.6e6),
    ]
    base = Record(
        case=of_case,
        status="ok",
        started_at="2026-01-02T03:04:05+00:00",
        wall_s=6.5,
        environment="feedfacefeedface",
        machine_class=MACHINE,
        corpus_digest="c0ffee00c0ffee00",
        metrics=as_mapping([*metrics, *(entry for entry in common if entry.name not in {m.name for m in metrics})]),
        series=series,
        primary=primary,
        details=details,
        subject={"facts": {"name": of_case.model.name, "parameters": 1_600_000}, "engine": {"engine": "torch", "threads": 2}},
        resources={"rss_bytes": {"n": 120, "min": 2.9e8, "mean": 3.0e8, "max": 3.1e8}, "sampler_cpu_s": 0.04},
        notes=("the steady state was not reached after 5 s of warm-up",) if workload == "stress" else (),
    )
    return replace(base, **changes)


def failed(
    kind: str = "FidelityError", message: str = "KL divergence 0.7 nats; at most 0.05 is expected", **changes: Any
) -> Record:
    blank = record(**changes)
    failure = Failure(kind=kind, message=message, traceback="Traceback (most recent call last):\n ...")
    return replace(blank, status="error", metrics={}, series={}, primary=None, details={}, failure=failure)


def with_values(source: Record, **values: float | None) -> Record:
    """The same record with some metric values replaced; None comes with a reason."""
    changed = {
        name: replace(_of(source, name), value=value, reason="" if value is not None else "not enough samples")
        for name, value in values.items()
    }
    return replace(source, metrics={**source.metrics, **changed})


def _of(source: Record, name: str) -> Metric:
    return source.metrics[name] if name in source.metrics else metric(name, 1.0)


def run_json(
    records: Sequence[Record],
    *,
    run_id: str = "20260102-030405-abcd",
    verdicts: Sequence[Mapping[str, Any]] = (),
    complete: bool = True,
) -> dict[str, Any]:
    """The pytest-benchmark JSON of a session that made `records`."""
    good = [entry for entry in records if entry.status == "ok"]
    suites = list(dict.fromkeys(entry.case.suite for entry in records))
    return {
        "machine_info": {},
        "commit_info": {},
        "benchmarks": [_benchmark(entry) for entry in good],
        "datetime": "2026-01-02T03:09:05",
        "version": "5.2.0",
        "lmbench": {
            "schema_version": 1,
            "run": {
                "id": run_id,
                "started_at": "2026-01-02T03:04:05+00:00",
                "finished_at": "2026-01-02T03:09:05+00:00",
                "complete": complete,
                "suites": suites,
            },
            "environment": dict(ENVIRONMENT),
            "machine_class": MACHINE,
            "harness": dict(HARNESS),
            "failed": [to_json(entry) for entry in records if entry.status != "ok"],
            "skipped": [
                {
                    "node_id": "suites/inference.suite.yaml::first-token[gpt-mini-tensorrt-none]",
                    "reason": "needs an NVIDIA GPU; run on a machine with one",
                },
                {
                    "node_id": "suites/inference.suite.yaml::batch[gpt-mini-tensorrt-none]",
                    "reason": "needs an NVIDIA GPU; run on a machine with one",
                },
            ],
            "collected": [entry.case.node_id for entry in records],
            "verdicts": list(verdicts),
        },
    }


def store(storage: Path, number: int, records: Sequence[Record], *, rejected: bool = False, **options: Any) -> Path:
    """Write a run file as the plugin would and return its path."""
    folder = (storage / "rejected" if rejected else storage) / MACHINE_ID
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04d}_run.json"
    path.write_text(json.dumps(run_json(records, **options)))
    return path


def _benchmark(entry: Record) -> dict[str, Any]:
    values = list(entry.series[entry.primary or ""])
    stats = {"min": min(values), "mean": sum(values) / len(values), "rounds": len(values)}
    return {"name": entry.case.id, "fullname": entry.case.node_id, "extra_info": {"lmbench": to_json(entry)}, "stats": stats}


_Built = tuple[list[Metric], dict[str, Sequence[float]], str, dict[str, Any]]


def _times(rng: np.random.Generator, mean: float, n: int) -> tuple[float, ...]:
    return tuple(float(value) for value in mean * rng.lognormal(0.0, 0.08, n))


def _distribution(name: str, values: Sequence[float]) -> list[Metric]:
    table = [metric(f"{name}_mean_s", float(np.mean(values)), n=len(values))]
    for q in (50, 90, 95, 99):
        enough = len(values) * (100 - q) >= 500
        value = float(np.percentile(values, q)) if enough else None
        table.append(
            metric(f"{name}_p{q}_s", value, n=len(values), reason="" if enough else f"{len(values)} samples are too few for p{q}")
        )
    return table


def _phases(scale: float) -> dict[str, Any]:
    return {
        "first_call_s": 0.2 * scale,
        "warmup_s": [0.05 * scale, 0.045 * scale, 0.044 * scale],
        "rounds": 60,
        "steady": {"reached": True, "reason": "the last 3 rounds agree", "warmup_rounds": 3},
    }


def _training(scale: float, rng: np.random.Generator) -> _Built:
    steps = _times(rng, 0.081 * scale, 40)
    metrics = [
        *_distribution("step", steps),
        metric("trained_tokens_per_s", 6300 / scale),
        metric("samples_per_s", 98 / scale),
        metric("loss_before", 5.51),
        metric("loss_after", 4.87),
        metric("gradient_norm", 1.31),
        metric("mfu", 0.31 / scale),
    ]
    return metrics, {"step": steps}, "step", {"phases": _phases(scale)}


def _data_parallel(scale: float, rng: np.random.Generator) -> _Built:
    series = {
        "step": _times(rng, 0.11 * scale, 40),
        "step_apart": _times(rng, 0.1 * scale, 40),
        "step_alone": _times(rng, 0.09 * scale, 40),
    }
    metrics = [
        *_distribution("step", series["step"]),
        metric("trained_tokens_per_s", 9300 / scale),
        metric("samples_per_s", 145 / scale),
        metric("scaling_efficiency", 0.82),
        metric("exchange_share", 0.09),
        metric("contention_share", 0.1),
        metric("loss_before", 5.51),
        metric("loss_after", 4.81),
    ]
    return metrics, dict(series), "step", {"phases": _phases(scale), "processes": 2}


def _latency(scale: float, rng: np.random.Generator) -> _Built:
    series = {
        "ttft": _times(rng, 0.0123 * scale, 60),
        "tpot": _times(rng, 0.0041 * scale, 60),
        "itl": _times(rng, 0.0041 * scale, 600),
        "latency": _times(rng, 0.074 * scale, 60),
        "prefill": _times(rng, 0.012 * scale, 60),
        "decode": _times(rng, 0.004 * scale, 600),
    }
    metrics = [entry for name, values in series.items() for entry in _distribution(name, values)]
    metrics += [metric("output_tokens_per_s", 216 / scale), metric("first_call_s", 0.2 * scale), metric("load_s", 0.4 * scale)]
    return metrics, dict(series), "ttft", {"phases": _phases(scale)}


def _throughput(scale: float, rng: np.random.Generator) -> _Built:
    sweep: list[dict[str, Any]] = [
        {
            "batch": batch,
            "output_tokens_per_s": 200 * batch / (1 + batch / 12) / scale,
            "total_tokens_per_s": 600 * batch / (1 + batch / 12) / scale,
            "round_s": [0.08 * scale * (1 + batch / 12)] * 6,
            "peak_rss_bytes": 300_000_000 + 400_000 * batch,
            "phases": _phases(scale),
        }
        for batch in (1, 2, 4, 8, 16, 32)
    ]
    best = sweep[-1]
    metrics = [
        metric("output_tokens_per_s", float(best["output_tokens_per_s"])),
        metric("total_tokens_per_s", float(best["total_tokens_per_s"])),
        metric("best_batch", 32),
        metric("mbu", None, reason="memory bandwidth was not measured on this machine"),
    ]
    return (
        metrics,
        {"round": _times(rng, 0.3 * scale, 6)},
        "round",
        {"sweep": sweep, "stopped": "batch 32 gained +3.1%, less than min_gain (5.0%)", "best_batch": 32},
    )


def _memory(scale: float, rng: np.random.Generator) -> _Built:
    pairs = {
        "weights": (6.5e6, 6.4e6),
        "weights in resident memory": (7.1e6, 6.4e6),
        "state per token": (2048.0, 2048.0),
        "activations": (None, 7.7e6),
        "optimizer state": (12.9e6, 12.8e6),
    }
    terms = [
        {"term": term, "measured": measured, "estimate": estimate, "error": None if measured is None else measured / estimate - 1}
        for term, (measured, estimate) in pairs.items()
    ]
    metrics = [metric("weights_rss_bytes", 7.1e6), metric("state_bytes_per_token", 2048), metric("activations_bytes", 9.1e6)]
    return (
        metrics,
        {"forward": _times(rng, 0.02 * scale, 5)},
        "forward",
        {"terms": terms, "base_rss_bytes": 295e6, "phases": _phases(scale)},
    )


def _step(index: int, rate: float, scale: float) -> dict[str, Any]:
    load = rate * scale / 18
    latency = 0.05 * scale / max(1 - load, 0.04)
    middle = {"p50": latency, "p90": 1.9 * latency, "p95": 2.2 * latency, "p99": None}
    service = {"p50": 0.05 * scale, "p90": 0.06 * scale, "p95": 0.065 * scale, "p99": None}
    good = 1.0 if load < 0.9 else 0.31
    return {
        "index": index,
        "kind": "ramp",
        "rate": rate,
        "duration_s": 4.0,
        "offered_rate": rate * 1.03,
        "achieved_rate": min(rate, 18 / scale),
        "goodput_requests_per_s": good * min(rate, 18 / scale),
        "sent": int(rate * 4),
        "completed": int(rate * 4),
        "failed": 0,
        "rejected": 0,
        "slo_met": good > 0.95,
        "attainment": good,
        "queue_depth_max": int(40 * load**3),
        "queue_depth_end": 0,
        "cpu_utilization": min(load, 1.0),
        "worker_utilization": min(load, 1.0),
        "percentiles": {"latency": middle, "service": service, "ttft": middle},
        "errors": [],
    }


def _stress(scale: float, rng: np.random.Generator) -> _Built:
    steps = [_step(index, 4.0 * 1.5**index, scale) for index in range(6)]
    steps.append({**_step(6, 4.0, scale), "kind": "recovery"})
    service = _times(rng, 0.05 * scale, 200)
    metrics = [
        *_distribution("latency", _times(rng, 0.2 * scale, 200)),
        *_distribution("service", service),
        metric("max_sustainable_rate", 13.5 / scale),
        metric("goodput_requests_per_s", 13.1 / scale),
        metric("slo_attainment", 0.83),
        metric("errors", 0),
        metric("recovery_s", 1.4 * scale),
    ]
    details = {
        "steps": steps,
        "slo": {"ttft_s": None, "tpot_s": None, "latency_s": 0.25, "attainment": 0.95},
        "bottleneck": {"resource": "cpu", "why": "the CPUs were 97 % busy", "evidence": {"cpu_utilization": 0.97}},
        "accounts": {"sent": 260, "completed": 251, "failed": 0, "rejected": 9},
        "unloaded_latency_s": 0.05,
        "closed_loop": _phases(scale),
        "shown_step": 3,
    }
    return metrics, {"latency": _times(rng, 0.2 * scale, 200), "service": service}, "latency", details


def _scoring(scale: float, rng: np.random.Generator) -> _Built:
    passes = _times(rng, 0.01 * scale, 60)
    metrics = [*_distribution("latency", passes), metric("scored_tokens_per_s", 6400 / scale, n=60), metric("mfu", 0.4 / scale)]
    return metrics, {"latency": passes}, "latency", {"tokens_per_pass": 64}


def _tasks(scale: float, rng: np.random.Generator) -> _Built:
    items = _times(rng, 0.02 * scale, 400)
    accuracy = {"cloze_accuracy": 0.31, "choice_accuracy": 0.48}
    metrics = [*_distribution("latency", items), *(metric(name, value, n=200) for name, value in accuracy.items())]
    scored = {"value": 0.31, "stderr": 0.033, "higher_is_better": True}
    return metrics, {"latency": items}, "latency", {"tasks": {"cloze": {"n": 200, "metrics": {"acc": scored}, "cut_rows": 0}}}


def _mlperf(scale: float, rng: np.random.Generator) -> _Built:
    latencies = _times(rng, 0.2 * scale, 120)
    metrics = [
        *_distribution("latency", latencies),
        metric("requests_per_s", 5.0 / scale, n=120),
        metric("output_tokens_per_s", 40.0 / scale, n=120),
    ]
    return metrics, {"latency": latencies}, "latency", {"mlperf": {"scenario": "SingleStream", "valid": True}}


def _cold_start(scale: float, rng: np.random.Generator) -> _Built:
    starts = _times(rng, 3.0 * scale, 5)
    metrics = [*_distribution("cold_start", starts), metric("startup_s", 1.9 * scale, n=5), metric("first_call_s", 0.1, n=5)]
    return metrics, {"cold_start": starts}, "cold_start", {"starts": 5, "prompt_tokens": 32}


_BUILDERS = {
    "training_step": _training,
    "data_parallel": _data_parallel,
    "latency": _latency,
    "throughput": _throughput,
    "scoring": _scoring,
    "tasks": _tasks,
    "cold_start": _cold_start,
    "memory": _memory,
    "stress": _stress,
    "mlperf": _mlperf,
}
assert set(_BUILDERS) == set(WORKLOADS) and METRICS
