"""Whether the client can keep up with a run: how many processes it needs beforehand, and afterwards whether it was in the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmbench.base.units import pretty

SAFETY = 2.0
"""The client must have shown this many times the rate a run will ask of it: arrivals come in bunches, and a client near
its limit queues them itself."""
FULL_SHARE = 0.9
"""A process that uses this share of a CPU or more has no time left to be on time."""
LAG_SHARE = 0.1
LEAST_LAG_S = 1e-3
"""The client's own lateness may be a tenth of the median latency, and a millisecond in any case."""
VALID = "valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """What the client reached against a server that answers at once, beside what a run plans. Rates in requests/s.

    The probe must send what the run will send: the same API, streamed or not, with as many tokens.
    """

    reached_rate: float
    """By all client processes of the probe together."""
    cpu_s_per_request: float
    """CPU time of the client for one request of the probe."""
    processes: int
    top_rate: float
    """The highest rate of the run."""
    cpus: int
    """CPUs the client may use."""
    safety: float = SAFETY

    def __post_init__(self) -> None:
        positive = min(self.reached_rate, self.cpu_s_per_request, self.processes, self.top_rate, self.cpus) > 0
        if not (positive and self.safety >= 1):
            raise ValueError(f"found {self}; expected positive rates, times and counts, and a safety of at least 1")

    @property
    def rate_per_process(self) -> float:
        """What one client process has shown. Only this counts, not what its CPU time would promise."""
        return self.reached_rate / self.processes

    @property
    def cpu_share(self) -> float:
        """CPU time of each client process over the probe's time. Well below 1: something else bounded the probe."""
        return self.reached_rate * self.cpu_s_per_request / self.processes

    @property
    def factor(self) -> float:
        """How many times the run's top rate the probe's processes reached."""
        return self.reached_rate / self.top_rate

    @property
    def needed(self) -> int:
        """Client processes for the top rate times the safety factor."""
        return max(1, math.ceil(self.top_rate * self.safety / self.rate_per_process))

    @property
    def enough(self) -> bool:
        """Whether this machine has a CPU for each process needed."""
        return self.needed <= self.cpus

    @property
    def verdict(self) -> str:
        """A sentence: what was shown, what that allows, and what to do where it is not enough."""
        shown = f"{self.processes} client {_processes(self.processes)} reached {self.reached_rate:.4g} requests/s"
        wanted = f"{self.safety:g} times the run's {self.top_rate:.4g} requests/s"
        if self.enough:
            return f"{shown} against a server that answers at once; {wanted} need {self.needed}"
        safe = self.rate_per_process * self.cpus / self.safety
        return (
            f"{shown} against a server that answers at once; {wanted} need {self.needed}, and the client has {self.cpus} "
            f"{'CPU' if self.cpus == 1 else 'CPUs'}; keep to {safe:.4g} requests/s or give the client more CPUs"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLoad:
    """How the client itself did during a step. None where it was not measured; times in seconds."""

    latency_p50_s: float | None
    """Median latency of the step's completed requests; None when none completed."""
    sender_lag_p99_s: float | None
    """Sent minus scheduled."""
    loop_lag_p99_s: float | None = None
    """How late the client's event loop was while requests were open; None for clients without one."""
    cpu_share: float | None = None
    """CPU time of the busiest client process over the step's time."""

    @property
    def bound_s(self) -> float:
        """The most the client may be late without spoiling the latencies."""
        return max(LEAST_LAG_S, LAG_SHARE * (self.latency_p50_s or 0.0))


def client_verdict(load: ClientLoad) -> str:
    """VALID, or a sentence: why the step's latencies are (also) the client's and what to do about it."""
    lags = {"requests left": load.sender_lag_p99_s, "answers were read": load.loop_lag_p99_s}
    found = [
        f"{what} up to {pretty(lag, 's')} late (p99)" for what, lag in lags.items() if lag is not None and lag > load.bound_s
    ]
    if load.cpu_share is not None and load.cpu_share >= FULL_SHARE:
        found.append(f"a client process used {load.cpu_share:.0%} of its CPU")
    if found:
        latency = (
            "no request completed" if load.latency_p50_s is None else f"the median latency is {pretty(load.latency_p50_s, 's')}"
        )
        return (
            f"the client was the bottleneck: {' and '.join(found)}, while {latency} and {pretty(load.bound_s, 's')} of lateness "
            "are allowed; use more client processes, CPUs of its own or a lower rate"
        )
    if all(lag is None for lag in lags.values()):
        return "the client's lateness was not measured, so the latencies cannot be told from it"
    return VALID


def _processes(count: int) -> str:
    return "process" if count == 1 else "processes"
