"""Schedules: sorted, inside their step, as many as the rate says, as bursty as asked, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.arrivals import CONSTANT, GAMMA, POISSON, Arrivals, schedule, schedule_digest
from lmbench.load.shapes import HOLD, Step

RATES = st.floats(0.01, 500)
DURATIONS = st.floats(0.01, 20)
SEEDS = st.integers(0, 2**32 - 1)
ARRIVALS = st.one_of(
    st.sampled_from([Arrivals(kind=CONSTANT), Arrivals(kind=POISSON)]),
    st.floats(0.05, 20).map(lambda shape: Arrivals(kind=GAMMA, burstiness=shape)),
)


def step(rate: float, duration_s: float, end_rate: float | None = None, streams: int | None = None) -> Step:
    return Step(index=0, kind=HOLD, rate=rate, start_s=0.0, duration_s=duration_s, end_rate=end_rate, streams=streams)


@settings(max_examples=100, deadline=None)
@given(RATES, st.none() | st.floats(0, 500), DURATIONS, ARRIVALS, SEEDS)
def test_schedules_are_sorted_within_the_step_and_seeded(
    rate: float, end_rate: float | None, duration_s: float, arrivals: Arrivals, seed: int
) -> None:
    wanted = step(rate, duration_s, end_rate)
    offsets = schedule(wanted, arrivals, np.random.default_rng(seed))
    assert (np.diff(offsets) >= 0).all()
    assert ((offsets >= 0) & (offsets < duration_s)).all()
    assert schedule_digest(offsets) == schedule_digest(schedule(wanted, arrivals, np.random.default_rng(seed)))


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_poisson_count_has_the_mean_and_spread_of_its_law(seed: int) -> None:
    counts = [len(schedule(step(50.0, 2.0), Arrivals(), np.random.default_rng([seed, k]))) for k in range(400)]
    # Mean 100, variance 100: the mean of 400 draws has a standard deviation of 0.5.
    assert abs(np.mean(counts) - 100) < 5 * 0.5
    assert 60 < np.var(counts) < 150


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(schedule(step(100.0, 400.0), Arrivals(), np.random.default_rng(7)))
    assert np.mean(gaps) == pytest.approx(0.01, rel=0.03)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.03)
    assert np.mean(gaps > 0.01) == pytest.approx(np.exp(-1), abs=0.01)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1000), st.integers(1, 20))
def test_constant_is_evenly_spaced(rate: int, duration_s: int) -> None:
    offsets = schedule(step(float(rate), float(duration_s)), Arrivals(kind=CONSTANT), np.random.default_rng(0))
    assert len(offsets) == rate * duration_s
    assert offsets[0] == 0
    np.testing.assert_allclose(np.diff(offsets), 1 / rate)


@pytest.mark.parametrize("burstiness", [0.1, 0.5, 1.0, 4.0])
def test_gamma_counts_are_as_dispersed_as_asked(burstiness: float) -> None:
    arrivals = Arrivals(kind=GAMMA, burstiness=burstiness)
    offsets = schedule(step(50.0, 40_000.0), arrivals, np.random.default_rng(3))
    counts = np.histogram(offsets, bins=1000, range=(0, 40_000))[0]
    assert np.mean(counts) == pytest.approx(2000, rel=0.01)
    # A variance of 1000 counts has a relative standard deviation of 4.5 %.
    assert np.var(counts) / np.mean(counts) == pytest.approx(1 / burstiness, rel=0.25)


@pytest.mark.parametrize("burstiness", [0.2, 1.0, 5.0])
def test_gamma_offers_the_rate_in_short_steps_too(burstiness: float) -> None:
    arrivals = Arrivals(kind=GAMMA, burstiness=burstiness)
    counts = [len(schedule(step(2.0, 1.0), arrivals, np.random.default_rng([11, k]))) for k in range(4000)]
    assert abs(np.mean(counts) - 2.0) < 5 * np.std(counts) / np.sqrt(len(counts))


def test_gamma_of_shape_one_is_poisson() -> None:
    offsets = schedule(step(100.0, 400.0), Arrivals(kind=GAMMA), np.random.default_rng(5))
    gaps = np.diff(offsets)
    assert np.std(gaps) == pytest.approx(np.mean(gaps), rel=0.03)
    assert np.mean(gaps > 0.01) == pytest.approx(np.exp(-1), abs=0.01)


@pytest.mark.parametrize("arrivals", [Arrivals(kind=CONSTANT), Arrivals(), Arrivals(kind=GAMMA, burstiness=0.5)])
@pytest.mark.parametrize(("first", "last"), [(0.0, 200.0), (20.0, 180.0), (180.0, 20.0), (200.0, 0.0)])
def test_a_straight_ramp_is_followed(arrivals: Arrivals, first: float, last: float) -> None:
    offsets = schedule(step(first, 200.0, last), arrivals, np.random.default_rng(9))
    counts = np.histogram(offsets, bins=10, range=(0, 200.0))[0]
    middles = (np.arange(10) + 0.5) / 10
    wanted = 20.0 * (first + (last - first) * middles)
    spread = np.sqrt(wanted / arrivals.burstiness)
    assert (np.abs(counts - wanted) < 6 * spread + 2).all()


def test_a_ramp_without_slope_is_a_constant_rate() -> None:
    flat = schedule(step(30.0, 10.0, 30.0), Arrivals(), np.random.default_rng(1))
    np.testing.assert_array_equal(flat, schedule(step(30.0, 10.0), Arrivals(), np.random.default_rng(1)))


def test_a_closed_loop_has_no_schedule() -> None:
    assert len(schedule(step(0.0, 10.0, streams=4), Arrivals(), np.random.default_rng(0))) == 0


def test_digests_differ_with_the_schedule() -> None:
    slow, fast = (schedule(step(rate, 1.0), Arrivals(kind=CONSTANT), np.random.default_rng(0)) for rate in (10.0, 11.0))
    assert schedule_digest(slow) != schedule_digest(fast)


@pytest.mark.parametrize(
    ("rate", "duration_s", "end_rate"),
    [(0.0, 1.0, None), (-1.0, 1.0, None), (1.0, 0.0, None), (float("inf"), 1.0, None), (0.0, 1.0, 0.0), (5.0, 1.0, -1.0)],
)
def test_impossible_rates_are_refused(rate: float, duration_s: float, end_rate: float | None) -> None:
    with pytest.raises(ValueError, match="expected none negative, not both 0"):
        schedule(step(rate, duration_s, end_rate), Arrivals(), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("kind", "burstiness", "message"),
    [
        ("bursty", 1.0, "expected one of constant, poisson, gamma"),
        (GAMMA, 0.0, "expected a positive, finite"),
        (POISSON, 0.5, "expected kind 'gamma'"),
    ],
)
def test_impossible_arrivals_are_refused(kind: str, burstiness: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Arrivals(kind=kind, burstiness=burstiness)
