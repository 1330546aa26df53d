"""Yuen's interval: coverage on three kinds of noise, and the properties any interval has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.compare.intervals import trimmed

values = st.lists(st.floats(-1, 1), min_size=4, max_size=40)


@pytest.mark.parametrize("noise", ["normal", "t3", "contaminated"])
@pytest.mark.parametrize("n", [8, 16, 32])
def test_a_one_sided_bound_holds_as_often_as_it_says(noise: str, n: int) -> None:
    rng = np.random.default_rng(n)
    size = (3000, n)
    draws = {
        "normal": lambda: rng.normal(size=size),
        "t3": lambda: rng.standard_t(3, size=size),
        "contaminated": lambda: rng.normal(size=size) * np.where(rng.random(size) < 0.1, 5.0, 1.0),
    }[noise]()
    found = [trimmed([float(value) for value in row]) for row in draws]
    assert np.mean([one is not None and one.upper(0.05) > 0 for one in found]) >= 0.93
    assert np.mean([one is not None and one.lower(0.05) < 0 for one in found]) >= 0.93


def test_the_formula_on_numbers_worked_by_hand() -> None:
    """8 values, one trimmed per side: kept 2..7, winsorised 2,2,3,4,5,6,7,7."""
    found = trimmed([5.0, 1.0, 100.0, 3.0, 2.0, 7.0, 4.0, 6.0])
    assert found is not None
    winsorised = [2, 2, 3, 4, 5, 6, 7, 7]
    assert (found.estimate, found.df, found.n) == (4.5, 5, 8)
    assert found.se == pytest.approx(np.std(winsorised, ddof=1) * math.sqrt(7 / (6 * 5)))


@given(values, st.randoms())
def test_order_does_not_matter(numbers: list[float], random: object) -> None:
    shuffled = list(numbers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = trimmed(numbers), trimmed(shuffled)
    assert first is not None and second is not None
    assert first.estimate == pytest.approx(second.estimate, abs=1e-12)
    assert first.se == pytest.approx(second.se, rel=1e-9, abs=1e-12)


@given(values, st.floats(-1, 1))
def test_a_shift_moves_the_estimate_and_nothing_else(numbers: list[float], shift: float) -> None:
    before, after = trimmed(numbers), trimmed([value + shift for value in numbers])
    assert before is not None and after is not None
    assert after.estimate - before.estimate == pytest.approx(shift, abs=1e-9)
    assert after.se == pytest.approx(before.se, rel=1e-6, abs=1e-9)


@given(values, st.floats(0.001, 0.4), st.floats(0.001, 0.4))
def test_bounds_enclose_the_estimate_and_widen_with_certainty(numbers: list[float], first: float, second: float) -> None:
    found = trimmed(numbers)
    assert found is not None
    sure, unsure = sorted((first, second))
    assert found.lower(sure) <= found.lower(unsure) <= found.estimate <= found.upper(unsure) <= found.upper(sure)


def test_one_wild_value_hardly_matters() -> None:
    calm = [0.01 * number for number in range(16)]
    wild = trimmed([*calm[:-1], 1e9])
    assert wild is not None and wild.estimate < 0.1


def test_too_few_and_unusable_values_are_said() -> None:
    assert trimmed([0.1, 0.2, 0.3]) is None
    same = trimmed([0.5] * 8)
    assert same is not None and same.se == 0 and same.lower(1e-6) == same.upper(1e-6) == 0.5
    with pytest.raises(ValueError, match="nan"):
        trimmed([0.1, math.nan, 0.3, 0.2])
