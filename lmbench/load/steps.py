"""What each step came to: rates, percentiles and accounts, computed from the logs once everything has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmbench.load.climb import Climb, StepRun
from lmbench.load.requests import RequestLog, accounts
from lmbench.load.slo import good, goodput, judge
from lmbench.measure.statistics import percentile
from lmbench.suite.params import Slo

PERCENTILES = (50, 90, 95, 99)
SHOWN_ERRORS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSummary:
    """One step in numbers. Rates in requests/s, times in seconds, utilizations as shares; None where not known."""

    run: StepRun
    logs: tuple[RequestLog, ...]
    offered_rate: float
    """Arrivals that were scheduled, over the step's length: a Poisson draw around the step's rate."""
    achieved_rate: float
    """Completions over the time from the step's start to its end or its last completion, whichever is later."""
    goodput: float
    cpu_utilization: float
    worker_utilization: float
    times: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """'ttft', 'latency', 'service', 'tpot', 'queue_delay' and 'sender_lag', raw, in order of submission."""


def summarize(climb: Climb, slo: Slo, *, workers: int, cpus: float) -> tuple[StepSummary, ...]:
    """A summary of every step of a climb that has ended."""
    return tuple(_summary(run, climb.of_step(run.step.index), slo, workers, cpus) for run in climb.steps)


def _summary(run: StepRun, logs: tuple[RequestLog, ...], slo: Slo, workers: int, cpus: float) -> StepSummary:
    step = run.step
    ends = [log.finished_s for log in logs if log.finished_s is not None]
    span = max([step.end_s, *ends]) - step.start_s
    service = times(logs, lambda log: log.service_s)
    return StepSummary(
        run=run,
        logs=logs,
        offered_rate=len(logs) / step.duration_s,
        achieved_rate=accounts(logs).completed / span,
        goodput=goodput(logs, slo, step.duration_s),
        cpu_utilization=run.cpu_s / ((run.settled_s - step.start_s) * cpus),
        worker_utilization=min(1.0, sum(service) / (span * workers)),
        times={
            "ttft": times(logs, lambda log: log.ttft_s),
            "latency": times(logs, lambda log: log.latency_s),
            "service": service,
            "tpot": times(logs, lambda log: log.tpot_s),
            "queue_delay": times(logs, lambda log: log.queue_delay_s),
            "sender_lag": times(logs, lambda log: log.request.sender_lag_s),
        },
    )


def times(logs: Sequence[RequestLog], get: Callable[[RequestLog], float | None]) -> tuple[float, ...]:
    """What `get` gives for each log that has it."""
    return tuple(value for value in map(get, logs) if value is not None)


def row(summary: StepSummary, slo: Slo) -> dict[str, Any]:
    """A step as plain JSON: the point of the ramp curve, and everything needed to doubt it."""
    run, verdict = summary.run, judge(summary.logs, slo)
    counts = accounts(summary.logs)
    return {
        "index": run.step.index,
        "kind": run.step.kind,
        "rate": run.step.rate,
        "duration_s": run.step.duration_s,
        "offered_rate": summary.offered_rate,
        "achieved_rate": summary.achieved_rate,
        "goodput_requests_per_s": summary.goodput,
        "sent": counts.sent,
        "completed": counts.completed,
        "failed": counts.failed,
        "rejected": counts.rejected,
        "slo_met": run.verdict.met,
        "attainment": verdict.attainment,
        "attainment_low": verdict.low,
        "attainment_high": verdict.high,
        "queue_depth_max": run.queue_depth_max,
        "queue_depth_end": run.queue_depth_end,
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
        "status": [log.status for log in kept],
        "good": [good(log, slo) for log in kept],
    }


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    return {f"p{q}": percentile(values, q)[0] for q in PERCENTILES}
