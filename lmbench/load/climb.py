"""The ramp carried out: step after step against a target, each decided by its SLO, then recovery and drain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.load.arrivals import poisson, schedule_digest
from lmbench.load.driver import send
from lmbench.load.requests import RequestLog
from lmbench.load.shapes import RAMP, RECOVERY, Ramp, Step, next_step
from lmbench.load.slo import Verdict, judge, still_reachable
from lmbench.load.targets import Target
from lmbench.measure.clock import Clock
from lmbench.suite.params import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step as it went. `cpu_s` is the process's CPU time from `step.start_s` to `settled_s`."""

    step: Step
    verdict: Verdict
    schedule: str
    """Digest of the arrivals: equal seeds and rates offer equal loads."""
    queue_depth_max: int
    queue_depth_end: int
    settled_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """Everything that was sent, by step."""

    steps: tuple[StepRun, ...]
    logs: tuple[RequestLog, ...]
    drained: bool
    """False when requests were still waiting after the drain time and were counted as failed."""

    @property
    def ramp(self) -> tuple[StepRun, ...]:
        return tuple(run for run in self.steps if run.step.kind == RAMP)

    @property
    def recovery(self) -> StepRun | None:
        return next((run for run in self.steps if run.step.kind == RECOVERY), None)

    def of_step(self, index: int) -> tuple[RequestLog, ...]:
        """The logs of one step, in order of submission."""
        return tuple(log for log in self.logs if log.request.step == index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What to climb and how it is judged. `cpu_s` reads the CPU seconds of this process; `seed` makes the arrivals."""

    ramp: Ramp
    slo: Slo
    seed: int
    drain_s: float
    cpu_s: Callable[[], float]


Observe = Callable[[StepRun, Sequence[RequestLog]], None]


def climb(route: Route, target: Target, clock: Clock, *, observe: Observe | None = None) -> Climb:
    """Run the ramp to its end and close `target`; `observe` sees each step and its requests once it is decided.

    A step is decided when all its requests have ended or the pending ones cannot save it any more, so a backlog
    is carried into the recovery step, where its clearing is what is measured.
    """
    runs: list[StepRun] = []
    drained = False
    try:
        step = next_step(route.ramp, None, met=True, start_s=clock.now())
        while step is not None:
            before = len(target.logs())
            run = _run_step(route, step, target, clock)
            runs.append(run)
            if observe is not None:
                observe(run, target.logs()[before:])
            step = next_step(route.ramp, step, met=run.verdict.met, start_s=clock.now())
        drained = target.settle(clock.now() + route.drain_s)
    finally:
        target.close()
    return Climb(steps=tuple(runs), logs=target.logs(), drained=drained)


def _run_step(route: Route, step: Step, target: Target, clock: Clock) -> StepRun:
    schedule = poisson(step.rate, step.duration_s, np.random.default_rng([route.seed, step.index]))
    before = len(target.logs())
    cpu = route.cpu_s()
    deepest = send(schedule.tolist(), step, target, clock, first_index=before)
    left = target.queue_depth
    _decide(route, step, target, clock, before)
    settled = clock.now()
    return StepRun(
        step=step,
        verdict=judge(target.logs()[before:], route.slo),
        schedule=schedule_digest(schedule),
        queue_depth_max=deepest,
        queue_depth_end=left,
        settled_s=settled,
        cpu_s=route.cpu_s() - cpu,
    )


def _decide(route: Route, step: Step, target: Target, clock: Clock, before: int) -> None:
    """Wait for the step's requests as long as their outcome can still matter."""
    bound = max(route.slo.latency_s or 0.0, route.slo.ttft_s or 0.0)
    ended = target.settle(step.end_s + bound)
    if not ended and still_reachable(target.logs()[before:], route.slo, clock.now()):
        target.settle(clock.now() + route.drain_s)
