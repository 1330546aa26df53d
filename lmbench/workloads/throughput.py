"""throughput: the batch size doubled until tokens per second stop rising or memory is short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any

from lmbench.base.errors import SubjectError
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import peak_rss_bytes, reset_peak, rss_bytes
from lmbench.measure.room import room_bytes
from lmbench.subject.protocol import Subject
from lmbench.suite.params import ThroughputParams
from lmbench.workloads.arithmetic import decode_bytes, generation_flops, mbu_of, mfu_of, weights_format
from lmbench.workloads.context import Context
from lmbench.workloads.facts import peak_rss
from lmbench.workloads.generation import (
    REPEATS_FORWARD,
    Generation,
    PromptPool,
    generate,
    greedy,
    prompt_pool,
    require_room,
)
from lmbench.workloads.rounds import Durations, RoundSource

ONCE_BATCHES = 2
STATE_COPIES = 2
"""Appending to a cache holds the old and the new one at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One batch size of the sweep."""

    batch: int
    rounds: Rounds
    decode_s: float | None
    output_tokens_per_s: float
    total_tokens_per_s: float
    peak_rss_bytes: int | None
    growth_bytes: int | None
    """Peak minus resident memory before the batch."""


def run(context: Context) -> Measurement:
    """Sweep batch sizes 1, 2, 4 ... max_batch; the first doubling that gains less than `min_gain` is the last.

    A smaller gain ends the sweep at once: past that point only latency grows. The best batch is the fastest one seen.
    """
    params = ThroughputParams.model_validate(context.case.params)
    subject = context.build.subject()
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def source(context: Context) -> RoundSource:
    """One generation at `max_batch` per call: which batch size is meant has been settled by the sweep before."""
    params = ThroughputParams.model_validate(context.case.params)
    subject = context.build.subject(check=False)
    require_room(subject, params.prompt_tokens, params.output_tokens)
    batch, tokens = params.max_batch, params.prompt_tokens + params.output_tokens
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=batch, seed=context.case.seed)

    def call(index: int) -> Durations:
        one = generate(subject, pool.block(index * batch, batch), params.output_tokens, greedy, context.clock)
        return {"round": one.latency_s}

    def values(means: Durations) -> dict[str, float]:
        per_s = batch / means["round"]
        return {"output_tokens_per_s": per_s * params.output_tokens, "total_tokens_per_s": per_s * tokens}

    return RoundSource(call=call, values=values, close=subject.close)


def sizes(max_batch: int) -> Iterator[int]:
    """1, 2, 4 ... and `max_batch` itself where it is no power of two."""
    size = 1
    while size < max_batch:
        yield size
        size *= 2
    yield max_batch


def _measure(context: Context, params: ThroughputParams, subject: Subject) -> Measurement:
    require_room(subject, params.prompt_tokens, params.output_tokens)
    seed = context.case.seed
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=params.max_batch, seed=seed)
    points, stopped = _sweep(context, params, subject, pool)
    best = max(points, key=lambda point: point.output_tokens_per_s)
    notes = best.rounds.notes() + ((REPEATS_FORWARD,) if subject.repeats_full_forward else ())
    return Measurement(
        metrics=as_mapping(_metrics(context, params, subject, points, best)),
        series={"round": tuple(best.rounds.samples_s)},
        primary="round",
        details={"sweep": [_row(point) for point in points], "stopped": stopped, "best_batch": best.batch},
        notes=notes,
        work=best.rounds.work(best.batch * (params.prompt_tokens + params.output_tokens)),
    )


def _sweep(context: Context, params: ThroughputParams, subject: Subject, pool: PromptPool) -> tuple[list[Point], str]:
    """The points measured and why there are no more; what fails at the smallest batch is not caught."""
    points: list[Point] = []
    for batch in sizes(min(params.max_batch, ONCE_BATCHES) if context.once else params.max_batch):
        if points and (short := _memory_short(params, subject, points[-1], batch)):
            return points, short
        try:
            point = _point(context, params, subject, pool, batch)
        except (MemoryError, SubjectError) as error:
            if not points:
                raise
            return points, f"batch {batch} failed: {type(error).__name__}: {error}"
        gain = point.output_tokens_per_s / points[-1].output_tokens_per_s - 1 if points else None
        points.append(point)
        change = "" if gain is None else f" ({gain:+.1%})"
        context.progress(f"throughput: batch {batch}, {point.output_tokens_per_s:.1f} output tokens/s{change}")
        if gain is not None and gain < params.min_gain and not context.once:
            return points, f"batch {batch} gained {gain:+.1%}, less than min_gain ({params.min_gain:.1%})"
    return points, f"max_batch ({params.max_batch}) was reached" if not context.once else "one quick round"


def _point(context: Context, params: ThroughputParams, subject: Subject, pool: PromptPool, batch: int) -> Point:
    reset_peak()
    before = rss_bytes()
    done: list[Generation] = []
    rounds = measure_rounds(
        lambda: generate(subject, pool.take(batch), params.output_tokens, greedy, context.clock),
        budget=params.budget,
        clock=context.clock,
        once=context.once,
        observe=done.append,
    )
    peak = peak_rss_bytes()
    per_s = batch * len(rounds.samples_s) / sum(rounds.samples_s)
    steps = list(chain.from_iterable(one.decode_s for one in done))
    return Point(
        batch=batch,
        rounds=rounds,
        decode_s=median(steps) if steps else None,
        output_tokens_per_s=per_s * params.output_tokens,
        total_tokens_per_s=per_s * (params.prompt_tokens + params.output_tokens),
        peak_rss_bytes=peak,
        growth_bytes=None if peak is None or before is None else max(0, peak - before),
    )


def _memory_short(params: ThroughputParams, subject: Subject, last: Point, batch: int) -> str:
    """Why `batch` is expected not to fit, or nothing: the state twice, or the last batch's growth scaled up."""
    room = room_bytes()
    if room is None:
        return ""
    tokens = params.prompt_tokens + params.output_tokens
    expected = STATE_COPIES * subject.model.state_bytes(batch=batch, tokens=tokens)
    if last.growth_bytes is not None:
        expected = max(expected, last.growth_bytes * batch // last.batch)
    if expected <= room:
        return ""
    return f"memory is short: batch {batch} needs about {expected} bytes, {room} are left"


def _metrics(context: Context, params: ThroughputParams, subject: Subject, points: list[Point], best: Point) -> list[Metric]:
    count = len(best.rounds.samples_s)
    ceilings = context.ceilings()
    flops = generation_flops(subject, batch=best.batch, prompt=params.prompt_tokens, output=params.output_tokens)
    middle = params.prompt_tokens + params.output_tokens // 2
    peaks = [point.peak_rss_bytes for point in points if point.peak_rss_bytes is not None]
    return [
        metric("output_tokens_per_s", best.output_tokens_per_s, n=count),
        metric("total_tokens_per_s", best.total_tokens_per_s, n=count),
        metric("best_batch", best.batch),
        metric("first_call_s", points[0].rounds.first_call_s),
        peak_rss(max(peaks, default=None)),
        mfu_of(flops, median(best.rounds.samples_s), weights_format(subject.description), ceilings),
        mbu_of(decode_bytes(subject, batch=best.batch, past=middle), best.decode_s, ceilings),
    ]


def _row(point: Point) -> dict[str, Any]:
    return {
        "batch": point.batch,
        "output_tokens_per_s": point.output_tokens_per_s,
        "total_tokens_per_s": point.total_tokens_per_s,
        "round_s": list(point.rounds.samples_s),
        "peak_rss_bytes": point.peak_rss_bytes,
        "phases": point.rounds.to_json(),
    }
