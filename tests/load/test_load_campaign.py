"""The ramp in virtual time: queueing theory, coordinated omission, recovery, rejection, drain."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.arrivals import Arrivals, schedule
from lmbench.load.campaign import carry_out
from lmbench.load.driver import Driven
from lmbench.load.plans import Campaign, Ears, Plan, StepRun
from lmbench.load.profiles import Slope, Spike, Steps
from lmbench.load.ramp import Ramp
from lmbench.load.requests import CANCELLED, COMPLETED, REJECTED, Request, RequestLog, accounts
from lmbench.load.shapes import ABORTED, BROKE, HOLD, INTERRUPTED, RAMP, RECOVERY, Passed, Step
from lmbench.load.simulated import ServiceTime, Simulated
from lmbench.load.slo import Verdict, max_sustainable, recovery_s
from lmbench.load.targets import PAUSE_S, PULSE_S, Pulse, no_watch
from lmbench.measure.clock import ManualClock
from lmbench.suite.params import Slo

SERVICE_S = 0.01


def run_ramp(
    ramp: Ramp, slo: Slo, service: ServiceTime, *, workers: int = 1, queue_limit: int = 10**6, drain_s: float = 60.0
) -> tuple[Campaign, list[StepRun]]:
    clock = ManualClock(100.0)
    seen: list[StepRun] = []
    plan = Plan(shape=ramp, slo=slo, seed=3, drain_s=drain_s, cpu_s=lambda: clock.now() / 2)
    target = Driven(Simulated(service, clock, workers=workers, queue_limit=queue_limit), clock)
    ears = Ears(observe=lambda run, logs: seen.append(run) if len(logs) == run.verdict.requests else None)
    result = carry_out(plan, target, clock, ears)
    return result, seen


def fixed(request: Request) -> float:
    del request
    return SERVICE_S


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_latencies_match_the_theory_of_one_server_with_fixed_service(load: float) -> None:
    clock = ManualClock()
    target = Driven(Simulated(fixed, clock), clock)
    duration = 1500.0
    step = Step(index=0, kind=RAMP, rate=load / SERVICE_S, start_s=0.0, duration_s=duration)
    offsets = schedule(step, Arrivals(), np.random.default_rng(1)).tolist()
    target.send(offsets, step, first_index=0, watch=no_watch)
    target.settle(2 * duration)
    waits = [one.queue_delay_s for one in target.logs()]
    # M/D/1 mean wait: load * service / (2 (1 - load)) (Pollaczek 1930, Khinchine 1932).
    assert np.mean([wait for wait in waits if wait is not None]) == pytest.approx(load * SERVICE_S / (2 * (1 - load)), rel=0.08)
    assert {round(one.service_s or 0.0, 9) for one in target.logs()} == {SERVICE_S}


def test_the_sender_never_waits_for_completions() -> None:
    clock = ManualClock()
    target = Driven(Simulated(lambda _: 1000.0, clock), clock)
    step = Step(index=0, kind=RAMP, rate=10.0, start_s=5.0, duration_s=1.0)
    sent = target.send([0.0, 0.25, 0.5, 0.75], step, first_index=0, watch=no_watch)
    assert [one.request.sent_s for one in target.logs()] == [5.0, 5.25, 5.5, 5.75]
    assert (sent.offered, sent.sent, sent.queue_depth_max, sent.queue_depth_end, sent.cut) == (4, 4, 3, 3, "")
    assert clock.now() == 6.0


def test_a_freeze_shows_in_the_latency_of_everyone_who_came_meanwhile() -> None:
    clock = ManualClock()
    target = Driven(Simulated(lambda request: 1.0 if request.index == 10 else 0.001, clock), clock)
    step = Step(index=0, kind=RAMP, rate=100.0, start_s=0.0, duration_s=2.0)
    target.send([k / 100 for k in range(200)], step, first_index=0, watch=no_watch)
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
    rates = [(run.step.rate, run.verdict.met) for run in result.rising]
    found = max_sustainable(rates)
    assert found.resolved
    assert 50 < (found.rate or 0) < 100
    assert [run.step.kind for run in seen] == [RAMP] * len(result.rising) + [RECOVERY]
    assert result.recovery is not None
    value, reason = recovery_s(result.of_step(result.recovery.step.index), slo, result.rising[-1].step.end_s)
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
    assert max(run.sent.queue_depth_max or 0 for run in result.steps) <= 5


def test_what_waits_after_the_drain_time_is_cancelled() -> None:
    ramp = Ramp(start_rate=1000.0, growth=2.0, max_steps=1, step_s=1.0, recovery_s=0.0)
    result, _ = run_ramp(ramp, Slo(latency_s=0.05), fixed, drain_s=0.5)
    counts = accounts(result.logs)
    assert not result.drained
    assert counts.cancelled > 500
    assert all("still waiting" in one.error for one in result.logs if one.status == CANCELLED)


def test_failures_break_the_slo() -> None:
    ramp = Ramp(start_rate=10.0, growth=2.0, max_steps=3, step_s=5.0, recovery_s=0.0)
    result, _ = run_ramp(ramp, Slo(latency_s=1.0), lambda request: -0.001 if request.index % 2 else 0.001)
    assert [run.verdict.met for run in result.steps] == [False]
    assert accounts(result.logs).failed == len(result.logs) // 2


def test_more_workers_sustain_more() -> None:
    ramp = Ramp(start_rate=25.0, growth=1.3, max_steps=20, step_s=10.0, recovery_s=0.0)
    rates = [
        max_sustainable(
            [(run.step.rate, run.verdict.met) for run in run_ramp(ramp, Slo(latency_s=0.05), fixed, workers=n)[0].rising]
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
    assert len(result.rising) <= steps
    assert all(run.verdict.met for run in result.rising[:-1])


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 1000), st.floats(1.01, 5), st.integers(1, 30), st.lists(st.booleans(), min_size=40, max_size=40))
def test_the_ramp_is_geometric_and_terminates(rate: float, growth: float, steps: int, outcomes: list[bool]) -> None:
    ramp = Ramp(start_rate=rate, growth=growth, max_steps=steps, step_s=1.0, recovery_s=1.0)
    past: list[Passed] = []
    while (step := ramp.next_step(past, 0.0)) is not None:
        verdict = Verdict(requests=1, good=1, attainment=1.0, low=1.0, high=1.0, met=outcomes[len(past)])
        past.append(Passed(step=step, verdict=verdict))
    made = [one.step for one in past]
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


def test_a_step_is_looked_at_and_can_be_cut() -> None:
    clock = ManualClock(10.0)
    seen: list[Pulse] = []

    def watch(pulse: Pulse) -> str:
        seen.append(pulse)
        return "too much" if pulse.in_flight > 20 else ""

    ramp = Ramp(start_rate=100.0, growth=2.0, max_steps=3, step_s=10.0, recovery_s=0.0)
    plan = Plan(shape=ramp, slo=Slo(latency_s=100.0), seed=3, drain_s=60.0, cpu_s=lambda: 0.0, watch=lambda _: watch)
    result = carry_out(plan, Driven(Simulated(lambda _: 0.05, clock), clock), clock)
    (run,) = result.steps
    assert (run.passed.state, run.met, run.sent.cut) == (ABORTED, False, "too much")
    assert run.sent.sent == len(result.logs) < run.sent.offered
    assert [pulse.now_s - 10.0 for pulse in seen] == pytest.approx([PULSE_S * (k + 1) for k in range(len(seen))])
    assert seen[-1].in_flight == seen[-1].sent - seen[-1].ended > 20
    assert all(pulse.in_flight <= 20 for pulse in seen[:-1])
    assert accounts(result.logs).completed == len(result.logs)


@pytest.mark.parametrize(("streams", "think_s"), [(1, 0.0), (4, 0.0), (4, 1.0)])
def test_a_closed_loop_keeps_no_more_open_than_its_streams(streams: int, think_s: float) -> None:
    clock = ManualClock(10.0)
    target = Driven(Simulated(fixed, clock, workers=2), clock, seed=1)
    step = Step(index=3, kind=RAMP, rate=0.0, start_s=10.0, duration_s=30.0, streams=streams, think_s=think_s)
    sent = target.send([], step, first_index=7, watch=no_watch)
    assert target.settle(100.0)
    logs = target.logs()
    assert [log.request.index for log in logs] == [7 + k for k in range(sent.sent)]
    assert most_open(logs) <= streams
    # Throughput of the machine repairman model with deterministic service lies between its two asymptotic bounds.
    most = min(2 / SERVICE_S, streams / (SERVICE_S + think_s))
    assert 0.75 * streams / (max(1, streams / 2) * SERVICE_S + think_s) <= sent.sent / 30.0 <= 1.25 * most
    assert all(10.0 <= log.request.scheduled_s <= log.request.sent_s < 40.0 for log in logs)


def most_open(logs: tuple[RequestLog, ...]) -> int:
    moments = [(log.request.sent_s, 1) for log in logs] + [(log.finished_s or 0.0, -1) for log in logs]
    open_now = deepest = 0
    for _, change in sorted(moments):
        open_now += change
        deepest = max(deepest, open_now)
    return deepest


def test_an_interrupted_run_leaves_nothing_pending() -> None:
    clock = ManualClock()

    def interrupt(_: Pulse) -> str:
        raise KeyboardInterrupt

    ramp = Ramp(start_rate=100.0, growth=2.0, max_steps=3, step_s=10.0, recovery_s=0.0)
    plan = Plan(shape=ramp, slo=Slo(latency_s=1.0), seed=3, drain_s=60.0, cpu_s=lambda: 0.0, watch=lambda _: interrupt)
    service = Simulated(lambda _: 0.5, clock)
    with pytest.raises(KeyboardInterrupt):
        carry_out(plan, Driven(service, clock), clock)
    counts = accounts(service.logs())
    assert counts.sent == counts.completed + counts.cancelled > 0


def test_no_step_is_measured_on_the_backlog_of_another() -> None:
    clock = ManualClock(10.0)
    plan = Plan(shape=Steps(rates=(20.0, 5.0), each_s=10.0), slo=Slo(latency_s=1.0), seed=1, drain_s=60.0, cpu_s=lambda: 0.0)
    result = carry_out(plan, Driven(Simulated(lambda _: 0.1, clock), clock), clock)
    first, second = result.steps
    assert first.passed.state == BROKE and second.passed.state != BROKE and second.verdict.attainment == 1.0
    assert second.step.start_s >= max(log.finished_s or 0.0 for log in result.of_step(0))
    assert result.stopped == ""


def test_a_queue_that_does_not_drain_ends_the_run_with_a_reason() -> None:
    clock = ManualClock(10.0)
    plan = Plan(shape=Steps(rates=(20.0, 5.0), each_s=10.0), slo=Slo(latency_s=1.0), seed=1, drain_s=3.0, cpu_s=lambda: 0.0)
    result = carry_out(plan, Driven(Simulated(lambda _: 1.0, clock), clock), clock)
    assert len(result.steps) == 1
    assert result.stopped.startswith("stopped after step 1: ") and "were still open" in result.stopped


def test_a_continuous_shape_has_no_pause_between_its_pieces() -> None:
    clock = ManualClock(10.0)
    kept: list[int] = []
    shape = Slope(start=20.0, end=40.0, duration_s=100.0, pieces=5)
    plan = Plan(shape=shape, slo=Slo(latency_s=1.0), seed=1, drain_s=60.0, cpu_s=clock.now)
    ears = Ears(keep=lambda logs: kept.append(sum(log.status == COMPLETED for log in logs)))
    result = carry_out(plan, Driven(Simulated(fixed, clock), clock), clock, ears)
    assert [run.step.start_s for run in result.steps] == pytest.approx([10.0, 30.0, 50.0, 70.0, 90.0])
    for run in result.steps:
        due = [log.request.scheduled_s for log in result.of_step(run.step.index)]
        assert len(due) == run.sent.sent == run.sent.offered == run.verdict.requests
        assert run.step.start_s <= min(due) and max(due) < run.step.end_s
        assert run.cpu_s == pytest.approx(20.0, rel=0.1)
    assert max(log.request.sender_lag_s for log in result.logs) == 0
    assert len(kept) >= 100 and sum(kept) == len(result.logs), "each written down once, while it runs or at the end"


def test_a_continuous_shape_that_is_interrupted_keeps_the_pieces_that_were_begun() -> None:
    clock = ManualClock(10.0)

    def stop(pulse: Pulse) -> str:
        if pulse.now_s > 45.0:
            raise KeyboardInterrupt
        return ""

    shape = Spike(base=5.0, peak=20.0, peak_s=10.0, around_s=30.0)
    plan = Plan(shape=shape, slo=Slo(latency_s=1.0), seed=1, drain_s=60.0, cpu_s=lambda: 0.0, watch=lambda _: stop, partial=True)
    result = carry_out(plan, Driven(Simulated(fixed, clock), clock), clock)
    assert [run.passed.state for run in result.steps][1:] == [INTERRUPTED] and result.interrupted
    assert accounts(result.logs).sent == sum(run.sent.sent for run in result.steps)
    assert [run.step.kind for run in result.rising] == [HOLD]


def test_streams_of_a_closed_loop_rest_after_a_rejection() -> None:
    clock = ManualClock(10.0)
    target = Driven(Simulated(lambda _: 1.0, clock, workers=1, queue_limit=1), clock, seed=1)
    step = Step(index=0, kind=HOLD, rate=0.0, start_s=10.0, duration_s=2.0, streams=4)
    target.send([], step, first_index=0, watch=no_watch)
    target.settle(100.0)
    rejected = sum(log.status == REJECTED for log in target.logs())
    assert 0 < rejected <= 2 * 2.0 / PAUSE_S
