"""stress: requests at scheduled moments on a subject or an endpoint; ramped, searched or shaped, until the SLO breaks."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lmbench.base.entry import ENDPOINT
from lmbench.base.files import why
from lmbench.base.registry import MODELS
from lmbench.base.signals import only_note_signals
from lmbench.load.artifacts import NOT_KEPT, Artifacts, artifacts_of
from lmbench.load.campaign import carry_out
from lmbench.load.log_keeper import LogKeeper
from lmbench.load.plans import Campaign, Ears, Plan, StepRun, no_keep
from lmbench.load.request_log import RequestLogWriter
from lmbench.load.requests import RequestLog
from lmbench.load.saturation import OverSaturation
from lmbench.load.shapes import PROBE, RAMP, RECOVERY, Shape, Step
from lmbench.load.steps import summarize, times
from lmbench.load.targets import Pulse, Target, Watch, no_watch
from lmbench.load.traces import Trace
from lmbench.measure.clock import epoch_s, utc_now
from lmbench.measure.measurement import Measurement
from lmbench.measure.objectives import as_details, pinned_note
from lmbench.measure.statistics import percentile
from lmbench.suite.params import StressParams
from lmbench.workloads.asks import Asks, asks_of, trace_of
from lmbench.workloads.context import Context
from lmbench.workloads.serving import Serving
from lmbench.workloads.stress_endpoint import EndpointServing
from lmbench.workloads.stress_in_process import SubjectServing
from lmbench.workloads.stress_objectives import Aims, aims_of
from lmbench.workloads.stress_outcome import Outcome, top_step
from lmbench.workloads.stress_result import measurement
from lmbench.workloads.stress_shape import line, require_begin, schedule_of, shape_of, top_rate

DRAIN_S = 30.0
SWITCH_S = 0.0005
TELL_S = 1.0


def run(context: Context) -> Measurement:
    """Measure the unloaded service, put the load on, say what it sustains, what broke first and whether it recovered."""
    params = StressParams.model_validate(context.case.params)
    trace = trace_of(params)
    as_ids = bool(context.case.model.options.get("token_ids"))
    if (files := _files(context)) is not None:
        files.begin()
    with ThreadPoolExecutor(max_workers=params.workers, thread_name_prefix="lmbench-worker") as threads:
        text = threads.submit(context.text).result()
        asks = asks_of(params, text, context.case.seed, trace, as_ids=as_ids, endpoint=_is_endpoint(context))
        serving = _serving(context, params, asks, threads)
        try:
            return _measure(context, params, serving, _Offer(asks=asks, trace=trace))
        finally:
            serving.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What requests ask, and when they come if that was recorded."""

    asks: Asks
    trace: Trace | None


def _is_endpoint(context: Context) -> bool:
    return MODELS[context.case.model.kind].form == ENDPOINT


def _serving(context: Context, params: StressParams, asks: Asks, threads: ThreadPoolExecutor) -> Serving:
    if _is_endpoint(context):
        return EndpointServing(context, params, asks)
    return SubjectServing(context, params, asks, threads)


def _measure(context: Context, params: StressParams, serving: Serving, offer: _Offer) -> Measurement:
    unloaded = serving.unloaded()
    context.progress(f"stress: unloaded request {unloaded.latency_s * 1e3:.1f} ms")
    aims = aims_of(params, unloaded.latency_s, context.pins)
    slo, shape = aims.slo, shape_of(params, aims.start_rate, offer.trace, once=context.once)
    target = serving.target(top_rate(shape))
    plan = Plan(
        shape=shape,
        slo=slo,
        seed=context.case.seed,
        drain_s=max(DRAIN_S, params.request_timeout_s) if _is_endpoint(context) else DRAIN_S,
        cpu_s=serving.cpu_s,
        schedule=schedule_of(params, shape),
        watch=_watches(context, serving, shape),
        partial=context.partial,
    )
    require_begin(shape)
    files = _files(context)
    started, epoch = context.clock.now(), epoch_s()
    log = _RequestLog(context, files, started)
    result = _carried_out(context, serving, plan, target, log)
    steps = summarize(result, slo, serving.capacity)
    outcome = Outcome(
        campaign=result,
        steps=steps,
        slo=slo,
        shape=shape,
        workers=serving.capacity.workers,
        started_s=started,
        unloaded=unloaded,
        observed=serving.observed(result.logs, top_step(steps)),
        asked=offer.asks.output_tokens,
    )
    facts = {"epoch_s": epoch, "request_log": None, "asks": offer.asks.describe(len(result.logs))}
    found = _with_aims(measurement(outcome, facts), aims, shape)
    path = log.settled(interrupted=result.interrupted)
    notes = (*found.notes, f"{NOT_KEPT}{log.problem}") if log.problem else found.notes
    return replace(found, details={**found.details, "request_log": None if path is None else str(path)}, notes=notes)


