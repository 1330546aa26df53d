"""training_step: forward, backward and optimizer on batches of the corpus; time per step, and that the loss falls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from lmbench.base.losses import Losses
from lmbench.base.seams import IntArray
from lmbench.data.prompts import batches
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import distribution
from lmbench.subject.protocol import TrainingSubject
from lmbench.suite.params import TrainingStepParams
from lmbench.workloads.arithmetic import mfu_of
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described, device_peak, peak_rss
from lmbench.workloads.rounds import Durations, RoundSource

FIXED_STEPS = 10
"""Optimizer steps between loss_before and loss_after: always the same, whatever is timed afterwards."""
ONCE_STEPS = 2
FORWARDS_PER_STEP = 3
"""Backward costs twice the forward (Kaplan et al., Scaling Laws for Neural Language Models, 2020, section 2.1;
Chowdhery et al., PaLM, 2022, appendix B, which is also the definition of MFU)."""
Batches = Iterator[tuple[IntArray, IntArray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The fixed steps: losses in nats on one held-out batch, and what the first step cost."""

    steps: int
    first_call_s: float
    loss_before: float
    loss_after: float
    gradient_norm: float


def run(context: Context) -> Measurement:
    """Take a fixed number of steps to see that training works, then time steps."""
    params = TrainingStepParams.model_validate(context.case.params)
    subject = context.build.trainer(learning_rate=params.learning_rate, precision=params.precision)
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def source(context: Context) -> RoundSource:
    """One optimizer step per call, each on the next batch."""
    params = TrainingStepParams.model_validate(context.case.params)
    subject = context.build.trainer(learning_rate=params.learning_rate, precision=params.precision)
    sequences = params.batch * params.accumulate
    source = _batches(context.text().train, sequences, params, subject, context.case.seed)

    losses = Losses(subject.model.facts.vocab_size)

    def call(index: int) -> Durations:  # noqa: ARG001 - a step follows the one before, so its batch is always the next
        batch = next(source)
        started = context.clock.now()
        found = subject.trainer.step(*batch)
        duration = context.clock.now() - started
        losses.add(*found)
        return {"step": duration}

    def values(means: Durations) -> dict[str, float]:
        rate = sequences / means["step"]
        return {"step_p50_s": means["step"], "samples_per_s": rate, "trained_tokens_per_s": rate * params.tokens}

    return RoundSource(call=call, values=values, close=subject.close)


def _measure(context: Context, params: TrainingStepParams, subject: TrainingSubject) -> Measurement:
    seed = context.case.seed
    text = context.text()
    sequences = params.batch * params.accumulate
    source = _batches(text.train, sequences, params, subject, seed)
    fixed = next(_batches(text.valid, params.batch, params, subject, seed))
    resettable = reset_peak()
    losses = Losses(subject.model.facts.vocab_size)
    course = _fixed_course(context, subject, source, fixed, losses)
    rounds = measure_rounds(
        lambda: losses.add(*subject.trainer.step(*next(source))),
        budget=params.budget,
        clock=context.clock,
        once=context.once,
        progress=context.progress,
    )
    losses.judge()
    notes = rounds.notes()
    if not resettable:
        notes += ("peak_rss_bytes covers the whole process: its peak could not be reset before training",)
    return Measurement(
        metrics=as_mapping(_metrics(context, params, subject, course, rounds)),
        series={"step": tuple(rounds.samples_s)},
        primary="step",
        details={
            "phases": rounds.to_json(),
            "fixed_steps": course.steps,
            "sequences_per_step": sequences,
            "tokens_per_step": sequences * params.tokens,
            "precision": params.precision,
            "losses": losses.to_json(),
            "trainer": dict(subject.trainer.describe()),
        },
        notes=notes,
        work=rounds.work(sequences * params.tokens),
    )


def _batches(ids: IntArray, batch: int, params: TrainingStepParams, subject: TrainingSubject, seed: int) -> Batches:
    """Endless batches of ids [n], with what the model is trained to predict in them."""
    facts = subject.model.facts
    return batches(ids, batch=batch, tokens=params.tokens, seed=seed, objective=facts.objective, mask_id=facts.mask_id)


def _fixed_course(
    context: Context, subject: TrainingSubject, source: Batches, fixed: tuple[IntArray, IntArray], losses: Losses
) -> Course:
    steps = ONCE_STEPS if context.once else FIXED_STEPS
    before = subject.trainer.loss(*fixed)
    started = context.clock.now()
    loss, norm = subject.trainer.step(*next(source))
    first = context.clock.now() - started
    losses.add(loss, norm)
    for _ in range(steps - 1):
        loss, norm = subject.trainer.step(*next(source))
        losses.add(loss, norm)
    after = subject.trainer.loss(*fixed)
    losses.check(after, "on a batch kept apart")
    context.progress(f"training_step: loss {before:.3f} -> {after:.3f} after {steps} steps")
    return Course(steps=steps, first_call_s=first, loss_before=before, loss_after=after, gradient_norm=norm)


def _metrics(
    context: Context, params: TrainingStepParams, subject: TrainingSubject, course: Course, rounds: Rounds
) -> list[Metric]:
    sequences = params.batch * params.accumulate
    count = len(rounds.samples_s)
    rate = count * sequences / sum(rounds.samples_s)
    flops = subject.model.flops(batch=sequences, tokens=params.tokens)
    dtype = "bf16" if params.precision.startswith("bf16") else "fp32"
    facts = subject.trainer.describe()
    return [
        *distribution("step", rounds.samples_s),
        metric("first_call_s", course.first_call_s),
        metric("samples_per_s", rate, n=count),
        metric("trained_tokens_per_s", rate * params.tokens, n=count),
        metric("loss_before", course.loss_before),
        metric("loss_after", course.loss_after),
        metric("gradient_norm", course.gradient_norm),
        peak_rss(),
        device_peak(facts),
        mfu_of(None if flops is None else FORWARDS_PER_STEP * flops, median(rounds.samples_s), dtype, context.ceilings()),
        described("gradient_bytes", facts),
        described("optimizer_bytes", facts),
        metric("parameters", subject.model.facts.parameters),
    ]
