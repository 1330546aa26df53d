"""Runs that are broken off: by a watch, by Ctrl-C at any moment, and what a step is handed before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from lmbench.load.campaign import carry_out
from lmbench.load.driver import Driven
from lmbench.load.plans import Campaign, Ears, Plan, StepRun
from lmbench.load.profiles import Closed, Hold, Steps
from lmbench.load.requests import CANCELLED, RequestLog, accounts
from lmbench.load.shapes import INTERRUPTED, RAMP, Shape, Step
from lmbench.load.simulated import Simulated
from lmbench.load.targets import PULSE_S, Pulse, Sent, Watch, no_watch
from lmbench.measure.clock import ManualClock
from lmbench.suite.params import Slo

STEPS = Steps(rates=(20.0, 40.0), each_s=5.0)
Moment = Callable[[], None]


class Interruptible(Driven):
    """The target of this process, with something that happens when a step is over, and when its requests are waited for."""

    def __init__(self, clock: ManualClock, *, sent: Moment = lambda: None, settling: Moment = lambda: None) -> None:
        super().__init__(Simulated(lambda _: 0.04, clock), clock)
        self._after, self._settling = sent, settling

    def send(self, schedule: Sequence[float], step: Step, *, first_index: int, watch: Watch) -> Sent:
        sent = super().send(schedule, step, first_index=first_index, watch=watch)
        self._after()
        return sent

    def settle(self, until: float) -> bool:
        self._settling()
        return super().settle(until)


def on_call(number: int) -> Moment:
    """Ctrl-C at the call with this number, counted from 1."""
    calls = iter(range(1, 1_000_000))

    def moment() -> None:
        if next(calls) == number:
            raise KeyboardInterrupt

    return moment


def run(
    target: Interruptible, *, shape: Shape = STEPS, partial: bool = True, watch: Watch = no_watch, observe: Moment = lambda: None
) -> tuple[Campaign, list[StepRun]]:
    seen: list[StepRun] = []

    def look(run: StepRun, logs: Sequence[RequestLog]) -> None:
        observe()
        assert len(logs) == run.sent.sent
        seen.append(run)

    plan = Plan(
        shape=shape, slo=Slo(latency_s=100.0), seed=3, drain_s=60.0, cpu_s=lambda: 0.0, watch=lambda _: watch, partial=partial
    )
    return carry_out(plan, target, target.clock, Ears(observe=look)), seen


def pulse_moment(moment: Moment) -> Watch:
    def watch(_: Pulse) -> str:
        moment()
        return ""

    return watch


def test_ctrl_c_while_a_step_is_sent_ends_it_there() -> None:
    result, seen = run(Interruptible(ManualClock(10.0)), watch=pulse_moment(on_call(5)))
    (step,) = result.steps
    assert (step.passed.state, step.sent.cut) == (INTERRUPTED, INTERRUPTED)
    assert result.rising == ()
    assert step.settled_s == pytest.approx(10.0 + 5 * PULSE_S)
    assert 0 < step.sent.sent == len(result.logs) < step.sent.offered
    assert (result.interrupted, result.drained, len(seen)) == (True, False, 1)
    assert accounts(result.logs).sent == len(result.logs)


@pytest.mark.parametrize("call", [1, 2])
def test_ctrl_c_while_a_steps_last_answers_are_awaited_keeps_what_was_sent(call: int) -> None:
    result, seen = run(Interruptible(ManualClock(10.0), settling=on_call(call)))
    assert result.interrupted
    assert not result.drained
    assert len(result.steps) == len(seen) == call
    assert [step.sent.cut for step in result.steps] == ["", INTERRUPTED][-call:]
    assert all(step.sent.sent == step.sent.offered for step in result.steps)
    assert accounts(result.logs).sent == len(result.logs)


def test_ctrl_c_between_steps_and_while_draining_keeps_the_steps_that_were_done() -> None:
    result, seen = run(Interruptible(ManualClock(10.0)), observe=on_call(2))
    assert (result.interrupted, len(result.steps), len(seen)) == (True, 2, 1)
    assert not any(step.sent.cut for step in result.steps)
    result, seen = run(Interruptible(ManualClock(10.0), settling=on_call(3)))
    assert (result.interrupted, result.drained, len(result.steps)) == (True, False, 2)
    assert not any(step.sent.cut for step in result.steps)


@pytest.mark.parametrize(("call", "cut"), [(1, INTERRUPTED), (2, "")])
def test_ctrl_c_after_a_continuous_shape_was_sent_keeps_all_of_it(call: int, cut: str) -> None:
    """What it cancels is not held against the service: the step is interrupted, unless everything had ended."""
    result, seen = run(Interruptible(ManualClock(10.0), settling=on_call(call)), shape=Hold(rate=20.0, duration_s=5.0))
    (step,) = result.steps
    assert (result.interrupted, result.drained, len(seen)) == (True, False, 1)
    assert (step.sent.cut, step.sent.sent) == (cut, len(result.logs))
    assert step.sending_s == 5.0
    assert accounts(result.logs).sent == len(result.logs) > 0


def test_ctrl_c_is_passed_on_unless_a_part_is_wanted_and_there_is_one() -> None:
    moments: tuple[Callable[[], Interruptible], ...] = (
        lambda: Interruptible(ManualClock(10.0), sent=on_call(2)),
        lambda: Interruptible(ManualClock(10.0), settling=on_call(2)),
    )
    for make in moments:
        target = make()
        with pytest.raises(KeyboardInterrupt):
            run(target, partial=False)
        assert accounts(target.logs()).sent == len(target.logs()) > 0

    class Early(Interruptible):
        lead_s = 0.1

        def send(self, schedule: Sequence[float], step: Step, *, first_index: int, watch: Watch) -> Sent:
            if step.index == self.end_at:
                raise KeyboardInterrupt
            return super().send(schedule, step, first_index=first_index, watch=watch)

        end_at = 0

    with pytest.raises(KeyboardInterrupt):
        run(Early(ManualClock(10.0)))
    later = Early(ManualClock(10.0))
    later.end_at = 1
    result, _ = run(later)
    assert (result.interrupted, [step.step.index for step in result.steps]) == (True, [0])


def test_a_closed_loop_can_be_interrupted_and_cut() -> None:
    shape = Closed(streams=(4,), each_s=5.0)
    result, _ = run(Interruptible(ManualClock()), shape=shape, watch=pulse_moment(on_call(3)))
    (step,) = result.steps
    assert (step.sent.cut, step.sent.sent) == (INTERRUPTED, len(result.logs))
    cut, _ = run(Interruptible(ManualClock()), shape=shape, watch=lambda pulse: "enough" if pulse.ended >= 10 else "")
    assert [step.sent.cut for step in cut.steps] == ["enough"]
    assert not cut.interrupted
    assert cut.drained
    assert accounts(cut.logs).completed == len(cut.logs) >= 10


def test_a_pulse_tells_the_median_of_what_completed_since_the_last() -> None:
    clock = ManualClock()
    target = Driven(Simulated(lambda request: 0.125 if request.index < 4 else 0.5, clock, workers=10), clock)
    seen: list[Pulse] = []

    def watch(pulse: Pulse) -> str:
        seen.append(pulse)
        return ""

    step = Step(index=0, kind=RAMP, rate=4.0, start_s=0.0, duration_s=2.0)
    target.send([0.01, 0.02, 0.03, 0.04, 0.3, 0.31], step, first_index=0, watch=watch)
    assert [(pulse.sent, pulse.ended, pulse.in_flight) for pulse in seen[:4]] == [(4, 4, 0), (6, 4, 2), (6, 4, 2), (6, 6, 0)]
    assert [pulse.latency_s for pulse in seen[:4]] == [pytest.approx(0.125), None, None, pytest.approx(0.5)]
    assert len(seen) == 2.0 / PULSE_S


def test_a_late_sender_is_seen_and_skips_nothing() -> None:
    clock = ManualClock()
    target = Driven(Simulated(lambda _: 0.01, clock), clock)
    step = Step(index=0, kind=RAMP, rate=10.0, start_s=0.0, duration_s=1.0)
    clock.advance(0.55)
    sent = target.send([k / 10 for k in range(10)], step, first_index=0, watch=no_watch)
    assert (sent.sent, sent.cut) == (10, "")
    assert [log.request.sender_lag_s for log in target.logs()] == pytest.approx([0.55, 0.45, 0.35, 0.25, 0.15, 0.05, 0, 0, 0, 0])


def test_what_is_cancelled_at_the_end_is_counted_as_that() -> None:
    clock = ManualClock()
    plan = Plan(shape=Steps(rates=(10.0,), each_s=1.0), slo=Slo(latency_s=0.1), seed=3, drain_s=0.5, cpu_s=lambda: 0.0)
    result = carry_out(plan, Driven(Simulated(lambda _: 100.0, clock), clock), clock)
    assert not result.drained
    assert accounts(result.logs).cancelled == sum(log.status == CANCELLED for log in result.logs) > 0
