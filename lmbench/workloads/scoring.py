"""scoring: one full forward pass over text with logits at every position, as in evaluation, reranking and encoding."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from lmbench.base.errors import WorkloadError
from lmbench.data.prompts import HIDDEN_EVERY
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import distribution
from lmbench.subject.protocol import Subject
from lmbench.suite.params import ScoringParams
from lmbench.workloads.arithmetic import mfu_of, weights_format
from lmbench.workloads.context import Context
from lmbench.workloads.facts import known, peak_rss
from lmbench.workloads.generation import PromptPool, prompt_pool
from lmbench.workloads.rounds import Durations, RoundSource

NO_TIME = "the passes took no measurable time"


def run(context: Context) -> Measurement:
    """Pass after pass, each over other windows of the validation text; `latency` is one pass, logits on the host."""
    params = ScoringParams.model_validate(context.case.params)
    subject = context.build.subject()
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def source(context: Context) -> RoundSource:
    """One pass per call, on an unchecked subject (the first run has checked it)."""
    params = ScoringParams.model_validate(context.case.params)
    subject = context.build.subject(check=False)
    pool = _pool(context, params, subject)

    def call(index: int) -> Durations:
        ids = pool.block(index * params.batch, params.batch)
        started = context.clock.now()
        subject.logits(ids)
        return {"latency": context.clock.now() - started}

    def values(means: Durations) -> Mapping[str, float]:
        seconds = means["latency"]
        return {"latency_p50_s": seconds, "scored_tokens_per_s": params.batch * params.tokens / seconds}

    return RoundSource(call=call, values=values, close=subject.close)


def _measure(context: Context, params: ScoringParams, subject: Subject) -> Measurement:
    pool = _pool(context, params, subject)
    reset_peak()  # the build and its check are not what is measured
    rounds = measure_rounds(
        lambda: subject.logits(pool.take(params.batch)),
        budget=params.budget,
        clock=context.clock,
        once=context.once,
        progress=context.progress,
    )
    return Measurement(
        metrics=as_mapping(_metrics(context, params, subject, rounds)),
        series={"latency": tuple(rounds.samples_s)},
        primary="latency",
        details={"phases": rounds.to_json(), "sequences": len(pool), "tokens_per_pass": params.batch * params.tokens},
        notes=rounds.notes() + _passes(subject),
        work=rounds.work(params.batch * params.tokens),
    )


def _metrics(context: Context, params: ScoringParams, subject: Subject, rounds: Rounds) -> list[Metric]:
    count, busy = len(rounds.samples_s), sum(rounds.samples_s)
    tokens = params.batch * params.tokens * count
    return [
        *distribution("latency", rounds.samples_s),
        known("scored_tokens_per_s", tokens / busy if busy else None, n=count, reason=NO_TIME),
        metric("first_call_s", rounds.first_call_s),
        peak_rss(),
        mfu_of(
            subject.model.flops(batch=params.batch, tokens=params.tokens),
            median(rounds.samples_s),
            weights_format(subject.description),
            context.ceilings(),
        ),
    ]


def _pool(context: Context, params: ScoringParams, subject: Subject) -> PromptPool:
    facts = subject.model.facts
    if params.tokens > facts.max_tokens:
        raise WorkloadError(
            f"found tokens: {params.tokens}; expected at most {facts.max_tokens} for model {facts.name!r}; lower tokens"
        )
    return prompt_pool(context.text().valid, tokens=params.tokens, least=params.batch, seed=context.case.seed)


def _passes(subject: Subject) -> tuple[str, ...]:
    """What one pass is worth where tokens must be hidden before they are scored."""
    if subject.model.facts.mask_id is None:
        return ()
    return (
        f"a pass scores the tokens that are hidden in it: masked_perplexity takes {HIDDEN_EVERY} passes over a text, a "
        "pseudo-perplexity one for each token",
    )