def _with_aims(found: Measurement, aims: Aims, shape: Shape) -> Measurement:
    """The measurement with its objectives, and a note on those that the suite does not give."""
    bearing = aims.bearing_on(shape, found.metrics)
    return replace(found, details={**found.details, **as_details(bearing)}, notes=(*found.notes, *pinned_note(bearing)))


def _watches(context: Context, serving: Serving, shape: Shape) -> Callable[[Step], Watch]:
    """Each step's watch: the samplers', a progress line a second, and over-saturation where a limit is looked for."""

    def watch(step: Step) -> Watch:
        looks_for_limit = step.kind in (RAMP, PROBE) and step.streams is None and not shape.continuous
        guard: Watch = OverSaturation() if looks_for_limit else no_watch
        told = step.start_s

        def look(pulse: Pulse) -> str:
            nonlocal told
            serving.pulse()
            if pulse.now_s - told >= TELL_S:
                told = pulse.now_s
                context.progress(_now(shape, step, pulse))
            return guard(pulse)

        return look

    return watch


def _now(shape: Shape, step: Step, pulse: Pulse) -> str:
    load = f"{step.kind} {step.index + 1}, " + (f"{step.streams} streams" if step.streams else f"{step.mean_rate:.4g} requests/s")
    if shape.continuous:
        load = line(shape)
    latency = "" if pulse.latency_s is None else f", median {pulse.latency_s * 1e3:.0f} ms"
    elapsed = pulse.now_s - step.start_s
    return f"stress: {load}, {elapsed:.0f} of {step.duration_s:.0f} s, {pulse.in_flight} in flight{latency}"


def _files(context: Context) -> Artifacts | None:
    """None where the run writes no files."""
    return None if context.artifacts is None else artifacts_of(context.case, context.artifacts)


class _RequestLog:
    """The file of the run's requests, where one is wanted. It costs the run nothing when it cannot be written."""

    def __init__(self, context: Context, files: Artifacts | None, started_s: float) -> None:
        self._files = files
        self.writer: RequestLogWriter | None = None
        self.problem = ""
        if files is None:
            return
        facts = {"case": context.case.node_id}
        try:
            self.writer = RequestLogWriter(files.partial_log, start_s=started_s, started_at=utc_now(), facts=facts)
        except OSError as error:
            self.failed(why(error))

    def failed(self, reason: str) -> None:
        """Note why the log is missing or not whole."""
        place = self._files.folder if self._files is not None else ""
        self.problem = f"the request log, since {place} cannot be written ({reason})"

    def settled(self, *, interrupted: bool) -> Path | None:
        """Where the log is, under its final name when the run came to its end; None without one."""
        if self._files is None or self.problem:
            return None
        try:
            return self._files.partial_log if interrupted else self._files.settle()
        except OSError as error:
            self.failed(why(error))
            return None


def _carried_out(context: Context, serving: Serving, plan: Plan, target: Target, log: _RequestLog) -> Campaign:
    """The load itself, its requests written down as they end."""
    with _undisturbed(), ExitStack() as stack:
        keeper = None
        if log.writer is not None:
            keeper = LogKeeper(stack.enter_context(log.writer))
            stack.callback(keeper.close)
        result = carry_out(plan, target, context.clock, _ears(context, serving, plan.shape, keeper))
        if context.partial:
            only_note_signals()
        if keeper is not None:
            keeper.finish(result.logs)
            if keeper.problem:
                log.failed(keeper.problem)
    if plan.shape.continuous:
        serving.step_done(None)
    return result


def _ears(context: Context, serving: Serving, shape: Shape, keeper: LogKeeper | None) -> Ears:
    """Progress per step, and every request written down as soon as its end is known."""

    def observe(run: StepRun, logs: Sequence[RequestLog]) -> None:
        if not shape.continuous:
            serving.step_done(run.step.index)
        context.progress(_line(run, logs))

    return Ears(observe=observe, keep=no_keep if keeper is None else keeper.keep)


def _line(run: StepRun, logs: Sequence[RequestLog]) -> str:
    step = run.step
    place = "recovery" if step.kind == RECOVERY else f"{step.kind} {step.index + 1}"
    load = f"{step.streams} streams" if step.streams else f"{step.mean_rate:.4g} requests/s offered"
    state = f"ended early: {run.sent.cut}" if run.sent.cut else f"SLO {run.passed.state}"
    return f"stress: {place}, {load}, {_slowest(logs)}, {state}"


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
