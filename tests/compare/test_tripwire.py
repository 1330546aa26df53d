"""The tripwire's rule: what it must always catch and what it must never call a regression."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.compare.tripwire import BETTER, UNCLEAR, WITHIN, WORSE, judge, margin

VALUE = st.floats(1e-6, 1e6)
STORED = st.lists(VALUE, min_size=1, max_size=5)


def test_margin_is_a_quarter_with_five_runs_and_widens_below_a_doubling() -> None:
    margins = [margin(k) for k in (5, 4, 3, 2, 1)]
    assert margins[0] == pytest.approx(0.25)
    assert margins == sorted(margins)
    assert margins[-1] < 1.0
    assert margin(50) == margin(5)


@given(STORED, st.lists(st.floats(1.0, 10.0), min_size=1, max_size=3))
def test_a_doubling_of_the_worst_is_caught_with_any_number_of_runs(stored: list[float], factors: list[float]) -> None:
    heads = [2 * max(stored) * factor for factor in factors]
    assert judge(stored, heads).state == WORSE


@given(VALUE, st.integers(1, 5), st.floats(0.0, 0.2))
def test_a_doubling_of_a_case_with_ordinary_spread_is_caught(base: float, k: int, spread: float) -> None:
    stored = [base * (1 + spread * index / k) for index in range(k)]
    assert judge(stored, [2 * sorted(stored)[k // 2]] * 3).state == WORSE


@given(STORED, st.data())
def test_a_rerun_that_repeats_a_stored_value_is_never_worse(stored: list[float], data: st.DataObject) -> None:
    heads = data.draw(st.lists(st.sampled_from(stored), min_size=1, max_size=3))
    assert judge(stored, heads).state in (WITHIN, BETTER)
    assert judge(stored, heads, higher_is_better=True).state in (WITHIN, BETTER)


@given(STORED, st.lists(VALUE, min_size=1, max_size=3))
def test_rates_are_times_upside_down(stored: list[float], heads: list[float]) -> None:
    inverse = judge([1 / value for value in stored], [1 / value for value in heads], higher_is_better=True)
    again = judge([1 / (1 / value) for value in stored], [1 / (1 / value) for value in heads])
    assert inverse.state == again.state
    assert inverse.bar == pytest.approx(1 / again.bar)


@given(STORED, VALUE, st.floats(1.0, 100.0))
def test_slower_is_never_judged_milder(stored: list[float], head: float, factor: float) -> None:
    order = (BETTER, WITHIN, UNCLEAR, WORSE)
    assert order.index(judge(stored, [head * factor]).state) >= order.index(judge(stored, [head]).state)


@given(STORED, st.lists(VALUE, min_size=1, max_size=3), VALUE)
def test_another_process_can_only_excuse(stored: list[float], heads: list[float], extra: float) -> None:
    if judge(stored, heads).state != WORSE:
        assert judge(stored, [*heads[:2], extra]).state != WORSE or len(heads) == 3


@given(STORED, st.lists(VALUE, min_size=1, max_size=3), st.floats(0.0, 3.0))
def test_a_wider_tolerance_never_fails_more(stored: list[float], heads: list[float], wider: float) -> None:
    if judge(stored, heads, at_least=wider).state == WORSE:
        assert judge(stored, heads).state == WORSE


@given(STORED, VALUE)
def test_the_bar_is_where_worse_begins(stored: list[float], head: float) -> None:
    judgement = judge(stored, [head])
    if judgement.state == WORSE:
        assert head >= judgement.bar * (1 - 1e-9)
    else:
        assert head <= judgement.bar * (1 + 1e-9)


def test_one_slow_process_of_three_is_not_a_regression() -> None:
    assert judge([1.0] * 5, [3.0]).state == WORSE
    assert judge([1.0] * 5, [3.0, 1.1, 3.0]).state == UNCLEAR
    assert judge([1.0] * 5, [3.0, 1.0, 3.0]).state == WITHIN


def test_one_stored_run_allows_five_percent_before_it_is_unclear() -> None:
    assert judge([1.0], [1.04]).state == WITHIN
    assert judge([1.0], [1.06]).state == UNCLEAR
    assert judge([1.0, 1.0], [1.04]).state == UNCLEAR


def test_a_rate_of_zero_is_infinitely_slow() -> None:
    assert judge([5.0, 6.0], [0.0], higher_is_better=True).state == WORSE
    assert judge([0.0, 0.0], [0.0], higher_is_better=True).state == WITHIN
    assert judge([0.0], [3.0], higher_is_better=True).state == BETTER


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        judge([], [1.0])
    with pytest.raises(ValueError, match="at least one"):
        judge([1.0], [])
