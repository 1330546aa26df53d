"""Records of training and latency beside known ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.record.record import Record
from tests.capacity.records import record

CEILINGS: Mapping[str, Any] = {
    "matmul_flops": {"fp32": 1e11, "bf16": 4e11},
    "memory_bytes_per_s": 1e10,
    "measured_at": "now",
    "threads": 2,
}
WITH_ROOFS: Mapping[str, Any] = {"ceilings": CEILINGS}


def training(precision: str = "fp32", more: Mapping[str, Any] | None = None, **changes: float) -> Record:
    metrics = {"trained_tokens_per_s": 1000.0, "parameters": 1e6, "mfu": 0.25, "step_p50_s": 0.5} | changes
    params = {"batch": 8, "precision": precision}
    return record("training_step", "none", params, metrics, series={"step": (0.5, 0.6, 0.4, 0.5)}, **(more or {}))


def latency(compression: str = "none", more: Mapping[str, Any] | None = None, **changes: float) -> Record:
    metrics = {"prefill_p50_s": 0.01, "decode_p50_s": 0.001, "mfu": 0.5, "mbu": 0.4, "weights_bytes": 4e6} | changes
    params = {"batch": 1, "prompt_tokens": 100}
    return record("latency", compression, params, metrics, **({"details": WITH_ROOFS} | dict(more or {})))
