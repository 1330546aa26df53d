"""latency: one request at a time, prompts that differ; first token, per token, end to end, prefill and decode apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import median

from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import distribution
from lmbench.subject.protocol import Subject
from lmbench.suite.params import LatencyParams
from lmbench.workloads.arithmetic import decode_bytes, mbu_of, mfu_of, prefill_flops, weights_format
from lmbench.workloads.context import Context
from lmbench.workloads.facts import known, peak_rss
from lmbench.workloads.generation import (
    REPEATS_FORWARD,
    Generation,
    generate,
    prompt_pool,
    require_room,
    sampler,
)
from lmbench.workloads.rounds import Durations, RoundSource

NO_TIME = "the requests took no measurable time"


def run(context: Context) -> Measurement:
    """Generate request after request (closed loop, so a request is due when it is sent) and time every token.

    `mfu` is the prefill's, `mbu` the decode step's: each at the phase it bounds.
    """
    params = LatencyParams.model_validate(context.case.params)
    subject = context.build.subject()
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def source(context: Context) -> RoundSource:
    """One generation per call, on an unchecked subject (the first run has checked it)."""
    params = LatencyParams.model_validate(context.case.params)
    subject = context.build.subject(check=False)
    require_room(subject, params.prompt_tokens, params.output_tokens)
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=params.batch, seed=context.case.seed)
    choose = sampler(params.temperature, context.case.seed)

    def call(index: int) -> Durations:
        prompt = pool.block(index * params.batch, params.batch)
        one = generate(subject, prompt, params.output_tokens, choose, context.clock)
        found = {"ttft": one.ttft_s, "latency": one.latency_s, "prefill": one.prefill_s}
        if one.tpot_s is None:
            return found
        return found | {"tpot": one.tpot_s, "decode": median(one.decode_s)}

    def values(means: Durations) -> dict[str, float]:
        rate = params.batch * params.output_tokens / means["latency"]
        return {f"{name}_p50_s": value for name, value in means.items()} | {"output_tokens_per_s": rate}

    return RoundSource(call=call, values=values, close=subject.close)


def _measure(context: Context, params: LatencyParams, subject: Subject) -> Measurement:
    require_room(subject, params.prompt_tokens, params.output_tokens)
    seed = context.case.seed
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=params.batch, seed=seed)
    choose = sampler(params.temperature, seed)
    done: list[Generation] = []
    reset_peak()  # the build and its check are not what is measured
    rounds = measure_rounds(
        lambda: generate(subject, pool.take(params.batch), params.output_tokens, choose, context.clock),
        budget=params.budget,
        clock=context.clock,
        once=context.once,
        observe=done.append,
        progress=context.progress,
    )
    series = _series(done)
    notes = rounds.notes() + ((REPEATS_FORWARD,) if subject.repeats_full_forward else ())
    return Measurement(
        metrics=as_mapping(_metrics(context, params, subject, rounds, series)),
        series={name: values for name, values in series.items() if values},
        primary="latency",
        details={
            "phases": rounds.to_json(),
            "requests": len(done),
            "prompts": len(pool),
            "sampling": "greedy" if params.temperature == 0 else f"temperature {params.temperature:g}, seed {seed}",
            "utilization": "mfu of the prefill, mbu of the median decode step",
        },
        notes=notes,
        work=rounds.work(params.batch * (params.prompt_tokens + params.output_tokens)),
    )


def _series(done: Sequence[Generation]) -> dict[str, tuple[float, ...]]:
    return {
        "latency": tuple(one.latency_s for one in done),
        "ttft": tuple(one.ttft_s for one in done),
        "tpot": tuple(one.tpot_s for one in done if one.tpot_s is not None),
        "itl": tuple(chain.from_iterable(one.gaps_s for one in done)),
        "prefill": tuple(one.prefill_s for one in done),
        "decode": tuple(chain.from_iterable(one.decode_s for one in done)),
    }


def _metrics(
    context: Context, params: LatencyParams, subject: Subject, rounds: Rounds, series: dict[str, tuple[float, ...]]
) -> list[Metric]:
    busy = sum(series["latency"])
    tokens = params.batch * params.output_tokens * len(series["latency"])
    ceilings = context.ceilings()
    middle = params.prompt_tokens + params.output_tokens // 2
    decode_s = median(series["decode"]) if series["decode"] else None
    return [
        *chain.from_iterable(distribution(name, values) for name, values in series.items()),
        known("output_tokens_per_s", tokens / busy if busy else None, n=len(series["latency"]), reason=NO_TIME),
        metric("first_call_s", rounds.first_call_s),
        peak_rss(),
        mfu_of(
            prefill_flops(subject, batch=params.batch, tokens=params.prompt_tokens),
            median(series["prefill"]),
            weights_format(subject.description),
            ceilings,
        ),
        mbu_of(decode_bytes(subject, batch=params.batch, past=middle), decode_s, ceilings),
    ]
