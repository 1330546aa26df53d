"""The ramp in virtual time: queueing theory, coordinated omission, recovery, rejection, drain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.arrivals import poisson
from lmbench.load.climb import Climb, Route, StepRun, climb
from lmbench.load.driver import send
from lmbench.load.requests import FAILED, Request, accounts
from lmbench.load.shapes import RAMP, RECOVERY, Ramp, Step, next_step
from lmbench.load.simulated import ServiceTime, Simulated
from lmbench.load.slo import max_sustainable, recovery_s
from lmbench.measure.clock import ManualClock
from lmbench.suite.params import Slo

SERVICE_S = 0.01


def run_ramp(
    ramp: Ramp, slo: Slo, service: ServiceTime, *, workers: int = 1, queue_limit: int = 10**6, drain_s: float = 60.0
) -> tuple[Climb, list[StepRun]]:
    clock = ManualClock(100.0)
    seen: list[StepRun] = []
    route = Route(ramp=ramp, slo=slo, seed=3, drain_s=drain_s, cpu_s=lambda: clock.now() / 2)
    target = Simulated(service, clock, workers=workers, queue_limit=queue_limit)
    return climb(
        route, target, clock, observe=lambda run, logs: seen.append(run) if len(logs) == run.verdict.requests else None
    ), seen


def fixed(request: Request) -> float:
    del request
    return SERVICE_S


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_latencies_match_the_theory_of_one_server_with_fixed_service(load: float) -> None:
    clock = ManualClock()
    target = Simulated(fixed, clock)
    duration = 1500.0
    step = Step(index=0, kind=RAMP, rate=load / SERVICE_S, start_s=0.0, duration_s=duration)
    send(poisson(step.rate, duration, np.random.default_rng(1)).tolist(), step, target, clock, first_index=0)
    target.settle(2 * duration)
    waits = [one.queue_delay_s for one in target.logs()]
    # M/D/1 mean wait: load * service / (2 (1 - load)) (Pollaczek 1930, Khinchine 1932).
    assert np.mean([wait for wait in waits if wait is not None]) == pytest.approx(load * SERVICE_S / (2 * (1 - load)), rel=0.08)
    assert {round(one.service_s or 0.0, 9) for one in target.logs()} == {SERVICE_S}


def test_the_sender_never_waits_for_completions() -> None:
    clock = ManualClock()
    target = Simulated(lambda _: 1000.0, clock)
    step = Step(index=0, kind=RAMP, rate=10.0, start_s=5.0, duration_s=1.0)
    deepest = send([0.0, 0.25, 0.5, 0.75], step, target, clock, first_index=0)
    assert [one.request.sent_s for one in target.logs()] == [5.0, 5.25, 5.5, 5.75]
    assert deepest == 3
    assert clock.now() == 6.0


def test_a_freeze_shows_in_the_latency_of_everyone_who_came_meanwhile() -> None:
    clock = ManualClock()
    target = Simulated(lambda request: 1.0 if request.index == 10 else 0.001, clock)
    step = Step(index=0, kind=RAMP, rate=100.0, start_s=0.0, duration_s=2.0)
    send([k / 100 for k in range(200)], step, target, clock, first_index=0)
    target.settle(100.0)
    logs = target.logs()
    slow_latency = sum((one.latency_s or 0) > 0.1 for one in logs)
    slow_service = sum((one.service_s or 0) > 0.1 for one in logs)
    assert slow_service == 1
    assert slow_latency > 90
    assert logs[11].latency_s == pytest.approx(1.0 - 0.01 + 0.001)


def test_the_ramp_finds_the_rate_that_holds_and_recovers() -> None:
    ramp = Ramp(start_rate=25.0, growth=1.5, max_steps=12, step_s=20.0, recovery_s=20.0)
    slo = Slo(latency_s=5 * SERVICE_S)
    result, seen = run_ramp(ramp, slo, fixed)
    rates = [(run.step.rate, run.verdict.met) for run in result.ramp]
    found = max_sustainable(rates)
    assert found.resolved
    assert 50 < (found.rate or 0) < 100
    assert [run.step.kind for run in seen] == [RAMP] * len(result.ramp) + [RECOVERY]
    assert result.recovery is not None
    value, reason = recovery_s(result.of_step(result.recovery.step.index), slo, result.ramp[-1].step.end_s)
    assert reason == ""
    # The backlog of the broken step was still being served when recovery began.
    assert value is not None
    assert 0 < value < 20
    counts = accounts(result.logs)
    assert (counts.failed, counts.rejected) == (0, 0)
    assert result.drained
    assert all(run.cpu_s == pytest.approx((run.settled_s - run.step.start_s) / 2) for run in seen)


def test_steps_do_not_overlap_and_indices_are_unique() -> None:
    result, _ = run_ramp(Ramp(start_rate=30.0, growth=2.0, max_steps=4, step_s=2.0, recovery_s=2.0), Slo(latency_s=0.05), fixed)
    assert [one.request.index for one in result.logs] == list(range(len(result.logs)))
    assert all(a.step.end_s <= b.step.start_s for a, b in pairwise(result.steps))


def test_equal_seeds_offer_equal_loads() -> None:
    ramp = Ramp(start_rate=30.0, growth=2.0, max_steps=3, step_s=2.0, recovery_s=2.0)
    first, _ = run_ramp(ramp, Slo(latency_s=0.05), fixed)
    slower, _ = run_ramp(ramp, Slo(latency_s=10.0), lambda _: 0.02)
    assert first.steps[0].schedule == slower.steps[0].schedule


def test_a_full_queue_rejects_and_counts() -> None:
    ramp = Ramp(start_rate=1000.0, growth=2.0, max_steps=1, step_s=1.0, recovery_s=1.0)
    result, _ = run_ramp(ramp, Slo(latency_s=0.05), fixed, queue_limit=5)
    counts = accounts(result.logs)
    assert counts.rejected > 500
    assert counts.sent == counts.completed + counts.rejected
    assert max(run.queue_depth_max for run in result.steps) <= 5


def test_what_waits_after_the_drain_time_has_failed() -> None:
    ramp = Ramp(start_rate=1000.0, growth=2.0, max_steps=1, step_s=1.0, recovery_s=0.0)
    result, _ = run_ramp(ramp, Slo(latency_s=0.05), fixed, drain_s=0.5)
    counts = accounts(result.logs)
    assert not result.drained
    assert counts.failed > 500
    assert all("still waiting" in one.error for one in result.logs if one.status == FAILED)


def test_failures_break_the_slo() -> None:
    ramp = Ramp(start_rate=10.0, growth=2.0, max_steps=3, step_s=5.0, recovery_s=0.0)
    result, _ = run_ramp(ramp, Slo(latency_s=1.0), lambda request: -0.001 if request.index % 2 else 0.001)
    assert [run.verdict.met for run in result.steps] == [False]
    assert accounts(result.logs).failed == len(result.logs) // 2


def test_more_workers_sustain_more() -> None:
    ramp = Ramp(start_rate=25.0, growth=1.3, max_steps=20, step_s=10.0, recovery_s=0.0)
    rates = [
        max_sustainable(
            [(run.step.rate, run.verdict.met) for run in run_ramp(ramp, Slo(latency_s=0.05), fixed, workers=n)[0].ramp]
        )
        for n in (1, 2, 4)
    ]
    assert (rates[0].rate or 0) < (rates[1].rate or 0) < (rates[2].rate or 0)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0.1, 200),
    st.floats(1.1, 4),
    st.integers(1, 8),
    st.floats(0.5, 3),
    st.floats(0.0005, 0.5),
    st.integers(1, 3),
    st.integers(1, 50),
)
def test_every_run_ends_with_every_request_accounted_for(
    rate: float, growth: float, steps: int, step_s: float, service: float, workers: int, limit: int
) -> None:
    ramp = Ramp(start_rate=rate, growth=growth, max_steps=steps, step_s=step_s, recovery_s=1.0, min_requests=1)
    result, _ = run_ramp(ramp, Slo(latency_s=0.1), lambda _: service, workers=workers, queue_limit=limit, drain_s=1.0)
    counts = accounts(result.logs)
    assert counts.sent == sum(len(result.of_step(run.step.index)) for run in result.steps)
    assert len(result.ramp) <= steps
    assert all(run.verdict.met for run in result.ramp[:-1])


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 1000), st.floats(1.01, 5), st.integers(1, 30), st.lists(st.booleans(), min_size=40, max_size=40))
def test_the_ramp_is_geometric_and_terminates(rate: float, growth: float, steps: int, outcomes: list[bool]) -> None:
    ramp = Ramp(start_rate=rate, growth=growth, max_steps=steps, step_s=1.0, recovery_s=1.0)
    made: list[Step] = []
    step = next_step(ramp, None, met=True, start_s=0.0)
    while step is not None:
        made.append(step)
        step = next_step(ramp, step, met=outcomes[len(made) - 1], start_s=step.end_s)
    climbed = [one for one in made if one.kind == RAMP]
    assert 1 <= len(climbed) <= steps
    assert all(b.rate == pytest.approx(a.rate * growth) for a, b in pairwise(climbed))
    assert all(one.duration_s >= 1.0 and one.duration_s * one.rate >= 10 * (1 - 1e-9) for one in made)
    broke = not outcomes[len(climbed) - 1]
    assert [one.kind for one in made[len(climbed) :]] == ([RECOVERY] if broke else [])
    if broke:
        assert made[-1].rate == rate


def test_an_impossible_ramp_is_refused() -> None:
    with pytest.raises(ValueError, match="growth > 1"):
        Ramp(start_rate=1.0, growth=1.0, max_steps=1, step_s=1.0, recovery_s=1.0)
