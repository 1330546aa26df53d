"""What cases are expected to take, and which of them a budget goes to: pure arithmetic on earlier runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmbench.plan.case import Case, Choice
from lmbench.plan.forecast import (
    LIKE,
    STORED,
    UNKNOWN,
    Forecast,
    Timing,
    affordable,
    longest_unmeasured_first,
    outlook,
)


def case(name: str, backend: str = "fake", model: str = "stub", **params: int) -> Case:
    return Case(
        suite="a.suite.yaml",
        name=name,
        workload="latency",
        params={"tokens": 4, **params},
        model=Choice(name=model, kind="fake", options={"name": model}),
        backend=Choice(name=backend, kind=backend),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


def timing(one: Case, seconds: float, day: int = 1, **more: bool) -> Timing:
    return Timing(case=one, seconds=seconds, at_s=86_400.0 * day, **more)


def forecast(*timings: Timing) -> Forecast:
    table: dict[str, list[Timing]] = {}
    for one in timings:
        table.setdefault(one.case.node_id, []).append(one)
    return Forecast(table)


def test_a_case_takes_the_middle_of_its_own_runs_and_a_cold_first_run_does_not_double_it() -> None:
    a = case("a")
    found = forecast(timing(a, 300.0, 1), timing(a, 20.0, 2)).of(a)
    assert (found.seconds, found.basis, found.at_s) == (20.0, STORED, 2 * 86_400.0)
    assert forecast(timing(a, 9.0), timing(a, 7.0), timing(a, 8.0)).of(a).seconds == 8.0


def test_a_case_that_was_never_run_takes_what_those_most_like_it_take() -> None:
    a, other_engine, other_model = case("a"), case("b", backend="slow"), case("c", model="big")
    seen = forecast(timing(other_engine, 10.0), timing(other_model, 99.0), timing(case("d"), 4.0))
    found = seen.of(a)
    assert (found.seconds, found.basis, found.at_s) == (4.0, LIKE, None)
    assert forecast(timing(other_engine, 10.0), timing(other_model, 99.0)).of(a).seconds == 10.0, "the model counts most"
    assert forecast(timing(case("d", tokens=8), 4.0)).of(a).basis == UNKNOWN, "other work is not like it"
    assert forecast(timing(replace(case("d"), workload="memory"), 4.0)).of(a).seconds is None


def test_another_declaration_of_a_case_is_not_the_case() -> None:
    now = case("a", tokens=8)
    found = forecast(timing(case("a"), 5.0)).of(now)
    assert (found.seconds, found.at_s) == (None, None)


def test_a_failed_run_says_what_a_case_takes_but_measures_nothing() -> None:
    a = case("a")
    failed = forecast(timing(a, 900.0, failed=True)).of(a)
    assert (failed.seconds, failed.basis, failed.at_s) == (900.0, STORED, None)
    assert forecast(timing(a, 900.0, 2, failed=True), timing(a, 3.0, 1)).of(a).seconds == 3.0


def test_the_outlook_counts_what_was_never_measured_and_names_what_nobody_knows() -> None:
    a, b, strange = case("a"), case("b"), case("z", tokens=99)
    found = outlook([a, b, strange], forecast(timing(a, 30.0, worker_only=True)))
    assert (found.seconds, found.cases, found.like, found.worker_only) == (60.0, 3, 1, 1)
    assert (found.never, found.unknown) == ((b, strange), (strange,))


def test_what_was_never_measured_goes_first_then_what_was_measured_longest_ago() -> None:
    a, b, c, d = (case(name) for name in "abcd")
    seen = forecast(timing(a, 1.0, 3), timing(b, 1.0, 1), timing(d, 1.0, 2), timing(d, 1.0, 9))
    assert longest_unmeasured_first([a, b, c, d], seen) == [c, b, a, d]


@pytest.mark.parametrize(
    ("budget_s", "repeats", "expected"),
    [(60.0, 1, "acd"), (39.0, 1, "acd"), (10.0, 1, "ad"), (9.9, 1, "cd"), (20.0, 2, "ad"), (0.0, 1, "d")],
)
def test_a_budget_passes_over_what_does_not_fit_and_an_unknown_time_costs_nothing(
    budget_s: float, repeats: int, expected: str
) -> None:
    a, b, c, d = case("a", tokens=1), case("b", tokens=2), case("c", tokens=3), case("d", tokens=4)
    seen = forecast(timing(a, 10.0), timing(b, 100.0), timing(c, 5.0))
    assert [one.name for one in affordable([a, b, c, d], seen, budget_s, repeats=repeats)] == list(expected)


def test_what_a_session_measures_is_known_to_it() -> None:
    seen = Forecast({})
    seen.learn(timing(case("a"), 2.5))
    assert seen.of(case("b")).seconds == 2.5
