"""The nouns of this room: what is known of one option, what is asked of it, and the plan that comes out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

Interval = tuple[float, float]
"""Low and high end of a 95 % interval."""
Runs = tuple[tuple[float, ...], ...]
"""One number per request, run by run, the newest run last."""
ERROR_RATE = "error_rate"
OTHER_RATES, OLDER_RUNS = "other rates", "older runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of `n` requests that no queue changes, with its 95 % interval; `high` is what a promise is compared with."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A promise that no number of replicas can buy: 'tpot p95' in seconds, or 'error_rate' as a share of the requests."""

    name: str
    limit: float
    found: Estimate | None
    reason: str = ""
    """Why nothing is known."""

    @property
    def said(self) -> str:
        """Its name in words: 'tpot p95', 'error rate'."""
        return self.name.replace("_", " ")

    @property
    def holds(self) -> bool:
        """Whether it is known to be kept; what the records cannot tell is not."""
        return self.found is not None and self.found.high <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class BackTest:
    """One measured rate predicted from what it had no part in: latencies in seconds, rate in requests/s."""

    rate: float
    measured_p95_s: float
    predicted_p95_s: float
    requests: int
    below_knee: bool
    source: str = OTHER_RATES
    """Predicted from the other rates of its own run, or from older runs alone."""

    @property
    def error(self) -> float:
        """Relative error of the prediction; positive: too slow."""
        return self.predicted_p95_s / self.measured_p95_s - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One copy of a model on one machine, as stored records show it. Times in seconds, sizes in bytes; None is not known.

    It serves `slots` requests at once, first come first served, each for one of the measured `service_s` of one of its runs.
    Where `shared` is given it works on all it has instead, on that many as fast as on one alone (see sharing).
    """

    option: str
    slots: int
    service_s: Runs
    shared: float | None = None
    first_token_s: Runs = ()
    """From start of service to the first token, of the same runs; empty when not measured in each of them."""
    prompt_tokens: float | None = None
    """Mean over the measured requests."""
    output_tokens: float | None = None
    rates: tuple[float, ...] = ()
    """Measured rates in requests/s, rising; a plan that goes beyond the last extrapolates."""
    max_rate: float | None = None
    """The highest rate that kept the SLO it was measured under."""
    scaling: Mapping[str, float] = field(default_factory=dict)
    """Service time = fixed_s + prompt_s_per_token * prompt + output_s_per_token * output, where measured lengths allow a fit."""
    steady: Mapping[str, Estimate] = field(default_factory=dict)
    """'tpot p50' .. 'tpot p99' in seconds and 'error_rate': what no number of replicas changes; absent where not known."""
    perplexity_ratio: float | None = None
    weights_bytes: float | None = None
    state_bytes_per_token: float | None = None
    peak_rss_bytes: float | None = None
    memory_bytes: float | None = None
    """Of the machine the records come from."""
    cold_start_s: float | None = None
    joules_per_token: float | None = None
    late_client_s: float | None = None
    """How late requests were sent (p99) where that spoils the latencies; None where they were in time."""
    bottleneck: str = ""
    """What the stress run found to break first."""
    machine_class: str = ""
    backtests: tuple[BackTest, ...] = ()
    sources: tuple[str, ...] = ()
    """Digests of the records, and where they were read."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a field is None, or what a reader must know about how it was found."""
    failing: tuple[str, ...] = ()
    """Cases used here of which a newer record is an error."""

    @property
    def capacity(self) -> float:
        """Requests that are served at full speed."""
        return self.slots if self.shared is None else self.shared

    @property
    def mean_service_s(self) -> float:
        """Each run counts the same."""
        return statistics.fmean(self._means)

    @property
    def slowest_service_s(self) -> float:
        """The mean of the slowest run."""
        return max(self._means)

    @property
    def _means(self) -> list[float]:
        return [statistics.fmean(run) for run in self.service_s]


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
