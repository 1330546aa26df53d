"""memory: every term of memory, measured in a fresh process beside its estimate."""

from __future__ import annotations

import ctypes
import gc
import importlib
from dataclasses import dataclass
from typing import Any

from lmbench.base.errors import WorkloadError
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS
from lmbench.base.seams import IntArray, State
from lmbench.data.prompts import batches
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import peak_rss_bytes, reset_peak, rss_bytes
from lmbench.plan.case import Case
from lmbench.subject.protocol import Subject
from lmbench.suite.params import Budget, MemoryParams
from lmbench.workloads import estimates
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described, device_peak, known, peak_rss
from lmbench.workloads.training_memory import training_terms

FORWARDS = Budget(min_rounds=3, max_rounds=10, max_time_s=1.0, min_warmup_rounds=1, max_warmup_s=1.0)
NO_PROC = "this kernel has no /proc to ask, or does not let a process reset its peak"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was measured of the subject; sizes in bytes, None where the kernel does not tell."""

    base_rss: int | None
    weights_rss: int | None
    state_per_token: Metric
    activations: int | None
    highest_rss: int | None
    rounds: Rounds


def run(context: Context) -> Measurement:
    """Build, measure, and only then check the subject against its parent, whose pass would hide its memory.

    Libraries are imported before the base is taken, so that the growth is the subject's. The fp32 parent a
    compression starts from is part of it.
    """
    params = MemoryParams.model_validate(context.case.params)
    import_libraries(context.case)
    give_back()
    base = rss_bytes()
    reset_peak()
    subject = context.build.subject(check=False)
    try:
        found = _measure(context, params, subject, base)
        metrics = _metrics(subject, params, found)
        engine = dict(subject.engine.describe())
        metrics += training_terms(context, params) if params.training else []
        context.build.check(subject)
    finally:
        subject.close()
    return _measurement(subject, found, as_mapping(metrics), engine)


def import_libraries(case: Case) -> None:
    """Import what the case's model, compression and backend need, so that libraries are not counted as weights."""
    axes = ((MODELS, case.model.kind), (COMPRESSIONS, case.compression.kind), (BACKENDS, case.backend.kind))
    for table, kind in axes:
        for need in table[kind].needs:
            importlib.import_module(need.module)


