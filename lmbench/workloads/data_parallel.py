"""data_parallel: one model trained by several processes in step; how far they scale, and where the rest goes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np

from lmbench.base.errors import WorkloadError
from lmbench.base.losses import Losses
from lmbench.base.scratch import scratch
from lmbench.base.seams import ModelFacts
from lmbench.base.threads import thread_budget
from lmbench.measure.measurement import Measurement, Metric, as_mapping, metric
from lmbench.measure.phases import measure_rounds
from lmbench.measure.statistics import distribution, ratio_interval
from lmbench.plan.case import Case
from lmbench.suite.params import DataParallelParams
from lmbench.workloads.context import Context
from lmbench.workloads.facts import described
from lmbench.workloads.replicas import APART, FINISH, GRADIENT, LOSS, STEP, WHOLE, Answer, Replicas

FIXED_STEPS, ONCE_STEPS = 10, 2
"""Optimizer steps between loss_before and loss_after."""
TOLERANCE: Mapping[str, float] = {"fp32": 1e-4, "bf16-autocast": 2e-2}
"""Largest relative difference of loss and gradient norm between the processes' mean and one process with the whole batch."""
KINDS = ("alone", "apart", "together")
Steps = Mapping[str, Sequence[float]]
"""Seconds by kind, one of each per round, in order."""


def run(context: Context) -> Measurement:
    """Start the processes, see that they compute what one would, then time steps of three kinds in turn.

    alone: one process, while the others wait. apart: all at once, each for itself. together: all, their gradients averaged.
    A process has the same batch in all three (weak scaling), so with A, P and T for the mean times of a step

        scaling_efficiency = A / T      contention_share = 1 - A / P      exchange_share = 1 - P / T

    and the efficiency is (1 - contention_share) * (1 - exchange_share): what is lost is told apart.
    """
    params = DataParallelParams.model_validate(context.case.params)
    subject = context.build.trainer(learning_rate=params.learning_rate, precision=params.precision)
    facts = subject.model.facts
    subject.close()
    text = context.text()
    cases, notes = _cases(context.case, params.processes)
    with scratch("replicas") as folder:
        for name, ids in (("train", text.train), ("valid", text.valid)):
            np.save(folder / f"{name}.npy", ids)
        context.progress(f"data_parallel: starting {params.processes} processes")
        with Replicas(cases, folder, context.clock) as replicas:
            return _measure(context, params, replicas, facts=facts, notes=notes)


