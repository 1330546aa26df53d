"""Phases on a clock that only moves when told: what is called when, what is kept, what is said."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.measure.clock import ManualClock
from lmbench.measure.phases import Rounds, measure_rounds
from lmbench.measure.steady import MIN_HALF, steady, trend
from lmbench.suite.params import Budget

POSITIVE = st.floats(1e-6, 1e3)


def taking(clock: ManualClock, seconds: Callable[[int], float]) -> tuple[Callable[[], int], list[int]]:
    """A call whose i-th run takes seconds(i), and the list of runs so far."""
    calls: list[int] = []

    def call() -> int:
        clock.advance(seconds(len(calls)))
        calls.append(len(calls))
        return calls[-1]

    return call, calls


def measured(budget: Budget, seconds: Callable[[int], float], *, once: bool = False) -> tuple[Rounds, list[int], list[int]]:
    clock = ManualClock()
    call, calls = taking(clock, seconds)
    seen: list[int] = []
    rounds = measure_rounds(call, budget=budget, clock=clock, once=once, observe=seen.append)
    return rounds, calls, seen


def test_once_is_exactly_one_call() -> None:
    rounds, calls, seen = measured(Budget(), lambda _: 0.5, once=True)
    assert calls == seen == [0]
    assert rounds.first_call_s == 0.5
    assert rounds.samples_s == (0.5,)
    assert rounds.warmup_s == ()
    assert rounds.steady.reached is None
    assert rounds.notes() == ()


def test_a_steady_call_warms_up_in_six_rounds_and_is_measured_raw_and_in_order() -> None:
    budget = Budget(min_rounds=10, max_rounds=12, max_time_s=1000, max_warmup_s=1000)
    rounds, calls, seen = measured(budget, lambda i: 5.0 if i == 0 else 1.0 + 0.001 * (i % 2))
    assert rounds.first_call_s == 5.0
    assert len(rounds.warmup_s) == 2 * MIN_HALF
    assert rounds.steady.reached is True
    assert rounds.steady.warmup_rounds == 2 * MIN_HALF
    assert seen == calls[-12:]
    assert rounds.samples_s == pytest.approx([1.0 + 0.001 * (i % 2) for i in seen])
    assert len(rounds.cpu_s) == len(rounds.thread_cpu_s) == len(rounds.involuntary_switches) == 12
    assert rounds.trend.found is False
    assert rounds.notes() == ()
    work = rounds.work(40)
    assert work.tokens == 12 * 40
    assert work.end_s - work.start_s == pytest.approx(sum(rounds.samples_s))
    assert work.start_s == pytest.approx(rounds.first_call_s + sum(rounds.warmup_s))


def test_a_steady_state_that_is_not_reached_is_said_and_nothing_is_dropped() -> None:
    budget = Budget(min_rounds=10, max_rounds=10, max_warmup_s=3)
    rounds, calls, _ = measured(budget, lambda i: 0.5 * 0.9**i)
    assert rounds.steady.reached is False
    assert rounds.trend.found is True
    assert len(calls) == 1 + len(rounds.warmup_s) + 10
    assert any("steady state not reached" in note for note in rounds.notes())
    assert any("not steady" in note for note in rounds.notes())


def test_a_call_too_slow_to_be_tested_is_unknown_not_unsteady() -> None:
    rounds, _, _ = measured(Budget(min_rounds=2, max_rounds=2, min_warmup_rounds=3, max_warmup_s=1), lambda _: 10.0)
    assert len(rounds.warmup_s) == 3
    assert rounds.steady.reached is None
    assert rounds.trend.found is None
    assert "too few rounds" in rounds.notes()[0]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.floats(0.01, 10), st.integers(1, 5), st.floats(0.01, 5), st.floats(0.005, 2))
def test_rounds_end_as_the_budget_says(low: int, high: int, time_s: float, warm: int, warm_s: float, each: float) -> None:
    budget = Budget(min_rounds=low, max_rounds=high, max_time_s=time_s, min_warmup_rounds=warm, max_warmup_s=warm_s)
    rounds, calls, _ = measured(budget, lambda _: each)
    done = len(rounds.samples_s)
    assert len(calls) == 1 + len(rounds.warmup_s) + done
    assert low <= done <= max(low, high)
    assert done in (low, max(low, high)) or (done - 1) * each < time_s * (1 + 1e-9)
    assert len(rounds.warmup_s) >= warm
    assert len(rounds.warmup_s) <= max(warm, 2 * MIN_HALF)


def test_the_collector_is_off_inside_and_restored_even_after_an_error() -> None:
    clock = ManualClock()
    states: list[bool] = []

    def call() -> None:
        states.append(gc.isenabled())
        clock.advance(0.1)
        if len(states) == 4:
            raise RuntimeError("the subject failed")

    assert gc.isenabled()
    gc.unfreeze()  # the tests' own, see tests/conftest.py; a process that measures has nothing frozen before
    with pytest.raises(RuntimeError, match="the subject failed"):
        measure_rounds(call, budget=Budget(), clock=clock)
    assert states == [False] * 4
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_progress_speaks_at_most_once_a_second_while_measuring() -> None:
    clock = ManualClock()
    call, _ = taking(clock, lambda _: 0.25)
    said: list[str] = []
    measure_rounds(call, budget=Budget(min_rounds=20, max_rounds=20), clock=clock, progress=said.append)
    assert said[0] == "first call 0.25 s"
    assert [line for line in said if "measured" in line] == [f"{n} rounds measured" for n in (4, 8, 12, 16)]


def test_no_result_outlives_its_round() -> None:
    alive: list[int] = []

    class Large:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    most: list[int] = []
    clock = ManualClock()

    def call() -> Large:
        clock.advance(0.1)
        most.append(len(alive))
        return Large()

    measure_rounds(call, budget=Budget(min_rounds=3, max_rounds=3), clock=clock, observe=lambda _: None)
    assert set(most) == {0}


def test_rounds_are_plain_json() -> None:
    rounds, _, _ = measured(Budget(min_rounds=3, max_rounds=3), lambda _: 0.1)
    data = json.loads(json.dumps(rounds.to_json(), allow_nan=False))
    assert data["rounds"] == 3
    assert data["steady"]["reached"] is True
    assert "samples_s" not in data


@given(POSITIVE, st.integers(2 * MIN_HALF, 60))
def test_equal_rounds_are_steady(value: float, count: int) -> None:
    found = steady([value] * count)
    assert found.reached is True
    assert found.warmup_rounds == count
    assert trend([value] * count).found is False


@given(st.integers(2 * MIN_HALF, 60), st.floats(0.02, 0.5), POSITIVE)
def test_falling_rounds_are_not_steady(count: int, step: float, scale: float) -> None:
    samples = [scale * (1 - step) ** i for i in range(count)]
    assert steady(samples).reached is False
    assert trend(samples).found is True
    assert trend(samples).drift < 0
    assert trend(samples[::-1]).drift > 0


@given(st.lists(POSITIVE, min_size=0, max_size=40))
def test_verdicts_do_not_depend_on_the_unit_of_time(samples: list[float]) -> None:
    doubled = [value * 1024 for value in samples]
    assert steady(samples).reached == steady(doubled).reached
    assert trend(samples).found == trend(doubled).found
    assert 0 <= trend(samples).p <= 1


@given(st.lists(POSITIVE, max_size=2 * MIN_HALF - 1))
def test_too_few_rounds_are_unknown(samples: list[float]) -> None:
    assert steady(samples).reached is None
    assert trend(samples).found is None


def test_a_drift_too_small_to_matter_is_no_trend() -> None:
    assert trend([1 + 1e-6 * i for i in range(50)]).found is False


def test_long_series_are_thinned_not_refused() -> None:
    assert trend([1 + 0.001 * i for i in range(5000)]).found is True
