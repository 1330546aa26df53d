"""The refined ramp on simulated servers of known capacity, and on recorded outcomes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.ramp import MAX_PROBES, Ramp, bracket, rungs
from lmbench.load.requests import Request
from lmbench.load.shapes import PROBE, RAMP, RECOVERY, Passed, Step
from lmbench.load.slo import Verdict
from lmbench.suite.params import Slo
from tests.workloads.simulated import virtual

FINE = Ramp(start_rate=25.0, growth=2.0, max_steps=6, step_s=20.0, recovery_s=5.0, resolution=0.1)


def hundredth(request: Request) -> float:
    del request
    return 0.01


def played(ramp: Ramp, outcomes: list[bool]) -> list[Passed]:
    """The steps of a ramp whose tries come out as recorded, True held; every later one broke."""
    past: list[Passed] = []
    while (step := ramp.next_step(past, 10.0 * len(past))) is not None:
        met = outcomes[len(past)] if len(past) < len(outcomes) else False
        past.append(Passed(step=step, verdict=verdict(met=met)))
    return past


def verdict(*, met: bool) -> Verdict:
    return Verdict(requests=1, good=int(met), attainment=float(met), low=float(met), high=float(met), met=met, target=0.95)


def of_capacity(ramp: Ramp, capacity: float) -> list[Passed]:
    """The steps of a ramp against a service that holds every rate up to `capacity`, and no higher one."""
    past: list[Passed] = []
    while (step := ramp.next_step(past, 0.0)) is not None:
        past.append(Passed(step=step, verdict=verdict(met=step.rate <= capacity or step.kind == RECOVERY)))
    return past


def test_a_ramp_states_the_rate_within_its_resolution_and_tries_both_sides_again() -> None:
    found = virtual(hundredth, ramp=FINE, slo=Slo(latency_s=0.05))
    limit = found.details["limit"]
    assert limit["state"] == "resolved" and limit["rate"] == limit["low"] < 100
    assert limit["high"] / limit["low"] - 1 <= 0.1
    assert found.details["resolution"]["max_sustainable_rate"] == pytest.approx(limit["high"] / limit["low"] - 1)
    steps = found.details["steps"]
    assert all(
        sum(step["rate"] == rate and step["kind"] != RECOVERY for step in steps) >= 2 for rate in (limit["low"], limit["high"])
    )
    assert [step["kind"] for step in steps].count(RECOVERY) == 1
    assert found.details["stopped"] == "" and found.metrics["recovery_s"].value is not None


@settings(max_examples=200, deadline=None)
@given(st.floats(1.0, 1000.0), st.floats(0.05, 30.0), st.floats(1.3, 3.0), st.floats(0.02, 0.5))
def test_the_capacity_of_a_known_service_lies_in_the_bracket(capacity: float, start: float, growth: float, fine: float) -> None:
    ramp = Ramp(start_rate=start, growth=growth, max_steps=100, step_s=1.0, recovery_s=1.0, resolution=fine)
    past = of_capacity(ramp, capacity)
    low, high = bracket(rungs(past))
    assert low is not None and high is not None and low.rate <= capacity < high.rate
    assert high.rate / low.rate - 1 <= fine * (1 + 1e-6) and low.sure and high.sure
    assert sum(one.step.kind == PROBE for one in past) <= MAX_PROBES


def test_one_bad_moment_ends_no_climb() -> None:
    """The second step breaks once by chance: a majority of three tries puts it right, and the climb goes on."""
    past = played(FINE, [True, False, True, True, True, False, False])
    assert [one.step.rate for one in past[:7]] == [25.0, 50.0, 50.0, 50.0, 100.0, 200.0, 200.0]
    assert past[7].step.kind == RECOVERY and past[7].step.rate == 25.0
    assert {one.step.kind for one in past[:7]} == {RAMP}


def test_a_first_step_that_breaks_is_followed_by_lower_ones() -> None:
    """A service that became ten times slower still gets a number, on the ladder that it was pinned to."""
    past = of_capacity(FINE, 5.0)
    low, high = bracket(rungs(past))
    assert low is not None and high is not None and low.rate <= 5.0 < high.rate <= 5.5
    assert RECOVERY not in {one.step.kind for one in past}


def test_a_service_that_never_holds_ends_the_ramp() -> None:
    past = of_capacity(FINE, 0.0)
    assert PROBE not in {one.step.kind for one in past} and len(past) <= 2 * (FINE.max_steps + 1)
    assert bracket(rungs(past))[0] is None


def test_only_the_step_before_recovery_may_leave_a_backlog() -> None:
    first = Step(index=0, kind=RAMP, rate=25.0, start_s=0.0, duration_s=1.0)
    held = [Passed(step=first, verdict=verdict(met=True))]
    second = FINE.next_step(held, 1.0)
    assert second is not None and not FINE.leaves_backlog(held, second), "it is tried again"
    broke = [*held, Passed(step=second, verdict=verdict(met=False))]
    again = FINE.next_step(broke, 2.0)
    assert again is not None and again.rate == second.rate and FINE.leaves_backlog(broke, again)


def test_contradictions_are_told() -> None:
    chances = iter([0.001] * 1000)
    found = virtual(
        lambda request: 1.0 if 1000 < request.index <= 1010 else next(chances, 0.001),
        ramp=Ramp(start_rate=50.0, growth=2.0, max_steps=2, step_s=10.0, recovery_s=1.0, resolution=0.5),
        slo=Slo(latency_s=0.5),
    )
    broken = [step for step in found.details["steps"] if not step["slo_met"]]
    assert len(broken) == 1 and found.metrics["max_sustainable_rate"].value == 100.0
    assert any("100 requests/s held in 2 of 3 tries; the majority decides" in note for note in found.notes)
