"""What a climb came to: the metrics, the ramp curve, the bottleneck and the warnings of a stress measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from statistics import median
from typing import Any

from lmbench.load.bottleneck import LATE_CLIENT, Evidence, classify, late_client
from lmbench.load.climb import Climb
from lmbench.load.requests import Accounts, accounts
from lmbench.load.shapes import RAMP, Ramp
from lmbench.load.slo import Sustainable, judge, max_sustainable, recovery_s
from lmbench.load.steps import StepSummary, columns, row
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import Rounds
from lmbench.measure.statistics import distribution, percentile
from lmbench.suite.params import Slo
from lmbench.workloads.facts import known, peak_rss

MAX_ROWS = 20_000
"""Requests kept one by one in a record; the metrics are made from all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A climb that has ended, and what it was judged by. Times in seconds."""

    climb: Climb
    steps: tuple[StepSummary, ...]
    slo: Slo
    ramp: Ramp
    workers: int
    started_s: float
    unloaded_s: float
    closed_loop: Rounds

    @property
    def ramp_steps(self) -> tuple[StepSummary, ...]:
        return tuple(step for step in self.steps if step.run.step.kind == RAMP)

    @property
    def sustainable(self) -> Sustainable:
        return max_sustainable([(step.run.step.rate, step.run.verdict.met) for step in self.ramp_steps])

    @property
    def shown(self) -> StepSummary:
        """The highest sustained step, or the first one where none was sustained."""
        return self.ramp_steps[self.sustainable.step or 0]


def measurement(outcome: Outcome, notes: tuple[str, ...]) -> Measurement:
    """Distributions are those of the highest sustained step: latencies beyond it grow with the length of the step."""
    lag, _ = _sender_lag(outcome)
    latencies = outcome.shown.times["latency"]
    series = {name: outcome.shown.times[name] for name in ("latency", "ttft", "service", "tpot")}
    if not latencies:
        # Every request of the step failed; the unloaded ones are the only durations there are.
        series["latency"] = tuple(outcome.closed_loop.samples_s)
        notes += ("no request of the shown step completed: the series 'latency' holds the unloaded requests",)
    return Measurement(
        metrics=as_mapping(_metrics(outcome)),
        series={name: values for name, values in series.items() if values},
        primary="latency",
        details=_details(outcome),
        notes=notes + _finding(outcome) + _warnings(outcome, lag),
    )


def _metrics(outcome: Outcome) -> list[Metric]:
    shown, sustainable = outcome.shown, outcome.sustainable
    top = outcome.ramp_steps[-1]
    counts = accounts(outcome.climb.logs)
    unheld = sustainable.reason if sustainable.rate is None else ""
    lag, why = _sender_lag(outcome)
    recovered, not_recovered = _recovery(outcome)
    return [
        *chain.from_iterable(distribution(name, shown.times[name]) for name in ("ttft", "latency", "service", "tpot")),
        known("max_sustainable_rate", sustainable.rate, n=len(shown.logs), reason=unheld),
        known("goodput_requests_per_s", None if unheld else shown.goodput, n=len(shown.logs), reason=unheld),
        known("requests_per_s", None if unheld else shown.achieved_rate, n=len(shown.logs), reason=unheld),
        metric("offered_rate", top.offered_rate, n=len(top.logs)),
        metric("achieved_rate", top.achieved_rate, n=len(top.logs)),
        known(
            "slo_attainment",
            judge(outcome.climb.logs, outcome.slo).attainment,
            n=counts.sent,
            reason="no request was scheduled",
        ),
        metric("errors", counts.failed + counts.rejected, n=counts.sent),
        metric("queue_depth_max", max(step.run.queue_depth_max for step in outcome.steps)),
        known("sender_lag_p99_s", lag, n=counts.sent, reason=why),
        known("recovery_s", recovered, reason=not_recovered),
        metric("cpu_utilization", top.cpu_utilization),
        metric("first_call_s", outcome.closed_loop.first_call_s),
        peak_rss(),
    ]


def _details(outcome: Outcome) -> dict[str, Any]:
    logs = outcome.climb.logs
    evidence = _evidence(outcome)
    return {
        "steps": [row(step, outcome.slo) for step in outcome.steps],
        "sustainable": asdict(outcome.sustainable),
        "bottleneck": asdict(classify(evidence)) | {"evidence": asdict(evidence)},
        "slo": outcome.slo.model_dump(),
        "ramp": asdict(outcome.ramp),
        "accounts": asdict(accounts(logs)),
        "drained": outcome.climb.drained,
        "unloaded_latency_s": outcome.unloaded_s,
        "closed_loop": outcome.closed_loop.to_json(),
        "shown_step": outcome.shown.run.step.index,
        "requests": columns(logs, outcome.slo, start_s=outcome.started_s, limit=MAX_ROWS),
        "requests_left_out": max(0, len(logs) - MAX_ROWS),
    }


def _recovery(outcome: Outcome) -> tuple[float | None, str]:
    if outcome.sustainable.step == len(outcome.ramp_steps) - 1:
        return None, "the SLO never broke: there was nothing to recover from"
    recovery = outcome.climb.recovery
    if recovery is None:
        return None, "no recovery step was run"
    return recovery_s(outcome.climb.of_step(recovery.step.index), outcome.slo, outcome.ramp_steps[-1].run.step.end_s)


def _evidence(outcome: Outcome) -> Evidence:
    """Of the highest ramp step, which is the one that broke where one did."""
    top = outcome.ramp_steps[-1]
    counts: Accounts = accounts(top.logs)
    service = top.times["service"]
    objective = outcome.slo.latency_s
    return Evidence(
        broke=not top.run.verdict.met,
        sender_lag_p99_s=_lag_p99(top.times["sender_lag"]) or 0.0,
        median_latency_s=median(top.times["latency"]) if top.times["latency"] else None,
        cpu_utilization=top.cpu_utilization,
        worker_utilization=top.worker_utilization,
        queue_depth_end=top.run.queue_depth_end,
        failed=counts.failed,
        good=judge(top.logs, outcome.slo).good,
        requests=counts.sent,
        workers=outcome.workers,
        service_over_slo=median(service) / objective if service and objective else None,
    )


def _finding(outcome: Outcome) -> tuple[str, ...]:
    """What broke first, with its evidence and one recommendation; nothing where the SLO held at every rate."""
    evidence = _evidence(outcome)
    if not evidence.broke:
        return ()
    found, rate = classify(evidence), outcome.ramp_steps[-1].run.step.rate
    return (f"the SLO broke at {rate:.4g} requests/s; bottleneck: {found.resource}: {found.because}; {found.recommendation}",)


def _warnings(outcome: Outcome, lag: float | None) -> tuple[str, ...]:
    notes: tuple[str, ...] = ()
    typical = median(outcome.shown.times["latency"]) if outcome.shown.times["latency"] else None
    if lag is not None and late_client(lag, typical):
        notes += (
            f"latencies are invalid because the client was late: p99 of sent minus scheduled is {lag * 1e3:.2f} ms, "
            f"more than {LATE_CLIENT:.0%} of the median latency",
        )
    if not outcome.sustainable.resolved or outcome.sustainable.rate is None:
        notes += (outcome.sustainable.reason,)
    if not outcome.climb.drained:
        notes += ("requests still waiting when the drain time was over were dropped and count as failed",)
    return notes


def _sender_lag(outcome: Outcome) -> tuple[float | None, str]:
    """p99 over the whole run, or the largest where there are too few requests for a p99."""
    value = _lag_p99([lag for step in outcome.steps for lag in step.times["sender_lag"]])
    return value, "" if value is not None else "no request was sent"


def _lag_p99(lags: Sequence[float]) -> float | None:
    """Too few for a p99: the largest, which errs on the side of distrust."""
    value, _ = percentile(lags, 99) if lags else (None, "")
    return value if value is not None else max(lags, default=None)
