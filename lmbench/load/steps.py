"""What each step came to: rates, percentiles and accounts, computed from the logs once everything has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from lmbench.load.plans import Campaign, StepRun
from lmbench.load.requests import RequestLog, accounts
from lmbench.load.slo import good, goodput
from lmbench.measure.statistics import percentile
from lmbench.suite.params import Slo

PERCENTILES = (50, 90, 95, 99, 99.9)
SHOWN_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the service and its host have: workers (None for an endpoint, whose pool cannot be seen) and CPUs."""

    workers: int | None
    cpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One step in numbers. Rates in requests/s, times in seconds, utilizations as shares; None where not known."""

    run: StepRun
    logs: tuple[RequestLog, ...]
    offered_rate: float
    """Arrivals that were due, over the time they were due in: a draw around the step's rate."""
    achieved_rate: float
    """Completions over the time from the step's start to its end or its last completion, whichever is later."""
    goodput: float
    output_tokens_per_s: float
    cpu_utilization: float
    worker_utilization: float | None
    times: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """'ttft', 'latency', 'service', 'tpot', 'itl', 'queue_delay', 'sender_lag' and 'loop_lag', raw, in order of submission."""


def summarize(campaign: Campaign, slo: Slo, capacity: Capacity) -> tuple[StepSummary, ...]:
    """A summary of every step of a campaign that has ended."""
    return tuple(_summary(run, campaign.of_step(run.step.index), slo, capacity) for run in campaign.steps)


def _summary(run: StepRun, logs: tuple[RequestLog, ...], slo: Slo, capacity: Capacity) -> StepSummary:
    step = run.step
    ends = [log.finished_s for log in logs if log.completed and log.finished_s is not None]
    sent_s = run.sending_s
    span = max([step.start_s + sent_s, *ends]) - step.start_s
    service = times(logs, lambda log: log.service_s)
    workers = capacity.workers
    return StepSummary(
        run=run,
        logs=logs,
        offered_rate=len(logs) / sent_s if sent_s > 0 else 0.0,
        achieved_rate=accounts(logs).completed / span if span > 0 else 0.0,
        goodput=goodput(logs, slo, sent_s) if sent_s > 0 else 0.0,
        output_tokens_per_s=sum(log.tokens for log in logs if log.completed) / span if span > 0 else 0.0,
        cpu_utilization=run.cpu_s / ((run.settled_s - step.start_s) * capacity.cpus),
        worker_utilization=None if workers is None or span <= 0 else min(1.0, sum(service) / (span * workers)),
        times=all_times(logs),
    )


def all_times(logs: Sequence[RequestLog]) -> dict[str, tuple[float, ...]]:
    """Every kind of duration the logs hold, raw."""
    return {
        "ttft": times(logs, lambda log: log.ttft_s),
        "latency": times(logs, lambda log: log.latency_s),
        "service": times(logs, lambda log: log.service_s),
        "tpot": times(logs, lambda log: log.tpot_s),
        "itl": tuple(chain.from_iterable(log.gaps_s for log in logs if log.completed)),
        "queue_delay": times(logs, lambda log: log.queue_delay_s),
        "sender_lag": times(logs, lambda log: log.request.sender_lag_s),
        "loop_lag": times(logs, lambda log: log.loop_lag_s),
    }


def tail_of(values: Sequence[float]) -> float | None:
    """p99; with too few for one the largest, which errs on the side of distrust; None of nothing."""
    value = percentile(values, 99)[0] if values else None
    return value if value is not None else max(values, default=None)


def times(logs: Sequence[RequestLog], get: Callable[[RequestLog], float | None]) -> tuple[float, ...]:
    """What `get` gives for each log that has it."""
    return tuple(value for value in map(get, logs) if value is not None)


def row(summary: StepSummary, *, start_s: float) -> dict[str, Any]:
    """A step as plain JSON: a point of the rate-latency curve, and everything needed to doubt it."""
    run, verdict = summary.run, summary.run.verdict
    step, sent = run.step, run.sent
    return {
        "index": step.index,
        "kind": step.kind,
        "state": run.passed.state,
        "cut": sent.cut,
        "rate": step.rate,
        "end_rate": step.end_rate,
        "streams": step.streams,
        "start_s": step.start_s - start_s,
        "duration_s": step.duration_s,
        "offered_rate": summary.offered_rate,
        "achieved_rate": summary.achieved_rate,
        "goodput_requests_per_s": summary.goodput,
        "output_tokens_per_s": summary.output_tokens_per_s,
        "offered": sent.offered,
        **asdict(accounts(summary.logs)),
        "still_open": run.still_open,
        "slo_met": run.met,
        "attainment": verdict.attainment,
        "attainment_low": verdict.low,
        "attainment_high": verdict.high,
        "queue_depth_max": sent.queue_depth_max,
        "queue_depth_end": sent.queue_depth_end,
        "cpu_utilization": summary.cpu_utilization,
        "worker_utilization": summary.worker_utilization,
        "schedule": run.schedule,
        "percentiles": {name: _percentiles(values) for name, values in summary.times.items()},
        "errors": sorted({log.error for log in summary.logs if log.error})[:SHOWN_ERRORS],
    }


def columns(logs: Sequence[RequestLog], slo: Slo, *, start_s: float, limit: int) -> dict[str, list[Any]]:
    """Every request as columns of plain JSON, moments in seconds since `start_s` to the microsecond; the first `limit`."""

    def moment(value: float | None) -> float | None:
        return None if value is None else round(value - start_s, 6)

    kept = logs[:limit]
    return {
        "step": [log.request.step for log in kept],
        "scheduled": [moment(log.request.scheduled_s) for log in kept],
        "sent": [moment(log.request.sent_s) for log in kept],
        "started": [moment(log.started_s) for log in kept],
        "first_token": [moment(log.first_token_s) for log in kept],
        "finished": [moment(log.finished_s) for log in kept],
        "tokens": [log.tokens for log in kept],
        "status": [log.status for log in kept],
        "good": [good(log, slo) for log in kept],
    }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    return {f"p{q:g}": percentile(values, q)[0] for q in PERCENTILES}
