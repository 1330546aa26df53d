"""Who is paired: suspects after the suite's shift is taken out, whatever was triggered, and nobody silently."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.compare.triage import Observation, triage
from lmbench.compare.verdicts import OK


def seen(node_id: str, now: float, *stored: float, better: str = "lower", metric: str = "round_p50_s") -> Observation:
    return Observation(node_id=node_id, metric=metric, now=now, stored=stored or (1.0,), better=better)


def test_more_than_one_percent_slower_makes_a_suspect_and_the_rest_is_cleared_with_a_reason() -> None:
    found = triage([seen("slow", 1.02), seen("same", 1.005), seen("fast", 0.9)], triggers={})
    assert (
        set(found.suspects) == {"slow"} and "slower by 2.0 % against 1 stored run, more than 1% slower" in found.suspects["slow"]
    )
    assert [(one.node_id, one.outcome) for one in found.cleared] == [("same", OK), ("fast", OK)]
    assert all(one.why.endswith("not paired") for one in found.cleared)
    assert "faster by 10.0 %" in found.cleared[1].why
    assert found.shift == 1


def test_a_shift_of_the_whole_suite_is_taken_out_and_said() -> None:
    everyone = [seen(str(number), 1.07) for number in range(9)]
    found = triage([*everyone, seen("more", 1.2)], triggers={})
    assert set(found.suspects) == {"more"}
    assert found.shift_sentence is not None and "slower by 7.0 %" in found.shift_sentence
    assert "after the suite's shift of +7.0 %" in found.cleared[0].why


def test_a_case_that_did_not_speed_up_with_the_suite_is_a_suspect_whose_reason_names_the_shift() -> None:
    found = triage([*(seen(str(number), 0.93) for number in range(9)), seen("left behind", 1.0)], triggers={})
    assert set(found.suspects) == {"left behind"}
    assert "more than 1% slower after the suite's shift of -7.0 %" in found.suspects["left behind"]
    assert found.shift_sentence is not None and "faster by 7.0 %" in found.shift_sentence


def test_few_cases_have_no_shift_and_that_is_said() -> None:
    found = triage([seen("a", 1.07), seen("b", 1.07)], triggers={})
    assert set(found.suspects) == {"a", "b"} and found.shift == 1
    assert found.shift_sentence is not None and "2 cases with stored runs, too few" in found.shift_sentence


@pytest.mark.parametrize("cases", [0, 5])
def test_a_suite_that_stands_still_says_nothing(cases: int) -> None:
    assert triage([seen(str(number), 1.001) for number in range(cases)], triggers={}).shift_sentence is None


def test_a_trigger_makes_a_suspect_of_anybody() -> None:
    found = triage([seen("fast", 0.5)], triggers={"fast": "median:5%", "unseen": "memory"})
    assert found.suspects == {"fast": "median:5%", "unseen": "memory"} and not found.cleared


def test_a_rate_that_falls_is_slower() -> None:
    assert set(
        triage([seen("a", 90.0, 100.0, better="higher"), seen("b", 110.0, 100.0, better="higher")], triggers={}).suspects
    ) == {"a"}


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_cannot_be_compared_is_a_suspect(value: float) -> None:
    found = triage([seen("a", value), seen("b", 1.0, value)], triggers={})
    assert set(found.suspects) == {"a", "b"} and "cannot be compared" in found.suspects["a"]


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=30))
def test_every_case_is_either_a_suspect_or_cleared(values: list[float]) -> None:
    found = triage([seen(str(number), value) for number, value in enumerate(values)], triggers={})
    cleared = {one.node_id for one in found.cleared}
    assert cleared | set(found.suspects) == {str(number) for number in range(len(values))}
    assert not cleared & set(found.suspects)
