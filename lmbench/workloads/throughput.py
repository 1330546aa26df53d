"""throughput: the batch size doubled until tokens per second stop rising or memory is short."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from statistics import median
from typing import Any

from lmbench.base.catalogue import of_batch
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import measure_rounds
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
from lmbench.workloads.sweep import Point, Swept, sweep

ONCE_BATCHES = 2
STATE_COPIES = 2
"""Appending to a cache holds the old and the new one at the same time."""


def run(context: Context) -> Measurement:
    """Sweep batch sizes 1, 2, 4 ... max_batch until a plateau is confirmed (see sweep.py): past it only latency grows.

    The best batch is the fastest one seen; each size has a metric of its own.
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
        output = per_s * params.output_tokens
        return {"output_tokens_per_s": output, "total_tokens_per_s": per_s * tokens, of_batch(batch): output}

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
    swept = sweep(
        sizes(min(params.max_batch, ONCE_BATCHES) if context.once else params.max_batch),
        lambda batch: _point(context, params, subject, pool, batch),
        min_gain=-1.0 if context.once else params.min_gain,
        short=lambda last, batch: _memory_short(params, subject, last, batch),
    )
    best = swept.best
    repeats = (REPEATS_FORWARD,) if subject.repeats_full_forward else ()
    return Measurement(
        metrics=as_mapping(_metrics(context, params, subject, swept)),
        series={"round": best.samples_s},
        primary="round",
        details={
            "sweep": [_row(point) for point in swept.points],
            "stopped": "one quick round" if context.once else swept.stopped,
            "best_batch": best.batch,
            "best_batches": list(swept.candidates),
        },
        notes=best.rounds.notes() + _doubt(swept, once=context.once) + repeats,
        work=best.rounds.work(best.batch * (params.prompt_tokens + params.output_tokens)),
    )


def _doubt(swept: Swept, *, once: bool) -> tuple[str, ...]:
    """Which other sizes may be the best."""
    others = [str(batch) for batch in swept.candidates if batch != swept.best.batch]
    if once or not others:
        return ()
    return (f"best batch {swept.best.batch}: batch {', '.join(others)} cannot be told from it (95 % intervals overlap)",)


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
    found = Point(
        batch=batch,
        output_tokens=params.output_tokens,
        total_tokens=params.prompt_tokens + params.output_tokens,
        rounds=rounds,
        samples_s=tuple(rounds.samples_s),
        decode_s=tuple(chain.from_iterable(one.decode_s for one in done)),
        peak_rss_bytes=peak,
        growth_bytes=None if peak is None or before is None else max(0, peak - before),
    )
    context.progress(f"throughput: batch {batch}, {found.output_tokens_per_s:.1f} output tokens/s")
    return found


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


def _metrics(context: Context, params: ThroughputParams, subject: Subject, swept: Swept) -> list[Metric]:
    best = swept.best
    count = len(best.samples_s)
    ceilings = context.ceilings()
    flops = generation_flops(subject, batch=best.batch, prompt=params.prompt_tokens, output=params.output_tokens)
    middle = params.prompt_tokens + params.output_tokens // 2
    peaks = [point.peak_rss_bytes for point in swept.points if point.peak_rss_bytes is not None]
    decode_s = median(best.decode_s) if best.decode_s else None
    return [
        metric("output_tokens_per_s", best.output_tokens_per_s, n=count),
        metric("total_tokens_per_s", best.total_tokens_per_s, n=count),
        metric("best_batch", best.batch),
        *(metric(of_batch(point.batch), point.output_tokens_per_s, n=len(point.samples_s)) for point in swept.points),
        metric("first_call_s", swept.points[0].rounds.first_call_s),
        peak_rss(max(peaks, default=None)),
        mfu_of(flops, median(best.samples_s), weights_format(subject.description), ceilings),
        mbu_of(decode_bytes(subject, batch=best.batch, past=middle), decode_s, ceilings),
    ]


def _row(point: Point) -> dict[str, Any]:
    return {
        "batch": point.batch,
        "tries": point.tries,
        "output_tokens_per_s": point.output_tokens_per_s,
        "interval": None if point.interval is None else list(point.interval),
        "total_tokens_per_s": point.total_tokens_per_s,
        "round_s": list(point.samples_s),
        "peak_rss_bytes": point.peak_rss_bytes,
        "phases": point.rounds.to_json(),
    }
