"""The nouns of this room: what is known of one option, what is asked of it, and the plan that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """One measured rate left out of the fit and predicted: latencies in seconds, rate in requests/s."""

    rate: float
    measured_p95_s: float
    predicted_p95_s: float
    requests: int
    below_knee: bool

    @property
    def error(self) -> float:
        """Relative error of the prediction; positive: too slow."""
        return self.predicted_p95_s / self.measured_p95_s - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One copy of a model on one machine, as stored records show it. Times in seconds, sizes in bytes; None is not known.

    It serves `slots` requests at once, first come first served, each for one of the measured `service_s`.
    """

    option: str
    slots: int
    service_s: tuple[float, ...]
    first_token_s: tuple[float, ...] = ()
    """Of each request, from start of service to its first token; empty when not measured."""
    prompt_tokens: float | None = None
    """Mean over the measured requests."""
    output_tokens: float | None = None
    rates: tuple[float, ...] = ()
    """Measured rates in requests/s, rising; a plan that goes beyond the last extrapolates."""
    max_rate: float | None = None
    """The highest rate that kept the SLO it was measured under."""
    scaling: Mapping[str, float] = field(default_factory=dict)
    """Service time = fixed_s + prompt_s_per_token * prompt + output_s_per_token * output, where measured lengths allow a fit."""
    perplexity_ratio: float | None = None
    weights_bytes: float | None = None
    state_bytes_per_token: float | None = None
    peak_rss_bytes: float | None = None
    memory_bytes: float | None = None
    """Of the machine the records come from."""
    cold_start_s: float | None = None
    joules_per_token: float | None = None
    bottleneck: str = ""
    """What the stress run found to break first."""
    machine_class: str = ""
    backtests: tuple[BackTest, ...] = ()
    sources: tuple[str, ...] = ()
    """Digests of the records, and where they were read."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a field is None, or what a reader must know about how it was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Latency of one replica among many behind a router, by the rate each gets: rising `rates`, quantiles in seconds.

    Made by simulation; each value has its interval over lanes, and every lane drew its own sample of the measured times, so that
    the interval holds both what chance does and what few measurements leave open.
    """

    option: str
    policy: str
    shard: int
    """Replicas simulated together."""
    rates: tuple[float, ...]
    utilization: tuple[float, ...]
    latency_s: Mapping[str, tuple[float, ...]]
    """Quantile by name ('p50', 'p90', 'p95', 'p99') -> value at each rate."""
    latency_low_s: Mapping[str, tuple[float, ...]]
    latency_high_s: Mapping[str, tuple[float, ...]]
    ttft_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ttft_low_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ttft_high_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    shard_error: float | None = None
    """Largest relative difference of p95 between shards of this size and of half of it: what a larger one could still change."""
    closed_form: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Mean waits at each rate in seconds: 'simulated', 'erlang_c', 'allen_cunneen'."""
