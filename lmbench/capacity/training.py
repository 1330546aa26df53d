"""How long training takes: tokens over measured tokens/s, times a scaling efficiency that somebody must answer for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.base.errors import SubjectError
from lmbench.capacity.nouns import Interval
from lmbench.record.record import FULL, OK, Record

RESAMPLES = 2000
HOUR_S = 3600.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """One option's training run. Times in seconds, energy in joules; None where an input is not known."""

    node_id: str
    machines: int
    tokens: float
    tokens_per_s: float
    """Of all machines together."""
    time_s: float
    time_interval_s: Interval
    """By the spread of the measured steps alone (bootstrap): the efficiency is taken as it was given."""
    steps: int
    efficiency: float
    machine_hours: float
    energy_j: float | None
    cost: float | None
    flops: float | None
    """Of the whole run, by the model's own count: 6 * parameters * tokens where that is not known."""
    mfu: float | None
    notes: tuple[str, ...] = ()


def training_plan(
    record: Record,
    tokens: float,
    *,
    machines: int = 1,
    efficiency: float = 1.0,
    price_per_hour: float | None = None,
    busy_w: float | None = None,
) -> TrainingPlan:
    """Plan `tokens` of training from a training_step record; SubjectError for a record that tells no rate.

    `efficiency` is the share of `machines` times one machine's rate that all of them reach together.
    """
    rate = _value(record, "trained_tokens_per_s")
    steps = tuple(record.series.get("step", ()))
    if record.status != OK or record.mode != FULL or rate is None or not steps:
        raise SubjectError(f"{record.case.node_id}: found no measured training rate; run its training_step case in full")
    together = rate * machines * efficiency
    low, high = _mean_interval(steps)
    mean = float(np.mean(steps))
    time_s = tokens / together
    hours = time_s / HOUR_S * machines
    parameters = _value(record, "parameters")
    notes = ["the cost of data loading, checkpoints and failures is not in it"]
    if machines > 1:
        notes.append(f"an efficiency of {efficiency:.0%} on {machines} machines was given, not measured")
    if parameters is not None:
        notes.append("FLOPs are 6 per parameter and token (Kaplan et al. 2020), attention not counted")
    return TrainingPlan(
        node_id=record.case.node_id,
        machines=machines,
        tokens=tokens,
        tokens_per_s=together,
        time_s=time_s,
        time_interval_s=(time_s * low / mean, time_s * high / mean),
        steps=len(steps),
        efficiency=efficiency,
        machine_hours=hours,
        energy_j=None if busy_w is None else busy_w * time_s * machines,
        cost=None if price_per_hour is None else price_per_hour * hours,
        flops=None if parameters is None else 6 * parameters * tokens,
        mfu=_value(record, "mfu"),
        notes=tuple(notes),
    )


def _mean_interval(samples: Sequence[float]) -> Interval:
    """95 % interval of the mean by the bootstrap (Efron 1979), steps taken to be independent."""
    values = np.asarray(samples)
    means = np.random.default_rng(0).choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _value(record: Record, name: str) -> float | None:
    found = record.metrics.get(name)
    return None if found is None else found.value