def _cases(case: Case, processes: int) -> tuple[list[Case], tuple[str, ...]]:
    """The case of each process, with its share of the CPUs or a device of its own; and what must be read beside the numbers."""
    options = case.backend.options
    if options.get("device", "cpu") != "cpu":
        return [_with(case, {**options, "device": f"cuda:{rank}"}) for rank in range(processes)], ()
    budget = thread_budget()
    threads, cpus = options.get("threads") or max(1, budget.threads // processes), budget.usable
    note = f"{processes} processes of {threads} threads share {cpus:g} CPUs: they wait for each other"
    return [_with(case, {**options, "threads": threads})] * processes, (note,) if processes * threads > cpus else ()


def _with(case: Case, options: Mapping[str, object]) -> Case:
    return replace(case, backend=replace(case.backend, options=options))


def _measure(
    context: Context, params: DataParallelParams, replicas: Replicas, *, facts: ModelFacts, notes: Sequence[str]
) -> Measurement:
    _require_the_gradient_of_one(replicas, TOLERANCE[params.precision])
    losses = Losses(facts.vocab_size)
    course = _fixed_course(context, replicas, losses)
    steps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    orders = cycle((KINDS, KINDS[::-1]))

    def observe(found: Mapping[str, float]) -> None:
        for kind, seconds in found.items():
            steps[kind].append(seconds)

    rounds = measure_rounds(
        lambda: {kind: _step_s(replicas, kind, losses) for kind in next(orders)},
        budget=params.budget,
        clock=context.clock,
        once=context.once,
        observe=observe,
        progress=context.progress,
    )
    losses.judge()
    ends = replicas.all(FINISH)
    if len({end["digest"] for end in ends}) != 1:
        raise WorkloadError(f"{params.processes} processes that trained in step hold different weights; expected the same in all")
    interval = ratio_interval(steps["alone"], steps["together"])
    return Measurement(
        metrics=as_mapping([*_rates(params, steps), *course, *_sizes(ends[0]["trainer"], facts.parameters)]),
        series={"step": steps["together"], "step_apart": steps["apart"], "step_alone": steps["alone"]},
        primary="step",
        details={
            "phases": rounds.to_json(),
            "processes": params.processes,
            "tokens_per_step": params.processes * params.batch * params.tokens,
            "efficiency_interval": interval,
            "losses": losses.to_json(),
            "trainer": ends[0]["trainer"],
        },
        notes=(*_said(params, steps, interval), *notes, *rounds.notes()),
    )


def _require_the_gradient_of_one(replicas: Replicas, tolerance: float) -> None:
    """WorkloadError unless the processes' mean gradient is that of one process with all their batches."""
    whole, parts = replicas.first(WHOLE), replicas.all(GRADIENT)
    loss = math.fsum(part["loss"] for part in parts) / len(parts)
    told = [("mean loss", whole["loss"], loss), *(("gradient norm", whole["norm"], part["norm"]) for part in parts)]
    for name, expected, found in told:
        if not abs(found - expected) <= tolerance * max(1.0, abs(expected)):
            raise WorkloadError(
                f"found a {name} of {found:.6g} in {len(parts)} processes; expected {expected:.6g} as in one process with the "
                f"whole batch, within {tolerance:g} relative: they do not train the model that one would"
            )


def _fixed_course(context: Context, replicas: Replicas, losses: Losses) -> list[Metric]:
    steps = ONCE_STEPS if context.once else FIXED_STEPS
    before = replicas.first(LOSS)["loss"]
    last: Sequence[Answer] = ()
    for _ in range(steps):
        last = replicas.all(STEP)
        _note(losses, last)
    after = replicas.first(LOSS)["loss"]
    losses.check(after, "on a batch kept apart")
    context.progress(f"data_parallel: loss {before:.3f} -> {after:.3f} after {steps} steps")
    return [metric("loss_before", before), metric("loss_after", after), metric("gradient_norm", last[0]["norm"])]


def _step_s(replicas: Replicas, kind: str, losses: Losses) -> float:
    """The slowest process decides how long a step takes; `losses` are those of the steps together."""
    if kind == "alone":
        return float(replicas.first(APART)["s"])
    found = replicas.all(APART if kind == "apart" else STEP)
    if kind == "together":
        _note(losses, found)
    return max(float(one["s"]) for one in found)


def _note(losses: Losses, found: Sequence[Answer]) -> None:
    """The mean loss of a step that all processes took."""
    losses.add(math.fsum(one["loss"] for one in found) / len(found), found[0]["norm"])


def _rates(params: DataParallelParams, steps: Steps) -> list[Metric]:
    alone, apart, together = (math.fsum(steps[kind]) / len(steps[kind]) for kind in KINDS)
    count = len(steps["together"])
    rate = params.processes * params.batch / together
    return [
        *distribution("step", steps["together"]),
        metric("samples_per_s", rate, n=count),
        metric("trained_tokens_per_s", rate * params.tokens, n=count),
        metric("scaling_efficiency", alone / together, n=count),
        metric("contention_share", 1 - alone / apart, n=count),
        metric("exchange_share", 1 - apart / together, n=count),
    ]


def _sizes(facts: Mapping[str, object], parameters: int) -> list[Metric]:
    """Of one process."""
    told = [described(name, facts) for name in ("gradient_bytes", "optimizer_bytes")]
    return [*told, metric("parameters", parameters)]


def _said(params: DataParallelParams, steps: Steps, interval: tuple[float, float] | None) -> tuple[str, ...]:
    if interval is None:
        return ()
    low, high = interval
    rounds = len(steps["together"])
    return (f"scaling efficiency of {params.processes} processes: 95 % interval {low:.1%} to {high:.1%} over {rounds} rounds",)
