"""What one workload measured on one subject: metrics with unit and direction, raw series, details, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmbench.base.catalogue import METRICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of the catalogue. `value` is None when it is not known, and then `reason` says why."""

    name: str
    value: float | None
    unit: str
    better: str | None
    kind: str
    n: int | None = None
    """Samples behind the value."""
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"metric {self.name} is None without a reason")


def metric(name: str, value: float | None, *, n: int | None = None, reason: str = "") -> Metric:
    """A metric of the catalogue; raises KeyError for a name the catalogue does not have."""
    spec = METRICS[name]
    number = None if value is None else float(value)
    return Metric(name=name, value=number, unit=spec.unit, better=spec.better, kind=spec.kind, n=n, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Tokens that were processed, prompts included, between two moments of the clock: what energy is told per token of."""

    tokens: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """The result of a workload. Series are raw and in the order they were taken, in seconds.

    `primary` names the series pytest-benchmark shows; it is never empty.
    """

    metrics: Mapping[str, Metric]
    series: Mapping[str, Sequence[float]]
    primary: str
    details: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON: phases, the ramp's steps, the batch sweep, the memory terms ..."""
    notes: tuple[str, ...] = ()
    """Sentences a reader must see beside the numbers."""
    work: Work | None = None
    """Of the timed rounds, where all of them do the same."""


def as_mapping(metrics: Sequence[Metric]) -> dict[str, Metric]:
    """Metrics by name; raises ValueError when two share one."""
    table = {entry.name: entry for entry in metrics}
    if len(table) != len(metrics):
        raise ValueError("two metrics share a name: " + ", ".join(sorted(entry.name for entry in metrics)))
    return table
