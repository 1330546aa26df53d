"""What a load run came to: its metrics, its details for the report, and the sentences a reader must see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from lmbench.load.requests import accounts
from lmbench.load.slo import judge
from lmbench.load.steps import columns, row, tail_of, times
from lmbench.load.timeline import as_rows, timeline
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.statistics import distribution, tail
from lmbench.workloads.facts import known
from lmbench.workloads.stress_findings import Findings, findings
from lmbench.workloads.stress_outcome import NOT_LOOKED_FOR, Outcome
from lmbench.workloads.stress_shape import line

MAX_ROWS = 20_000
"""Requests kept one by one in a record; the metrics are made from all of them, and the request log has all."""
MAX_MEMORY = 1000
LADDER = ("max_sustainable_rate", "goodput_requests_per_s", "requests_per_s", "output_tokens_per_s")
"""Rates that are those of the limit's step."""
SHOWN = ("latency", "ttft", "service", "tpot", "itl")


def measurement(outcome: Outcome, facts: Mapping[str, Any]) -> Measurement:
    """Distributions are those of the shown step: latencies beyond the limit grow with the length of the step."""
    found = findings(outcome)
    series = {name: outcome.shown.times[name] for name in SHOWN}
    notes: tuple[str, ...] = ()
    if not series["latency"]:
        # Every request of the step failed; the unloaded ones are the only durations there are.
        series["latency"] = outcome.unloaded.samples_s
        notes = ("no request of the shown step completed: the series 'latency' holds the unloaded requests",)
    return Measurement(
        metrics=as_mapping(_metrics(outcome, found)),
        series={name: values[:MAX_ROWS] for name, values in series.items() if values},
        primary="latency",
        details=_details(outcome, found) | dict(facts),
        notes=outcome.unloaded.notes + notes + found.notes + outcome.observed.notes,
    )


def _metrics(outcome: Outcome, found: Findings) -> list[Metric]:
    shown, top, limit = outcome.shown, outcome.top, found.limit
    counts = accounts(outcome.campaign.logs)
    unheld = "" if limit.rate is not None or limit.state == NOT_LOOKED_FOR else limit.reason
    n = len(shown.logs)
    return [
        *chain.from_iterable(distribution(name, shown.times[name]) for name in SHOWN),
        *(tail(name, shown.times[name]) for name in SHOWN),
        known("max_sustainable_rate", limit.shown, n=n, reason=limit.reason),
        known("goodput_requests_per_s", None if unheld else shown.goodput, n=n, reason=unheld),
        known("requests_per_s", None if unheld else shown.achieved_rate, n=n, reason=unheld),
        known("output_tokens_per_s", None if unheld else shown.output_tokens_per_s, n=n, reason=unheld),
        known("knee_rate", found.knee_rate, reason=found.knee_reason),
        metric("offered_rate", top.offered_rate, n=len(top.logs)),
        metric("achieved_rate", top.achieved_rate, n=len(top.logs)),
        known(
            "slo_attainment",
            judge(outcome.campaign.logs, outcome.slo).attainment,
            n=counts.sent,
            reason="no request was scheduled",
        ),
        known(
            "availability",
            counts.completed / (counts.sent - counts.cancelled) if counts.sent > counts.cancelled else None,
            n=counts.sent - counts.cancelled,
            reason="no request was left to its own end",
        ),
        metric("errors", counts.failed + counts.rejected + counts.timed_out, n=counts.sent),
        known("queue_depth_max", outcome.deepest, reason="an endpoint's queue cannot be seen from outside"),
        *_lags(outcome),
        *found.metrics,
        metric("cpu_utilization", top.cpu_utilization),
        known("first_call_s", outcome.unloaded.first_call_s, reason="the first request failed"),
        *outcome.observed.metrics,
    ]


def _lags(outcome: Outcome) -> list[Metric]:
    """The client's own lateness over the whole run: p99, or the largest where there are too few requests for one."""
    logs = outcome.campaign.logs
    sender = times(logs, lambda log: log.request.sender_lag_s)
    loop = times(logs, lambda log: log.loop_lag_s)
    no_loop = "the client of a subject in this process has no event loop"
    return [
        known("sender_lag_p99_s", tail_of(sender), n=len(sender), reason="no request was sent"),
        known("loop_lag_p99_s", tail_of(loop), n=len(loop), reason=no_loop),
    ]


def _resolution(found: Findings) -> dict[str, float | None]:
    """What this run can tell apart of each metric that lies on its ladder: the step that was really run; None: a bound only.

    The rates served at the limit change with it, by whole steps.
    """
    steps: dict[str, float | None] = {}
    if found.limit.shown is not None:
        step = _step(found.limit.rate, found.limit.high)
        steps |= dict.fromkeys(LADDER, step)
    if found.knee_rate is not None:
        steps["knee_rate"] = _step(found.knee_rate, found.knee_high)
    if found.recovery_step_s is not None and found.recovery_s is not None and found.recovery_s > found.recovery_step_s:
        steps["recovery_s"] = found.recovery_s / (found.recovery_s - found.recovery_step_s) - 1
    return steps


def _step(low: float | None, high: float | None) -> float | None:
    return None if not low or high is None else high / low - 1


def _details(outcome: Outcome, found: Findings) -> dict[str, Any]:
    logs = outcome.campaign.logs
    start_s = outcome.started_s
    memory = outcome.observed.memory[:: max(1, len(outcome.observed.memory) // MAX_MEMORY)]
    return {
        "steps": [row(step, start_s=start_s) for step in outcome.steps],
        "shape": line(outcome.shape),
        **found.details,
        "resolution": _resolution(found),
        "slo": outcome.slo.model_dump(),
        "accounts": asdict(accounts(logs)),
        "drained": outcome.campaign.drained,
        "interrupted": outcome.campaign.interrupted,
        "ended_by": outcome.campaign.ended_by,
        "stopped": outcome.campaign.stopped,
        "unloaded_latency_s": outcome.unloaded.latency_s,
        "closed_loop": dict(outcome.unloaded.details),
        "shown_step": outcome.shown.run.step.index,
        "timeline": as_rows(timeline(logs, start_s=start_s)),
        "memory": [{"t_s": round(moment - start_s, 3), "rss_bytes": size} for moment, size in memory],
        **outcome.observed.details,
        "requests": columns(logs, outcome.slo, start_s=start_s, limit=MAX_ROWS),
        "requests_left_out": max(0, len(logs) - MAX_ROWS),
    }
