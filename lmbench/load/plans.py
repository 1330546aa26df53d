"""The nouns of a load run: what is planned, how each step went, and the run as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.load.arrivals import Arrivals, Schedule, schedule
from lmbench.load.requests import RequestLog
from lmbench.load.shapes import INTERRUPTED, RECOVERY, Passed, Shape, Step
from lmbench.load.slo import Verdict
from lmbench.load.targets import Sent, Watch, no_watch
from lmbench.suite.params import Slo


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRun:
    """One step as it went. `cpu_s` is the process's CPU time from `step.start_s` to `settled_s`.

    Of a piece of a continuous shape it is the piece's share of the whole run's CPU time.
    """

    step: Step
    verdict: Verdict
    schedule: str
    """Digest of the arrivals: equal seeds and rates offer equal loads."""
    sent: Sent
    settled_s: float
    cpu_s: float
    still_open: int = 0
    """Requests that had not ended at `settled_s`, when the next step could begin."""

    @property
    def passed(self) -> Passed:
        return Passed(step=self.step, verdict=self.verdict, cut=self.sent.cut)

    @property
    def met(self) -> bool:
        """Whether the SLO was met and the step was not cut short."""
        return self.passed.met

    @property
    def interrupted(self) -> bool:
        return self.sent.cut == INTERRUPTED

    @property
    def sending_s(self) -> float:
        """Seconds in which its requests were due: its length, or up to the moment it was cut."""
        if self.sent.cut_s is None:
            return self.step.duration_s
        return min(self.step.duration_s, max(0.0, self.sent.cut_s - self.step.start_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Everything that was sent, by step."""

    steps: tuple[StepRun, ...]
    logs: tuple[RequestLog, ...]
    drained: bool
    """False when requests were still open after the drain time and were cancelled."""
    stopped: str = ""
    """Why the shape was not carried out to its end; empty when it was."""
    interrupted: bool = False
    """Whether Ctrl-C or a signal ended it: within its last step, or after it, while answers were awaited."""
    ended_by: str = ""
    """What that was, such as 'ended by SIGTERM'."""

    @property
    def rising(self) -> tuple[StepRun, ...]:
        """The steps whose rates are tried against the SLO: recovery and what was interrupted left out."""
        return tuple(run for run in self.steps if run.step.kind != RECOVERY and not run.interrupted)

    @property
    def recovery(self) -> StepRun | None:
        return next((run for run in self.steps if run.step.kind == RECOVERY), None)

    def of_step(self, index: int) -> tuple[RequestLog, ...]:
        """The logs of one step, in order of submission."""
        return tuple(log for log in self.logs if log.request.step == index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is offered and how it is judged. `cpu_s` reads the CPU seconds of this process; `seed` makes the arrivals.

    `watch` makes the watch of one step, which may end it early.
    """

    shape: Shape
    slo: Slo
    seed: int
    drain_s: float
    """The longest wait for what is open at the end, and between steps that must not inherit a backlog."""
    cpu_s: Callable[[], float]
    schedule: Callable[[Step, np.random.Generator], Schedule] = lambda step, rng: schedule(step, Arrivals(), rng)
    watch: Callable[[Step], Watch] = lambda _: no_watch
    partial: bool = False
    """Whether Ctrl-C ends the run with what there is, instead of being passed on."""

    def rng(self, step: Step) -> np.random.Generator:
        """The step's own random numbers: a step is the same whatever came before it."""
        return np.random.default_rng([self.seed, step.index])


def no_keep(_: Sequence[RequestLog]) -> None:
    """Keeps nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told while the run goes on."""

    observe: Callable[[StepRun, Sequence[RequestLog]], None] = lambda _, __: None
    """Each step and its requests, once it is decided."""
    keep: Callable[[Sequence[RequestLog]], None] = no_keep
    """Requests that have ended since the last call: about twice a second and at the end, whatever that is."""
