"""How long training takes: tokens over measured tokens/s, times a scaling efficiency that somebody must answer for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmbench.base.errors import SubjectError
from lmbench.capacity.matching import Source, absent, failing, newest
from lmbench.capacity.nouns import Interval
from lmbench.capacity.roofline import roofline
from lmbench.capacity.training_file import TrainingOption, TrainingRequest
from lmbench.record.record import FULL, OK, Record

RESAMPLES = 2000
HOUR_S = 3600.0
LEFT_OUT = "data loading, checkpoints, evaluations and failures are not in it"
OWN_COUNT = "FLOPs are by the model's own formula"
KAPLAN = "FLOPs are 6 per parameter and token (Kaplan et al. 2020), attention not counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """One option's training run. Times in seconds, energy in joules; None where an input is not known."""

    node_id: str
    machine_class: str
    measured_at: str
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
    """Of all machines together: as measured, times the efficiency."""
    warnings: tuple[str, ...] = ()
    """What the record says must be read beside its numbers."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOption:
    """One option of a training plan; without a plan `refused` says why."""

    name: str
    option: TrainingOption
    plan: TrainingPlan | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlans:
    """All options: those that meet the deadline by cost, then time; then the others by time; then those that are not known."""

    request: TrainingRequest
    options: tuple[PlannedOption, ...]

    @property
    def kept(self) -> tuple[PlannedOption, ...]:
        """The options that meet the deadline, also at the unfavourable end of their interval; without one, all that are known."""
        return tuple(one for one in self.options if _meets(one, self.request))


def training_plans(request: TrainingRequest, sources: Sequence[Source]) -> TrainingPlans:
    """Plan every option from the newest full record of its workload that tells of it."""
    options = [_planned(name, option, request.tokens, sources) for name, option in request.options.items()]

    def rank(one: PlannedOption) -> tuple[bool, float, float]:
        meets = _meets(one, request)
        cost = one.plan.cost if one.plan is not None and one.plan.cost is not None and meets else math.inf
        return not meets, cost, one.plan.time_s if one.plan else math.inf

    return TrainingPlans(request=request, options=tuple(sorted(options, key=rank)))


def training_plan(
    record: Record,
    tokens: float,
    *,
    machines: int = 1,
    efficiency: float = 1.0,
    price_per_hour: float | None = None,
    busy_w: float | None = None,
) -> TrainingPlan:
    """Plan `tokens` of training from a training_step or data_parallel record; SubjectError for a record that tells no rate.

    `efficiency` is the share of `machines` times one machine's rate that all of them reach together.
    """
    rate = _value(record, "trained_tokens_per_s")
    steps = tuple(record.series.get("step", ()))
    if record.status != OK or record.mode != FULL or not rate or not steps:
        raise SubjectError(f"{record.case.node_id}: found no measured training rate; run its case in full")
    together = rate * machines * efficiency
    low, high = _relative_interval(steps)
    time_s = tokens / together
    hours = time_s / HOUR_S * machines
    energy, energy_note = _energy(record, tokens, machines) if busy_w is None else (busy_w * time_s * machines, "")
    flops, flops_note = _flops(record, tokens, tokens_per_step=rate * float(np.mean(steps)))
    utilization = _value(record, "mfu")
    given = f"an efficiency of {efficiency:.0%} on {machines} machines was given, not measured" if machines > 1 else ""
    return TrainingPlan(
        node_id=record.case.node_id,
        machine_class=record.machine_class,
        measured_at=record.started_at,
        machines=machines,
        tokens=tokens,
        tokens_per_s=together,
        time_s=time_s,
        time_interval_s=(time_s * low, time_s * high),
        steps=len(steps),
        efficiency=efficiency,
        machine_hours=hours,
        energy_j=energy,
        cost=None if price_per_hour is None else price_per_hour * hours,
        flops=flops,
        mfu=None if utilization is None else utilization * efficiency,
        warnings=record.notes,
        notes=tuple(filter(None, (given, energy_note, flops_note, LEFT_OUT))),
    )


def _planned(name: str, option: TrainingOption, tokens: float, sources: Sequence[Source]) -> PlannedOption:
    source = newest(option.workload, option, sources)
    if source is None:
        return PlannedOption(name=name, option=option, refused=absent(option.workload, option, sources))
    try:
        found = training_plan(
            source.record,
            tokens,
            machines=option.machines,
            efficiency=1.0 if option.efficiency is None else option.efficiency,
            price_per_hour=option.price_per_hour,
            busy_w=option.busy_w,
        )
    except SubjectError as error:
        return PlannedOption(name=name, option=option, refused=str(error))
    failed = failing(source, sources)
    if failed:
        found = replace(found, warnings=(failed, *found.warnings))
    return PlannedOption(name=name, option=option, plan=found)


def _meets(one: PlannedOption, request: TrainingRequest) -> bool:
    if one.plan is None:
        return False
    return request.deadline_h is None or one.plan.time_interval_s[1] <= request.deadline_h * HOUR_S


def _energy(record: Record, tokens: float, machines: int) -> tuple[float | None, str]:
    """By what was measured per token, which tells of one machine only; and what that covers."""
    found = record.metrics.get("energy_per_token_j")
    if machines > 1 or found is None or found.value is None:
        return None, ""
    return found.value * tokens, f"energy is the measured one per token, which {found.reason}"


def _flops(record: Record, tokens: float, *, tokens_per_step: float) -> tuple[float | None, str]:
    """Of `tokens`, and how they were counted: MFU times its ceiling gives the model's own count back."""
    (step,) = roofline(record) or (None,)
    if step is not None and step.flops is not None:
        return step.flops * tokens / tokens_per_step, OWN_COUNT
    parameters = _value(record, "parameters")
    return (None, "") if parameters is None else (6 * parameters * tokens, KAPLAN)


def _relative_interval(samples: Sequence[float]) -> Interval:
    """95 % interval of the mean over the mean, by the bootstrap (Efron 1979), steps taken to be independent."""
    values = np.asarray(samples)
    means = np.random.default_rng(0).choice(values, size=(RESAMPLES, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]) / values.mean()
    return float(low), float(high)


def _value(record: Record, name: str) -> float | None:
    found = record.metrics.get(name)
    return None if found is None else found.value
