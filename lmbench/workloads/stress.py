"""stress: open-loop Poisson arrivals on the in-process subject, the rate raised step by step until an SLO breaks."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from lmbench.base.errors import WorkloadError
from lmbench.load.climb import Climb, Observe, Route, StepRun, climb
from lmbench.load.requests import Request, RequestLog
from lmbench.load.shapes import RAMP, Ramp
from lmbench.load.steps import summarize, times
from lmbench.load.targets import InProcess, Reply
from lmbench.measure.clock import process_cpu_s
from lmbench.measure.machine import usable_cpus
from lmbench.measure.measurement import Measurement
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import percentile
from lmbench.subject.protocol import Subject
from lmbench.suite.params import Budget, Slo, StressParams
from lmbench.workloads.context import Context
from lmbench.workloads.generation import (
    REPEATS_FORWARD,
    Generation,
    PromptPool,
    generate,
    greedy,
    prompt_pool,
    require_room,
)
from lmbench.workloads.stress_result import Outcome, measurement

CLOSED_LOOP = Budget(min_rounds=10, max_rounds=50, max_time_s=2.0, min_warmup_rounds=2, max_warmup_s=3.0)
START_SHARE = 0.25
"""The ramp begins at this share of what one request after the other would allow."""
SLO_FACTOR = 5.0
"""Default objective: a request may take this many times its unloaded median."""
DRAIN_S = 30.0
ONCE_REQUESTS = 3
SWITCH_S = 0.0005


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """The closed loop: one request at a time, nothing waiting. Median times in seconds."""

    rounds: Rounds
    latency_s: float
    service: tuple[float, ...]


def run(context: Context) -> Measurement:
    """Measure the unloaded subject, climb until the SLO breaks, watch the recovery, name the bottleneck."""
    params = StressParams.model_validate(context.case.params)
    subject = context.build.subject()
    try:
        return _measure(context, params, subject)
    finally:
        subject.close()


def _measure(context: Context, params: StressParams, subject: Subject) -> Measurement:
    require_room(subject, params.prompt_tokens, params.output_tokens)
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=1, seed=context.case.seed)
    reset_peak()  # the build and its check are not what is measured
    unloaded = _closed_loop(context, params, subject, pool)
    slo = objective(params, unloaded.latency_s)
    ramp = ramp_of(params, unloaded.latency_s, once=context.once)
    route = Route(ramp=ramp, slo=slo, seed=context.case.seed, drain_s=DRAIN_S, cpu_s=process_cpu_s)
    target = InProcess(
        _serve(context, params, subject, pool), context.clock, workers=params.workers, queue_limit=params.queue_limit
    )
    with _undisturbed():
        started = context.clock.now()
        result: Climb = climb(route, target, context.clock, observe=_teller(context, ramp))
    outcome = Outcome(
        climb=result,
        steps=summarize(result, slo, workers=params.workers, cpus=usable_cpus()),
        slo=slo,
        ramp=ramp,
        workers=params.workers,
        started_s=started,
        unloaded_s=unloaded.latency_s,
        closed_loop=unloaded.rounds,
    )
    notes = unloaded.rounds.notes() + ((REPEATS_FORWARD,) if subject.repeats_full_forward else ())
    return measurement(outcome, notes)


def objective(params: StressParams, unloaded_s: float) -> Slo:
    """The SLO asked for, or `latency_s` at SLO_FACTOR times the unloaded median where none is set."""
    asked = params.slo or Slo()
    if asked.ttft_s is None and asked.tpot_s is None and asked.latency_s is None:
        return Slo(latency_s=SLO_FACTOR * unloaded_s, attainment=asked.attainment)
    return asked


def ramp_of(params: StressParams, unloaded_s: float, *, once: bool) -> Ramp:
    """The ramp asked for, from START_SHARE of the closed-loop rate where no first rate is set; tiny when `once`."""
    rate = params.start_rate or START_SHARE * params.workers / unloaded_s
    if once:
        length = ONCE_REQUESTS / rate
        return Ramp(start_rate=rate, growth=params.growth, max_steps=1, step_s=length, recovery_s=0.0, min_requests=1)
    return Ramp(
        start_rate=rate,
        growth=params.growth,
        max_steps=params.max_steps,
        step_s=params.step_s,
        recovery_s=params.recovery_s,
    )


def _closed_loop(context: Context, params: StressParams, subject: Subject, pool: PromptPool) -> Unloaded:
    done: list[Generation] = []
    rounds = measure_rounds(
        lambda: generate(subject, pool.take(1), params.output_tokens, greedy, context.clock),
        budget=CLOSED_LOOP,
        clock=context.clock,
        once=context.once,
        observe=done.append,
    )
    service = tuple(one.latency_s for one in done)
    if not median(service) > 0:
        raise WorkloadError("found requests that take no measurable time; expected some; give them more output_tokens")
    context.progress(f"stress: unloaded request {median(service) * 1e3:.1f} ms")
    return Unloaded(rounds=rounds, latency_s=median(service), service=service)


def _serve(context: Context, params: StressParams, subject: Subject, pool: PromptPool) -> Callable[[Request], Reply]:
    def serve(request: Request) -> Reply:
        done = generate(subject, pool.at(request.index), params.output_tokens, greedy, context.clock)
        moments = done.token_times_s
        return Reply(first_token_s=moments[0], finished_s=moments[-1], tokens=len(moments))

    return serve


def _teller(context: Context, ramp: Ramp) -> Observe:
    def tell(run: StepRun, logs: Sequence[RequestLog]) -> None:
        step = run.step
        place = f"step {step.index + 1}/{ramp.max_steps}" if step.kind == RAMP else "recovery"
        state = "SLO met" if run.verdict.met else "SLO broken"
        context.progress(f"stress: {place}, {step.rate:.1f} requests/s offered, {_slowest(logs)}, {state}")

    return tell


def _slowest(logs: Sequence[RequestLog]) -> str:
    """p95 of the latency, or the largest where there are too few requests for it."""
    known = times(logs, lambda log: log.latency_s)
    if not known:
        return "nothing completed"
    p95, _ = percentile(known, 95)
    return f"p95 {p95 * 1e3:.0f} ms" if p95 is not None else f"slowest of {len(known)} {max(known) * 1e3:.0f} ms"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Shorten the two pauses that Python itself would add to a request while several threads run.

    What libraries have built is kept out of garbage collections, which halt all threads; and the sender, when its
    moment comes, gets the interpreter's lock after SWITCH_S instead of the default of 5 ms.
    """
    before = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()
