"""Workloads in virtual time: the fake model behind an engine and a trainer whose calls cost known amounts on a ManualClock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.backends import fake as fake_backend
from lmbench.base.seams import Engine, FloatArray, IntArray, LanguageModel, State
from lmbench.compress import none
from lmbench.measure.ceilings import Ceilings
from lmbench.measure.clock import Clock, ManualClock
from lmbench.models import fake as fake_model
from lmbench.plan.case import Case, Choice
from lmbench.subject.protocol import Fidelity, Subject, TrainingSubject
from lmbench.suite.schemas import WORKLOAD_PARAMS
from lmbench.workloads.context import Context, Text

Cost = Callable[[int, int, int], float]
"""(batch, new tokens, call number) -> seconds."""
CEILINGS = Ceilings(matmul_flops={"fp32": 1e9}, memory_bytes_per_s=1e9, measured_at="2026-01-01T00:00:00+00:00")


def phases(batch: int, tokens: int, call: int) -> float:
    """A prefill of 0.25 s and decode steps of 0.125 s: numbers that binary floats hold exactly."""
    del batch, call
    return 0.25 if tokens > 1 else 0.125


class TimedEngine:
    """The fake engine, each forward moving the clock by its cost."""

    def __init__(self, inner: Engine, clock: ManualClock, cost: Cost) -> None:
        self.inner, self.clock, self.cost = inner, clock, cost
        self.calls: list[IntArray] = []
        self.closed = False

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        self.clock.advance(self.cost(ids.shape[0], ids.shape[1], len(self.calls)))
        self.calls.append(ids)
        return self.inner.forward(ids, positions, state)

    def empty_state(self, batch: int) -> State:
        return self.inner.empty_state(batch)

    def describe(self) -> Mapping[str, object]:
        return self.inner.describe()

    def close(self) -> None:
        self.closed = True


class FakeTrainer:
    """A loss that falls by a tenth per step; a step costs 0.5 s."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.steps = 0
        self.shapes: set[tuple[int, ...]] = set()
        self.closed = False

    def step(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        assert (ids[:, 1:] == targets[:, :-1]).all()
        self.shapes.add(ids.shape)
        self.clock.advance(0.5 if self.steps else 2.0)
        self.steps += 1
        return 4.0 * 0.9**self.steps, 1.0 / self.steps

    def gradient(self, ids: IntArray, targets: IntArray) -> tuple[float, float]:
        return self.loss(ids, targets), 1.0 / (self.steps + 1)

    def loss(self, ids: IntArray, targets: IntArray) -> float:
        del ids, targets
        return float(4.0 * 0.9**self.steps)

    def describe(self) -> Mapping[str, object]:
        grown = {"gradient_bytes": 400, "optimizer_bytes": 800} if self.steps else {}
        return {"engine": "fake", "device": "cpu", "parameter_bytes": 400, **grown}

    def close(self) -> None:
        self.closed = True


class VirtualBuilder:
    """Builds the fake model and keeps what it built for the test to look at."""

    def __init__(self, case: Case, clock: ManualClock | None, cost: Cost) -> None:
        options = dict(case.model.options)
        self.model: LanguageModel = fake_model.build("fake", options, None, case.seed)  # type: ignore[arg-type]
        self.clock, self.cost = clock, cost
        self.engine: TimedEngine | None = None
        self.plain: Engine | None = None
        self.trained: FakeTrainer | None = None
        self.checks: list[bool] = []
        self.trainings: list[tuple[float, str]] = []

    def subject(self, *, check: bool = True) -> Subject:
        engine: Engine = fake_backend.load(self.model, none.build({}), {})
        if self.clock is not None:
            engine = self.engine = TimedEngine(engine, self.clock, self.cost)
        self.checks.append(check)
        description = {"facts": {}, "lineage": {"weights": "fp32"}, "engine": dict(engine.describe())}
        return Subject(model=self.model, engine=engine, description=description)

    def check(self, subject: Subject) -> Subject:
        self.checks.append(True)
        return Subject(
            model=subject.model,
            engine=subject.engine,
            description=subject.description,
            fidelity=Fidelity(values={"perplexity": 2.0}),
        )

    def trainer(self, *, learning_rate: float, precision: str) -> TrainingSubject:
        assert self.clock is not None
        self.trainings.append((learning_rate, precision))
        self.trained = FakeTrainer(self.clock)
        return TrainingSubject(model=self.model, trainer=self.trained, description={})


def make(
    workload: str,
    params: Mapping[str, Any],
    *,
    clock: Clock | None = None,
    cost: Cost = phases,
    model: Mapping[str, Any] | None = None,
    once: bool = False,
    artifacts: Path | None = None,
) -> tuple[Context, VirtualBuilder, list[str]]:
    """A context for `workload`, its builder, and the progress lines it will say; virtual time unless given a clock."""
    kind = Choice(name="fake", kind="fake", options=dict(model or {}))
    case = Case(
        suite="suites/virtual.suite.yaml",
        name=workload,
        workload=workload,
        params=WORKLOAD_PARAMS[workload].model_validate(params).model_dump(),
        model=kind,
        backend=Choice(name="fake", kind="fake"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
        seed=5,
    )
    manual = ManualClock() if clock is None else None
    builder = VirtualBuilder(case, manual, cost)
    ids = np.random.default_rng(0).integers(0, 64, size=20_000)
    said: list[str] = []
    context = Context(
        case=case,
        text=lambda: Text(train=ids[:10_000], valid=ids[10_000:]),
        build=builder,
        clock=manual or clock or ManualClock(),
        progress=said.append,
        ceilings=lambda: CEILINGS,
        once=once,
        artifacts=artifacts,
    )
    return context, builder, said
