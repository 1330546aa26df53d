"""Schedules: sorted, inside their step, as many as the rate says, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.arrivals import constant, poisson, schedule_digest

RATES = st.floats(0.01, 500)
DURATIONS = st.floats(0.01, 20)


@settings(max_examples=50, deadline=None)
@given(RATES, DURATIONS, st.integers(0, 2**32 - 1))
def test_poisson_is_sorted_within_the_step_and_seeded(rate: float, duration_s: float, seed: int) -> None:
    schedule = poisson(rate, duration_s, np.random.default_rng(seed))
    again = poisson(rate, duration_s, np.random.default_rng(seed))
    assert (np.diff(schedule) >= 0).all()
    assert ((schedule >= 0) & (schedule < duration_s)).all()
    assert schedule_digest(schedule) == schedule_digest(again)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_poisson_count_has_the_mean_and_spread_of_its_law(seed: int) -> None:
    counts = [len(poisson(50.0, 2.0, np.random.default_rng([seed, k]))) for k in range(400)]
    # Mean 100, variance 100: the mean of 400 draws has a standard deviation of 0.5.
    assert abs(np.mean(counts) - 100) < 5 * 0.5
    assert 60 < np.var(counts) < 150


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(poisson(100.0, 400.0, np.random.default_rng(7)))
    assert np.mean(gaps) == pytest.approx(0.01, rel=0.03)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.03)
    assert np.mean(gaps > 0.01) == pytest.approx(np.exp(-1), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1000), st.integers(1, 20))
def test_constant_is_evenly_spaced(rate: int, duration_s: int) -> None:
    schedule = constant(float(rate), float(duration_s))
    assert len(schedule) == rate * duration_s
    assert schedule[0] == 0
    np.testing.assert_allclose(np.diff(schedule), 1 / rate)


def test_digests_differ_with_the_schedule() -> None:
    assert schedule_digest(constant(10.0, 1.0)) != schedule_digest(constant(11.0, 1.0))


@pytest.mark.parametrize(("rate", "duration_s"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (float("inf"), 1.0)])
def test_impossible_rates_are_refused(rate: float, duration_s: float) -> None:
    with pytest.raises(ValueError, match="expected both positive"):
        poisson(rate, duration_s, np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected both positive"):
        constant(rate, duration_s)
