"""The nouns of a bottleneck: what is known of a step, and what is concluded from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known of the step that broke (or of the highest one). Times in seconds, shares in [0, 1]; None is not known."""

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
    """Ended with an error; rejected ones are counted in `rejected`."""
    good: int
    requests: int
    workers: int
    service_over_slo: float | None
    """Median service time over the latency objective."""
    rejected: int | None = None
    """Requests turned away by a full queue."""
    queue_limit: int | None = None
    client_cpu_utilization: float | None = None
    """CPU seconds of the busiest client process over wall seconds and the CPUs it can use (one, for one event loop)."""
    lateness_allowed_s: float = 0.0
    """Lateness that never matters: a client's own scheduling over a network."""
    loop_lag_p99_s: float | None = None
    """By how much the client's event loop was late."""
    server_cpu_utilization: float | None = None
    """CPU seconds of the server's process tree over wall seconds and the CPUs it may use."""
    rss_bytes: float | None = None
    memory_limit_bytes: float | None = None
    swap_bytes: float | None = None
    """Swapped in and out during the step."""
    memory_stall_share: float | None = None
    bandwidth_utilization: float | None = None
    """MBU: bytes the model must read per second over the bandwidth measured on this machine."""
    gpu_utilization: float | None = None
    gpu_memory_bytes: float | None = None
    gpu_memory_limit_bytes: float | None = None
    batch_fill: float | None = None
    """Mean batch over the largest allowed."""
    throttled_share: float | None = None
    """Share of the time the control group's CPU quota had run out."""
    in_flight: float | None = None
    """Mean number of an endpoint's requests that were open."""
    latency_over_unloaded: float | None = None
    """Median latency over that of one request at a time."""
    stolen_share: float | None = None
    """Share of the CPUs that the hypervisor gave to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottleneck:
    """The finding: the resource, the sentence that supports it, and what to do about it."""

    resource: str
    because: str
    recommendation: str
