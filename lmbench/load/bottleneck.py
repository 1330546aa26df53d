"""Which resource gave out first: a classification that states its evidence, made from counts and times alone."""

from __future__ import annotations

from dataclasses import dataclass

LATE_CLIENT = 0.10
"""A client later than this share of the median latency has measured itself."""
BUSY = 0.8
"""Above this utilization queueing dominates: at 0.8 an M/D/1 request waits twice its service time on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of the step that broke (or of the highest one). Times in seconds, utilizations in [0, 1]."""

    broke: bool
    sender_lag_p99_s: float
    median_latency_s: float | None
    cpu_utilization: float | None
    """CPU seconds of the process over wall seconds and the CPUs it may use."""
    worker_utilization: float | None
    """Seconds of service over wall seconds and workers."""
    queue_depth_end: int
    """Requests waiting when the last one of the step had been sent."""
    failed: int
    good: int
    requests: int
    workers: int
    service_over_slo: float | None
    """Median service time over the latency objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The finding: the resource, the sentence that supports it, and what to do about it."""

    resource: str
    because: str
    recommendation: str


def late_client(sender_lag_p99_s: float, median_latency_s: float | None) -> bool:
    """True when the sender's own lateness is too large a part of the latencies for them to be believed."""
    return median_latency_s is not None and sender_lag_p99_s > LATE_CLIENT * median_latency_s


def classify(evidence: Evidence) -> Bottleneck:
    """The first rule that fits, in order of how much it voids the others."""
    if late_client(evidence.sender_lag_p99_s, evidence.median_latency_s):
        return _client(evidence)
    if not evidence.broke:
        return Bottleneck(
            resource="not reached",
            because="the SLO held at every rate",
            recommendation="raise max_steps, growth or start_rate to find the limit",
        )
    return _no_resource(evidence) or _busy_resource(evidence)


def _client(evidence: Evidence) -> Bottleneck:
    return Bottleneck(
        resource="client",
        because=f"requests left up to {evidence.sender_lag_p99_s * 1e3:.2f} ms late (p99), more than {LATE_CLIENT:.0%} of the "
        f"median latency of {(evidence.median_latency_s or 0.0) * 1e3:.2f} ms",
        recommendation="leave the sender a core of its own (fewer threads for the subject) or lower the rate",
    )


def _no_resource(evidence: Evidence) -> Bottleneck | None:
    """Reasons to miss an SLO that more of any resource would not cure."""
    bad = evidence.requests - evidence.good
    if evidence.failed * 2 > bad:
        return Bottleneck(
            resource="errors",
            because=f"{evidence.failed} of {bad} bad requests failed rather than being late",
            recommendation="read the errors of the step before tuning anything",
        )
    if evidence.service_over_slo is not None and evidence.service_over_slo > 1:
        return Bottleneck(
            resource="service time",
            because=f"the median service time alone is {evidence.service_over_slo:.2f} times the latency objective",
            recommendation="use a faster model, backend or compression, fewer output tokens, or a looser SLO",
        )
    return None


def _busy_resource(evidence: Evidence) -> Bottleneck:
    cpu, workers = _share(evidence.cpu_utilization), _share(evidence.worker_utilization)
    waiting = evidence.queue_depth_end
    if evidence.cpu_utilization is not None and evidence.cpu_utilization >= BUSY:
        return Bottleneck(
            resource="cpu",
            because=f"the process used {cpu} of its CPUs while {waiting} requests waited",
            recommendation="give it more cores, or a compression or backend that needs less arithmetic per token",
        )
    if evidence.worker_utilization is not None and evidence.worker_utilization >= BUSY:
        return Bottleneck(
            resource="queue (workers)",
            because=f"{evidence.workers} worker(s) were busy {workers} of the time, CPUs {cpu}; {waiting} requests waited",
            recommendation="raise workers, let the subject use more threads, or batch requests",
        )
    return Bottleneck(
        resource="unclear",
        because=f"neither CPUs (busy {cpu}) nor workers (busy {workers}) were saturated",
        recommendation="look at the sampler's steal, throttling and memory pressure for this case, and repeat it",
    )


def _share(value: float | None) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"
