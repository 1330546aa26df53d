"""What the stress workload needs of what it puts load on, whether that answers in this process or over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lmbench.load.requests import RequestLog
from lmbench.load.steps import Capacity, StepSummary
from lmbench.load.targets import Target
from lmbench.measure.measurement import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """One request at a time, nothing waiting: the median latency in seconds, all of them, and the first call of all."""

    latency_s: float
    samples_s: tuple[float, ...]
    first_call_s: float | None
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was seen of the service and the client beside the requests, for the bottleneck's evidence and the record.

    Every entry of `evidence` is a field of load.bottleneck.Evidence.
    """

    evidence: Mapping[str, float | None] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Metric, ...] = ()
    notes: tuple[str, ...] = ()
    memory: Sequence[tuple[float, float]] = ()
    """(moment on the run's clock, resident bytes of the service) over the run; empty where it cannot be seen."""
    invalid: Mapping[int, str] = field(default_factory=dict)
    """Steps whose latencies are (also) the client's, and why."""


class Serving(Protocol):
    """A service under load, open from before the first request to after the last."""

    @property
    def capacity(self) -> Capacity: ...
    def unloaded(self) -> Unloaded:
        """Measure one request after the other."""

    def target(self, top_rate: float | None) -> Target:
        """Where the run's requests go; `top_rate` is the highest rate planned, None where it is not known ahead."""

    def cpu_s(self) -> float:
        """CPU seconds so far of the process whose utilization the steps show: the subject's, or the client's."""

    def pulse(self) -> None:
        """Called a few times a second while requests are sent."""

    def step_done(self, index: int | None) -> None:
        """Called when a step has been decided; once, with None, after a shape whose steps are not told apart."""

    def observed(self, logs: Sequence[RequestLog], top: StepSummary) -> Observed:
        """What was seen, once the run is over; evidence is of the step `top`."""

    def close(self) -> None: ...
