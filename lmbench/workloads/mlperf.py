"""mlperf: the in-process subject under MLCommons' LoadGen, in its scenarios, with its numbers and its verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from lmbench.base.catalogue import PERCENTILES
from lmbench.base.seams import FloatArray, IntArray
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.objectives import Objective, as_details, chosen, pinned_note
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.probes.memory import reset_peak
from lmbench.measure.statistics import needed_samples
from lmbench.subject.protocol import Subject
from lmbench.suite.params import Budget, MlperfParams
from lmbench.workloads.context import Context
from lmbench.workloads.facts import known, peak_rss
from lmbench.workloads.generation import REPEATS_FORWARD, Choose, PromptPool, generate, greedy, prompt_pool, require_room
from lmbench.workloads.mlperf_drive import Server, System, drive, load_loadgen
from lmbench.workloads.mlperf_summary import Summary, parse_summary

MULTI_STREAM, SERVER, OFFLINE = "MultiStream", "Server", "Offline"
CLOSED_LOOP = Budget(min_rounds=5, max_rounds=20, max_time_s=1.0, min_warmup_rounds=2, max_warmup_s=2.0)
SERVER_SHARE = 0.5
"""Without target_qps the Server scenario offers this share of what one request after the other would allow."""
SLO_FACTOR = 5.0
OFFLINE_FACTOR = 1.25
"""LoadGen makes Offline's one query from the expected rate: too low a one ends before the shortest duration, which is INVALID."""
STREAM_FACTOR = 0.5
"""LoadGen prepares the queries of the streams from the expected latency: too long a one gives too few of them."""
ONCE_QUERIES = 3
NO_LIMIT_S = 3600.0
UNOFFICIAL = "LoadGen's verdict holds for these settings; it is not a result verified by MLCommons"
OF_QUERIES = "latency_* are LoadGen's, of whole queries (several samples each); the series holds single samples"
SERIES = {"latency": "latency", "ttft": "first token latency", "tpot": "time to output token"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What LoadGen is told to expect and to hold the run to; times in seconds, None where it does not apply."""

    closed_loop: Rounds
    expected_latency_s: float
    """Of one query, from the closed loop."""
    qps: float
    """Offered queries (Server) or expected samples (Offline) per second."""
    latency_s: float | None
    ttft_s: float | None
    tpot_s: float | None
    tokens_timed: bool
    """Whether LoadGen also times first tokens and times per token."""
    objectives: tuple[Objective, ...] = ()
    """Of the Server scenario; elsewhere LoadGen's expectations only make its run long enough."""


def run(context: Context) -> Measurement:
    """Measure the unloaded subject, let LoadGen drive it, and report what LoadGen found. Raises Unavailable without it."""
    params = MlperfParams.model_validate(context.case.params)
    loadgen = load_loadgen()
    # One thread builds, measures and serves the subject: see SubjectServing.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="lmbench-mlperf") as thread:
        subject = thread.submit(context.build.subject).result()
        try:
            return _measure(context, params, subject, loadgen, thread)
        finally:
            subject.close()


def _measure(context: Context, params: MlperfParams, subject: Subject, loadgen: Any, thread: ThreadPoolExecutor) -> Measurement:
    require_room(subject, params.prompt_tokens, params.output_tokens)
    pool = prompt_pool(context.text().valid, tokens=params.prompt_tokens, least=params.batch, seed=context.case.seed)
    reset_peak()  # the build and its check are not what is measured
    targets = thread.submit(_targets, context, params, subject, pool).result()
    settings = _settings(loadgen, params, targets, seed=context.case.seed, once=context.once)
    batch = 1 if params.scenario == "SingleStream" else params.batch
    server = Server(serve=_serve(context, params, subject, pool), thread=thread)
    system = System(loadgen, server, context.clock, batch=batch, tokens=params.output_tokens, timed=targets.tokens_timed)
    context.progress(f"mlperf: {params.scenario}, LoadGen runs for at least {settings.min_duration_ms / 1000:g} s")
    summary = parse_summary(drive(loadgen, system, settings, samples=min(params.samples, len(pool))))
    context.progress(f"mlperf: {_verdict(params, summary)}")
    notes = (*targets.closed_loop.notes(), _verdict(params, summary), *summary.complaints, UNOFFICIAL)
    if params.scenario == MULTI_STREAM:
        notes += (OF_QUERIES,)
    if subject.repeats_full_forward:
        notes += (REPEATS_FORWARD,)
    metrics = as_mapping(_metrics(params, targets, system, summary))
    aims = tuple(replace(one, metrics=tuple(name for name in metrics if name != "first_call_s")) for one in targets.objectives)
    return Measurement(
        metrics=metrics,
        series={"latency": tuple(system.latencies_s)},
        primary="latency",
        details={
            "mlperf": _details(params, targets, system, summary),
            "phases": targets.closed_loop.to_json(),
            **as_details(aims),
        },
        notes=notes + pinned_note(aims),
    )


def _targets(context: Context, params: MlperfParams, subject: Subject, pool: PromptPool) -> Targets:
    """The closed loop, and what is not asked for worked out from it."""
    together = params.batch if params.scenario in (MULTI_STREAM, OFFLINE) else 1
    rounds = measure_rounds(
        lambda: generate(subject, pool.take(together), params.output_tokens, greedy, context.clock),
        budget=CLOSED_LOOP,
        clock=context.clock,
        once=context.once,
    )
    unloaded = max(median(rounds.samples_s), 1e-6)
    share = OFFLINE_FACTOR if params.scenario == OFFLINE else SERVER_SHARE
    limited = params.ttft_s is not None or params.tpot_s is not None
    server = params.scenario == SERVER
    rate = chosen("target_qps", asked=params.target_qps, pins=context.pins if server else {}, own=share * together / unloaded)
    limit = chosen("target.latency_s", asked=params.target_latency_s, pins=context.pins, own=SLO_FACTOR * unloaded)
    return Targets(
        closed_loop=rounds,
        expected_latency_s=unloaded,
        qps=rate.value,
        latency_s=limit.value if server and not limited else None,
        ttft_s=params.ttft_s or (NO_LIMIT_S if limited else None),
        tpot_s=params.tpot_s or (NO_LIMIT_S if limited else None),
        tokens_timed=params.output_tokens > 1 and (limited or not server),
        objectives=((rate,) if limited else (rate, limit)) if server else (),
    )


def _settings(loadgen: Any, params: MlperfParams, targets: Targets, *, seed: int, once: bool) -> Any:
    found = loadgen.TestSettings()
    found.scenario = getattr(loadgen.TestScenario, params.scenario)
    found.mode = loadgen.TestMode.PerformanceOnly
    found.min_duration_ms = 1 if once else max(1, round(params.min_duration_s * 1000))
    found.min_query_count = ONCE_QUERIES if once else params.min_queries
    found.use_token_latencies = targets.tokens_timed
    expected_ns = max(1, round(STREAM_FACTOR * targets.expected_latency_s * 1e9))
    found.single_stream_expected_latency_ns = found.multi_stream_expected_latency_ns = expected_ns
    found.server_target_qps = found.offline_expected_qps = targets.qps
    if targets.latency_s is not None:
        found.server_target_latency_ns = round(targets.latency_s * 1e9)
    if targets.ttft_s is not None and targets.tpot_s is not None:
        found.ttft_latency, found.tpot_latency = round(targets.ttft_s * 1e9), round(targets.tpot_s * 1e9)
    found.qsl_rng_seed = found.sample_index_rng_seed = found.schedule_rng_seed = seed
    return found


def _serve(
    context: Context, params: MlperfParams, subject: Subject, pool: PromptPool
) -> Callable[[Sequence[int], Callable[[], None]], None]:
    def serve(indices: Sequence[int], first: Callable[[], None]) -> None:
        prompts = np.concatenate([pool.at(index) for index in indices])
        generate(subject, prompts, params.output_tokens, _announcing(first), context.clock)

    return serve


def _announcing(first: Callable[[], None]) -> Choose:
    """Greedy choice that calls `first` once the first token is chosen."""
    waiting = [first]

    def choose(logits: FloatArray) -> IntArray:
        chosen = greedy(logits)
        if waiting:
            waiting.pop()()
        return chosen

    return choose


def _metrics(params: MlperfParams, targets: Targets, system: System, summary: Summary) -> list[Metric]:
    samples = len(system.latencies_s)
    rate = summary.rate
    if rate is None and (mean := summary.mean_s("latency")):
        rate = samples / system.queries / mean  # MultiStream: one query after the other
    tokens = None if rate is None else rate * params.output_tokens
    why = "LoadGen gives no rate for so short a run"
    found = [
        known("requests_per_s", rate, n=samples, reason=why),
        known("output_tokens_per_s", tokens, n=samples, reason=why),
        metric("first_call_s", targets.closed_loop.first_call_s),
        peak_rss(),
    ]
    for name, what in SERIES.items():
        # MultiStream's latency is that of its queries, of several samples each.
        count = system.queries if params.scenario == MULTI_STREAM and name == "latency" else samples
        found += _distribution(name, what, summary, count)
    return found


def _distribution(name: str, what: str, summary: Summary, count: int) -> list[Metric]:
    """LoadGen's own mean and percentiles, counted from the scheduled moment; None where too few samples bound one."""
    absent = "LoadGen does not time this here (Server: set ttft_s or tpot_s; Offline: never)"
    found = [known(f"{name}_mean_s", summary.mean_s(what), n=count, reason=absent)]
    for q in PERCENTILES:
        value, reason = summary.percentile_s(what, q), absent
        if value is not None and count < needed_samples(q):
            value, reason = None, f"{count} samples; p{q} needs {needed_samples(q)}"
        found.append(known(f"{name}_p{q}_s", value, n=count, reason=reason))
    return found


def _verdict(params: MlperfParams, summary: Summary) -> str:
    if summary.valid:
        return f"LoadGen: the {params.scenario} run is VALID"
    return f"LoadGen: the {params.scenario} run is INVALID: {'; '.join(summary.reasons)}"


def _details(params: MlperfParams, targets: Targets, system: System, summary: Summary) -> dict[str, Any]:
    limits = {"latency_s": targets.latency_s, "ttft_s": targets.ttft_s, "tpot_s": targets.tpot_s}
    return {
        "scenario": params.scenario,
        "valid": summary.valid,
        "reasons": list(summary.reasons),
        "queries": system.queries,
        "samples": len(system.latencies_s),
        "qps": targets.qps if params.scenario in (SERVER, OFFLINE) else None,
        "limits": {name: limit for name, limit in limits.items() if limit not in (None, NO_LIMIT_S)},
        "summary": dict(summary.values),
    }
