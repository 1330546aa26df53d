"""What a load run found: the limit, the knee, what broke first, how it recovered, whether it leaked; each with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from lmbench.base.units import pretty
from lmbench.load.bottleneck import LATE_CLIENT, classify, late_client
from lmbench.load.evidence import Bottleneck, Evidence
from lmbench.load.headroom import LEAST_LAG_S
from lmbench.load.knee import Knee, knee
from lmbench.load.profiles import Soak
from lmbench.load.recovery import after_spike
from lmbench.load.requests import accounts
from lmbench.load.shapes import SPIKE
from lmbench.load.slo import judge, recovery_s
from lmbench.load.soak import Drift, Leak, drift, leak
from lmbench.load.steps import tail_of
from lmbench.measure.measurement import Metric
from lmbench.workloads.facts import known
from lmbench.workloads.stress_outcome import NOT_LOOKED_FOR, Limit, Outcome, limit

SHORT = 0.9
"""Answers of fewer than this share of the tokens asked for are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is said of a run."""

    limit: Limit
    knee_rate: float | None
    knee_reason: str
    knee_high: float | None
    recovery_s: float | None
    recovery_step_s: float | None
    """What `recovery_s` is a multiple of, where it is one."""
    metrics: tuple[Metric, ...]
    details: Mapping[str, Any]
    notes: tuple[str, ...] = field(default=())


def findings(outcome: Outcome) -> Findings:
    """Everything that can be said of `outcome`, and why the rest cannot."""
    top = limit(outcome)
    bend = _knee(outcome)
    evidence = _evidence(outcome)
    cause = classify(evidence)
    recovered, not_recovered, recovery = _recovery(outcome)
    leaked, drifted = _soak(outcome)
    return Findings(
        limit=top,
        knee_rate=bend.rate,
        knee_reason=bend.reason,
        knee_high=bend.high,
        recovery_s=recovered,
        recovery_step_s=None if recovery is None else recovery["step_s"],
        metrics=(known("recovery_s", recovered, reason=not_recovered), *_soak_metrics(leaked, drifted)),
        details={
            "limit": asdict(top),
            "knee": asdict(bend),
            "bottleneck": asdict(cause) | {"evidence": asdict(evidence)},
            "recovery": recovery,
            "soak": None if leaked is None or drifted is None else {"leak": asdict(leaked), "drift": asdict(drifted)},
        },
        notes=(*_headline(outcome, top), *_cause_note(outcome, cause), *_warnings(outcome, top), *_soak_notes(leaked, drifted)),
    )


def _headline(outcome: Outcome, top: Limit) -> tuple[str, ...]:
    """The answer first: which promise, and which rate kept it."""
    if top.state == NOT_LOOKED_FOR:
        return ()
    slo = outcome.slo
    limits = (("first token", slo.ttft_s), ("time per token", slo.tpot_s), ("whole request", slo.latency_s))
    promise = ", ".join(f"{name} within {pretty(value, 's')}" for name, value in limits if value is not None)
    return (f"{slo.attainment * 100:.4g} % of requests with {promise}: {top.reason}",)


def _knee(outcome: Outcome) -> Knee:
    """Of open-loop steps; each rate's requests together, since a search tries some twice."""
    by_rate: dict[float, list[float]] = {}
    for step in outcome.rising:
        if step.run.step.streams is None and step.run.step.kind != SPIKE:
            by_rate.setdefault(step.run.step.mean_rate, []).extend(step.times["latency"])
    return knee([(rate, median(values) if values else None) for rate, values in by_rate.items()])


def _recovery(outcome: Outcome) -> tuple[float | None, str, Mapping[str, Any] | None]:
    """Seconds until the service was back after a spike or a broken ramp, or why that is not known; details of a spike's."""
    if any(step.run.step.kind == SPIKE for step in outcome.steps):
        spike = after_spike(outcome.campaign.logs, [step.run.step for step in outcome.steps])
        return spike.seconds, spike.reason, asdict(spike)
    after = outcome.campaign.recovery
    if after is None:
        broke = any(not run.met for run in outcome.campaign.rising)
        return None, "no recovery step was run" if broke else "the SLO never broke: there was nothing to recover from", None
    broken = [run for run in outcome.campaign.rising if run.step.index < after.step.index][-1]
    ended = broken.step.start_s + broken.sending_s
    value, reason = recovery_s(outcome.campaign.of_step(after.step.index), outcome.slo, ended)
    return value, reason, None


def _soak(outcome: Outcome) -> tuple[Leak | None, Drift | None]:
    if not isinstance(outcome.shape, Soak):
        return None, None
    step = outcome.steps[0].run.step
    inside = [(moment, size) for moment, size in outcome.observed.memory if step.start_s <= moment <= step.end_s]
    return leak(inside, outcome.campaign.logs), drift(outcome.campaign.logs)


