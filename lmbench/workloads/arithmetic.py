"""What a generation must compute and read, from the model's own formulas: the numerators of MFU and MBU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.measure.ceilings import Peaks
from lmbench.measure.measurement import Metric, metric
from lmbench.measure.utilization import mbu, mfu
from lmbench.subject.protocol import Subject

FORMATS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
ELEMENT_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


def weights_format(description: Mapping[str, Any]) -> str:
    """How the weights of the matrix products are stored: what the compression says, else the engine's number type."""
    declared = str(description.get("lineage", {}).get("weights", "")).partition(",")[0]
    return declared if declared in ELEMENT_BYTES else engine_format(description)


def engine_format(description: Mapping[str, Any], key: str = "dtype") -> str:
    """The engine's number type ('dtype' or 'state_dtype') as ceilings name it; fp32 when it does not say."""
    name = str(description.get("engine", {}).get(key, "float32"))
    return FORMATS.get(name, name)


def prefill_flops(subject: Subject, *, batch: int, tokens: int) -> int | None:
    """FLOPs of the forward over the prompt, logits at the last position only."""
    return subject.model.flops(batch=batch, tokens=tokens, kept=1)


def decode_flops(subject: Subject, *, batch: int, past: int) -> int | None:
    """FLOPs of one decode step after `past` tokens; a full forward pass where the model carries no state."""
    if subject.repeats_full_forward:
        return subject.model.flops(batch=batch, tokens=past + 1, kept=1)
    return subject.model.flops(batch=batch, tokens=1, past=past, kept=1)


def generation_flops(subject: Subject, *, batch: int, prompt: int, output: int) -> int | None:
    """FLOPs of a whole generation: the prefill and output - 1 decode steps."""
    terms = [prefill_flops(subject, batch=batch, tokens=prompt)]
    terms += [decode_flops(subject, batch=batch, past=prompt + step) for step in range(output - 1)]
    known = [term for term in terms if term is not None]
    return sum(known) if len(known) == len(terms) else None


def decode_bytes(subject: Subject, *, batch: int, past: int) -> int | None:
    """Bytes one decode step must read after `past` tokens: all weights once and the state of every sequence.

    None when that is not known: the engine does not tell its weights, or the model reads only some of them.
    (Agarwal et al., "LLM Inference Performance Engineering", Databricks, 2023: model bandwidth utilization.)
    """
    weights = subject.engine.describe().get("weight_bytes")
    if not isinstance(weights, int) or not subject.model.facts.reads_all_weights:
        return None
    if subject.repeats_full_forward:
        return weights
    element = ELEMENT_BYTES.get(engine_format(subject.description, "state_dtype"), 4)
    return weights + subject.model.state_bytes(batch=batch, tokens=past, element_bytes=element)


def mfu_of(flops: int | None, seconds: float | None, dtype: str, ceilings: Peaks) -> Metric:
    """`mfu`, or None with the reason where nothing was timed."""
    return metric("mfu", None, reason="nothing was timed") if seconds is None else mfu(flops, seconds, dtype, ceilings)


def mbu_of(size: int | None, seconds: float | None, ceilings: Peaks) -> Metric:
    """`mbu`, or None with the reason where no decode step was timed."""
    return metric("mbu", None, reason="no decode step was timed") if seconds is None else mbu(size, seconds, ceilings)
