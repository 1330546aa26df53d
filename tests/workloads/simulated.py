"""A stress run of a simulated service in virtual time, as a measurement."""

from __future__ import annotations

from collections.abc import Callable

from lmbench.load.campaign import carry_out
from lmbench.load.driver import Driven
from lmbench.load.plans import Plan
from lmbench.load.ramp import Ramp
from lmbench.load.shapes import Shape
from lmbench.load.simulated import ServiceTime, Simulated
from lmbench.load.steps import Capacity, summarize
from lmbench.load.targets import Watch, no_watch
from lmbench.measure.clock import ManualClock
from lmbench.measure.measurement import Measurement
from lmbench.suite.params import Slo
from lmbench.workloads.serving import Observed, Unloaded
from lmbench.workloads.stress_outcome import Outcome
from lmbench.workloads.stress_result import measurement

RAMP = Ramp(start_rate=25.0, growth=1.5, max_steps=8, step_s=20.0, recovery_s=20.0)


def virtual(
    service: ServiceTime,
    *,
    ramp: Shape = RAMP,
    slo: Slo | None = None,
    cpu: float = 0.0,
    lag_s: float = 0.0,
    workers: int = 1,
    watch: Callable[[], Watch] = lambda: no_watch,
    partial: bool = False,
    asked: int = 2,
) -> Measurement:
    """A stress measurement of a simulated target on a ManualClock; the sender is late by `lag_s` each time."""
    clock = LateClock(lag_s)
    promise = slo or Slo(latency_s=0.05)
    plan = Plan(
        shape=ramp,
        slo=promise,
        seed=1,
        drain_s=100.0,
        cpu_s=lambda: cpu * clock.now(),
        watch=lambda _: watch(),
        partial=partial,
    )
    started = clock.now()
    result = carry_out(plan, Driven(Simulated(service, clock, workers=workers), clock), clock)
    outcome = Outcome(
        campaign=result,
        steps=summarize(result, promise, Capacity(workers=workers, cpus=2)),
        slo=promise,
        shape=ramp,
        workers=workers,
        started_s=started,
        unloaded=Unloaded(latency_s=0.01, samples_s=(0.01,) * 5, first_call_s=0.02, details={"n": 5}),
        observed=Observed(),
        asked=lambda _: asked,
    )
    return measurement(outcome, {})


class LateClock(ManualClock):
    """Wakes up late: what a sender without a core of its own sees."""

    def __init__(self, lag_s: float) -> None:
        super().__init__(50.0)
        self.lag_s = lag_s

    def sleep_until(self, moment: float) -> None:
        super().sleep_until(moment + self.lag_s if self.lag_s else moment)