def give_back() -> None:
    """Return freed memory to the kernel, so that what is allocated next shows as growth.

    malloc_trim(3) is glibc's; elsewhere freed memory may be reused unseen, and growth is a lower bound.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _measure(context: Context, params: MemoryParams, subject: Subject, base: int | None) -> Found:
    give_back()
    loaded = rss_bytes()
    if params.tokens > subject.model.facts.max_tokens:
        raise WorkloadError(
            f"found tokens: {params.tokens}; expected at most {subject.model.facts.max_tokens} for model "
            f"{subject.model.facts.name!r}; lower tokens"
        )
    text = context.text()
    ids, _ = next(batches(text.valid, batch=params.batch, tokens=params.tokens, seed=context.case.seed))
    subject.logits(ids[:1, :2])  # lazy initialisation is not activations
    building_peak = peak_rss_bytes()
    give_back()
    resettable = reset_peak()
    before = rss_bytes()
    subject.logits(ids)
    peak = peak_rss_bytes() if resettable else None
    per_token = _state_per_token(subject, ids)
    context.progress("memory: weights, state and activations measured")
    rounds = measure_rounds(lambda: subject.logits(ids), budget=FORWARDS, clock=context.clock, once=context.once)
    peaks = [value for value in (building_peak, peak_rss_bytes()) if value is not None]
    return Found(
        base_rss=base,
        weights_rss=None if base is None or loaded is None else max(0, loaded - base),
        state_per_token=per_token,
        activations=None if peak is None or before is None else max(0, peak - before),
        highest_rss=max(peaks, default=None),
        rounds=rounds,
    )


def _state_per_token(subject: Subject, ids: IntArray) -> Metric:
    """Growth of the real state between two prompt lengths, per token and sequence."""
    name = "state_bytes_per_token"
    if subject.repeats_full_forward:
        return metric(name, None, reason="the model carries no state between steps")
    few, many = _lengths(ids.shape[1])
    if few == many:
        return metric(name, None, reason="the growth needs at least 2 tokens; raise tokens")
    sizes = [_bytes_of(subject.prefill(ids[:, :tokens])[1]) for tokens in (few, many)]
    if sizes[0] is None or sizes[1] is None:
        return metric(name, None, reason="the engine's state is opaque: its parts do not tell their size")
    return metric(name, (sizes[1] - sizes[0]) / ((many - few) * ids.shape[0]))


def _lengths(tokens: int) -> tuple[int, int]:
    return max(1, tokens // 2), tokens


def _bytes_of(state: State) -> int | None:
    sizes = [getattr(part, "nbytes", None) for part in state]
    counted = [size for size in sizes if isinstance(size, int)]
    return sum(counted) if len(counted) == len(sizes) else None


def _metrics(subject: Subject, params: MemoryParams, found: Found) -> list[Metric]:
    engine = subject.engine.describe()
    few, many = _lengths(params.tokens)
    analytic = None if subject.repeats_full_forward or few == many else estimates.state_per_token(subject, few=few, many=many)
    return [
        known("weights_rss_bytes", found.weights_rss, reason=NO_PROC),
        described("weights_bytes", engine, "weight_bytes"),
        metric("weights_estimate_bytes", estimates.weights(subject)),
        found.state_per_token,
        known("state_estimate_bytes_per_token", analytic, reason=found.state_per_token.reason or "not measured either"),
        known("activations_bytes", found.activations, reason=NO_PROC),
        metric("activations_estimate_bytes", estimates.activations(subject, batch=params.batch, tokens=params.tokens)),
        described("disk_bytes", engine),
        metric("parameters", subject.model.facts.parameters),
        device_peak(engine),
        peak_rss(found.highest_rss),
    ]


def _measurement(subject: Subject, found: Found, table: dict[str, Metric], engine: dict[str, object]) -> Measurement:
    notes = found.rounds.notes()
    if table["state_bytes_per_token"].value == 0:
        notes += ("the state does not grow with the tokens seen: it is recurrent or allocated in full at the start",)
    return Measurement(
        metrics=table,
        series={"forward": tuple(found.rounds.samples_s)},
        primary="forward",
        details={
            "base_rss_bytes": found.base_rss,
            "terms": _terms(subject, {name: entry.value for name, entry in table.items()}),
            "state_at_start_bytes": subject.model.state_bytes(batch=1, tokens=0),
            "engine": engine,
            "phases": found.rounds.to_json(),
        },
        notes=notes,
    )


def _terms(subject: Subject, values: dict[str, float | None]) -> list[dict[str, Any]]:
    """Measured beside estimated, one line per term."""
    lines = [
        _term("weights", values["weights_bytes"], values["weights_estimate_bytes"]),
        _term("weights in resident memory", values["weights_rss_bytes"], values["weights_estimate_bytes"]),
        _term("state per token", values["state_bytes_per_token"], values["state_estimate_bytes_per_token"]),
        _term("activations", values["activations_bytes"], values["activations_estimate_bytes"]),
    ]
    if "gradient_bytes" in values:
        lines += [
            _term("gradients", values["gradient_bytes"], estimates.gradients(subject.model.facts.parameters)),
            _term("optimizer state", values["optimizer_bytes"], values["optimizer_estimate_bytes"]),
        ]
    return lines


def _term(term: str, measured: float | None, estimate: float | None) -> dict[str, Any]:
    """`error` is (measured - estimate) / estimate, None where either is not known or the estimate is 0."""
    error = None if measured is None or not estimate else (measured - estimate) / estimate
    return {"term": term, "measured": measured, "estimate": estimate, "error": error}
