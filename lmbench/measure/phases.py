"""The phases of a timed call: first call, warm-up until steady, measured rounds; decides nothing about the numbers."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from lmbench.measure.clock import Clock, process_cpu_s, thread_cpu_s
from lmbench.measure.measurement import Work
from lmbench.measure.steady import SteadyState, Trend, steady, trend
from lmbench.suite.params import Budget

T = TypeVar("T")
COLLECT_EVERY_S = 1.0
"""Garbage is collected between rounds at most this often: training steps leave cycles that hold large tensors."""
REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """Everything timed, raw and in order, in seconds; the other tuples run parallel to `samples_s`."""

    first_call_s: float
    """The first call, lazy initialisation and compilation included."""
    warmup_s: tuple[float, ...]
    samples_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    """CPU time of the process, all threads."""
    thread_cpu_s: tuple[float, ...]
    """CPU time of the calling thread."""
    involuntary_switches: tuple[int, ...]
    """Times another task was preferred (getrusage ru_nivcsw): wall time up, CPU time flat and this up is contention."""
    steady: SteadyState
    """How warm-up ended."""
    trend: Trend
    """Whether the measured rounds still drift."""
    span_s: tuple[float, float]
    """When the first measured round began and the last one ended, on the clock they were timed with."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON for a measurement's details; the samples themselves travel as a series, and a clock's moments mean nothing
        elsewhere.
        """
        data = asdict(self)
        del data["samples_s"], data["span_s"]
        return {**data, "warmup_s": list(self.warmup_s), "rounds": len(self.samples_s)} | {
            name: list(data[name]) for name in ("cpu_s", "thread_cpu_s", "involuntary_switches")
        }

    def work(self, tokens: int) -> Work:
        """The measured rounds, each of `tokens` tokens."""
        return Work(tokens=tokens * len(self.samples_s), start_s=self.span_s[0], end_s=self.span_s[1])

    def notes(self) -> tuple[str, ...]:
        """Sentences a reader must see beside the numbers; empty when all is well."""
        found = []
        if self.steady.reached is False:
            found.append(f"steady state not reached after {self.steady.warmup_rounds} warm-up rounds: {self.steady.reason}")
        elif self.steady.reached is None and self.steady.warmup_rounds:
            found.append(f"steady state unknown: {self.steady.reason}")
        if self.trend.found:
            found.append(f"the measured rounds are not steady: {self.trend.reason}")
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round(Generic[T]):
    begun_s: float
    wall_s: float
    cpu_s: float
    thread_cpu_s: float
    switches: int
    result: T


def measure_rounds(
    call: Callable[[], T],
    *,
    budget: Budget,
    clock: Clock,
    once: bool = False,
    observe: Callable[[T], None] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Rounds:
    """Time `call` as `budget` says: a first call, warm-up rounds until steady, measured rounds.

    Warm-up ends after min_warmup_rounds as soon as the rounds are steady (see lmbench.measure.steady), or after
    max_warmup_s, whatever the outcome. Measuring ends at max_rounds, or at max_time_s once min_rounds are done.
    `observe` is given the result of each measured round, outside the timed region. With `once` there is exactly
    one call, which is first call and only sample. The garbage collector runs only between rounds.
    """
    say = progress or (lambda _: None)
    with quiet_collector():
        first = _timed(call, clock)
        if once:
            if observe:
                observe(first.result)
            reason = "one quick round only"
            return _rounds(first.wall_s, [], [first], SteadyState(reached=None, reason=reason, warmup_rounds=0))
        first_s = first.wall_s
        del first  # a result may be large, and its memory belongs to no later round
        say(f"first call {first_s:.3g} s")
        warmup, outcome = _warm_up(call, budget, clock)
        say(f"{len(warmup)} warm-up rounds: {outcome.reason}")
        return _rounds(first_s, warmup, _measure(call, budget, clock, observe, say), outcome)


def _warm_up(call: Callable[[], T], budget: Budget, clock: Clock) -> tuple[list[float], SteadyState]:
    warmup: list[float] = []
    begun = clock.now()
    while True:
        warmup.append(_timed(call, clock).wall_s)
        if len(warmup) < budget.min_warmup_rounds:
            continue
        outcome = steady(warmup)
        spent = clock.now() - begun
        if outcome.reached or spent >= budget.max_warmup_s:
            return warmup, outcome


def _measure(
    call: Callable[[], T],
    budget: Budget,
    clock: Clock,
    observe: Callable[[T], None] | None,
    say: Callable[[str], None],
) -> list[_Round[None]]:
    rounds: list[_Round[None]] = []
    gc.collect()
    begun = collected = said = clock.now()
    while True:
        entry = _timed(call, clock)
        if observe:
            observe(entry.result)
        rounds.append(_without_result(entry))
        del entry
        now = clock.now()
        done = len(rounds)
        if done >= budget.min_rounds and (done >= budget.max_rounds or now - begun >= budget.max_time_s):
            return rounds
        if now - said >= REPORT_EVERY_S:
            say(f"{done} rounds measured")
            said = now
        if now - collected >= COLLECT_EVERY_S:
            gc.collect()
            collected = clock.now()


def _timed(call: Callable[[], T], clock: Clock) -> _Round[T]:
    """One call. The clock is read innermost, so that the other readings are not in the time."""
    switches, cpu, thread = involuntary_switches(), process_cpu_s(), thread_cpu_s()
    begun = clock.now()
    result = call()
    ended = clock.now()
    thread, cpu, switches = thread_cpu_s() - thread, process_cpu_s() - cpu, involuntary_switches() - switches
    return _Round(begun_s=begun, wall_s=ended - begun, cpu_s=cpu, thread_cpu_s=thread, switches=switches, result=result)


def _without_result(entry: _Round[Any]) -> _Round[None]:
    """Results may be large: they are observed and let go."""
    return replace(entry, result=None)


def _rounds(first_s: float, warmup: list[float], measured: list[_Round[Any]], outcome: SteadyState) -> Rounds:
    samples = tuple(entry.wall_s for entry in measured)
    return Rounds(
        first_call_s=first_s,
        warmup_s=tuple(warmup),
        samples_s=samples,
        cpu_s=tuple(entry.cpu_s for entry in measured),
        thread_cpu_s=tuple(entry.thread_cpu_s for entry in measured),
        involuntary_switches=tuple(entry.switches for entry in measured),
        steady=outcome,
        trend=trend(samples),
        span_s=(measured[0].begun_s, measured[-1].begun_s + measured[-1].wall_s),
    )


def involuntary_switches() -> int:
    """Times another task was preferred to a thread of this process (getrusage(2), ru_nivcsw)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Collect, then keep the garbage collector from running on its own; all as it was afterwards."""
    was_enabled = gc.isenabled()
    frozen_before = gc.get_freeze_count()
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen_before:
            gc.unfreeze()
        if was_enabled:
            gc.enable()