def _soak_metrics(leaked: Leak | None, drifted: Drift | None) -> tuple[Metric, ...]:
    per_request = None if leaked is None else leaked.per_request
    per_hour = None if drifted is None else drifted.per_hour
    return (
        known(
            "leak_bytes_per_request",
            per_request,
            reason=leaked.reason if leaked else "only a soak looks for it",
        ),
        known("latency_drift_per_h", per_hour, reason=drifted.reason if drifted else "only a soak looks for it"),
    )


def _soak_notes(leaked: Leak | None, drifted: Drift | None) -> tuple[str, ...]:
    notes = []
    if leaked is not None:
        notes.append(f"memory: {leaked.verdict}: {leaked.reason}")
    if drifted is not None:
        notes.append(f"latency: {drifted.verdict}: {drifted.reason}")
    return tuple(notes)


def _evidence(outcome: Outcome) -> Evidence:
    """Of the highest step, which is the one that broke where one did."""
    top = outcome.top
    counts = accounts(top.logs)
    service = top.times["service"]
    objective = outcome.slo.latency_s
    own = outcome.workers is not None
    facts: dict[str, Any] = dict(outcome.observed.evidence)
    return Evidence(
        broke=not top.run.met,
        sender_lag_p99_s=tail_of(top.times["sender_lag"]) or 0.0,
        loop_lag_p99_s=tail_of(top.times["loop_lag"]),
        lateness_allowed_s=0.0 if own else LEAST_LAG_S,
        median_latency_s=median(top.times["latency"]) if top.times["latency"] else None,
        cpu_utilization=top.cpu_utilization if own else None,
        worker_utilization=top.worker_utilization,
        queue_depth_end=top.run.sent.queue_depth_end or 0,
        failed=counts.failed + counts.timed_out,
        good=judge(top.logs, outcome.slo).good,
        requests=counts.sent,
        rejected=counts.rejected,
        workers=outcome.workers or 0,
        service_over_slo=median(service) / objective if service and objective and own else None,
        in_flight=None if own else _in_flight(outcome),
        latency_over_unloaded=median(top.times["latency"]) / outcome.unloaded.latency_s if top.times["latency"] else None,
        **facts,
    )


def _in_flight(outcome: Outcome) -> float | None:
    """Mean number of the top step's requests that were open while it was sent."""
    run = outcome.top.run
    begin, end = run.step.start_s, run.step.start_s + run.sending_s
    open_s = 0.0
    for log in outcome.top.logs:
        ended = log.finished_s if log.finished_s is not None else end
        open_s += max(0.0, min(ended, end) - max(log.request.sent_s, begin))
    return open_s / run.sending_s if run.sending_s > 0 else None


def _cause_note(outcome: Outcome, cause: Bottleneck) -> tuple[str, ...]:
    """What broke first, with its evidence and one recommendation; nothing where the SLO held at every rate."""
    if outcome.top.run.met or outcome.top.run.interrupted:
        return ()
    step = outcome.top.run.step
    load = f"{step.streams} streams" if step.streams else f"{step.mean_rate:.4g} requests/s"
    return (f"the SLO broke at {load}; bottleneck: {cause.resource}: {cause.because}; {cause.recommendation}",)


def _warnings(outcome: Outcome, top: Limit) -> tuple[str, ...]:
    notes: list[str] = []
    times = outcome.shown.times
    typical = median(times["latency"]) if times["latency"] else None
    lag = tail_of(times["sender_lag"])
    if outcome.workers is not None and lag is not None and late_client(lag, typical):
        notes.append(
            f"latencies are invalid because the client was late: p99 of sent minus scheduled is {lag * 1e3:.2f} ms, "
            f"more than {LATE_CLIENT:.0%} of the median latency"
        )
    notes += top.violations
    cut = [step.run for step in outcome.steps if step.run.sent.cut and not step.run.interrupted]
    notes += [f"step {run.step.index + 1} was ended early: {run.sent.cut}" for run in cut]
    notes += filter(None, [outcome.campaign.stopped, _short_answers(outcome)])
    if not outcome.campaign.drained and not outcome.campaign.interrupted:
        notes.append("requests still open when the drain time was over were cancelled")
    if outcome.campaign.interrupted:
        how = outcome.campaign.ended_by
        notes.append(f"the run was interrupted ({how}): this report is partial, and its last step may be a part of one")
    return tuple(notes)


def _short_answers(outcome: Outcome) -> str:
    """A word when answers are shorter than asked: fewer tokens look faster, and are less work."""
    done = [log for log in outcome.shown.logs if log.completed]
    if not done:
        return ""
    asked, got = median(outcome.asked(log.request.index) for log in done), median(log.tokens for log in done)
    if got >= SHORT * asked:
        return ""
    return f"answers had {got:g} tokens (median) where {asked:g} were asked for, which is less work; see ignore_eos"
