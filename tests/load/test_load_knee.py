"""The knee lies between two measured rates, or nowhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.knee import Knee, Point, knee


def curve(*latencies: float | None) -> list[Point]:
    return [(float(place), value) for place, value in enumerate(latencies, start=1)]


def bracket(found: Knee) -> tuple[float | None, float | None]:
    return found.rate, found.high


def test_the_knee_is_the_last_rate_under_twice_the_latency_of_the_lowest() -> None:
    found = knee(curve(1.0, 1.1, 1.3, 1.9, 2.1, 9.0))
    assert bracket(found) == (4.0, 5.0)
    assert found.limit_s == 2.0
    assert "between 4 and 5 requests/s" in found.reason


def test_the_order_of_the_points_does_not_matter() -> None:
    points = curve(1.0, 1.5, 3.0)
    assert knee(points[::-1]) == knee(points)


def test_a_flat_curve_has_no_knee() -> None:
    found = knee(curve(1.0, 1.0, 1.1, 1.2))
    assert bracket(found) == (None, None)
    assert found.reason.startswith("no knee: up to 4 requests/s")


def test_a_rate_at_which_nothing_completed_is_beyond_the_knee() -> None:
    assert bracket(knee(curve(1.0, 1.1, None))) == (2.0, 3.0)
    assert knee(curve(None, 1.1, 2.0)).rate is None


def test_a_curve_that_comes_back_leaves_the_knee_anywhere_between() -> None:
    found = knee(curve(1.0, 2.5, 1.5, 2.5, 4.0))
    assert bracket(found) == (1.0, 4.0)
    assert "anywhere between" in found.reason
    assert bracket(knee(curve(1.0, 1.2, 2.5, 1.5))) == (2.0, None)


def test_a_cold_lowest_rate_is_no_reference() -> None:
    found = knee(curve(3.0, 1.0, 1.1, 4.0))
    assert found.rate is None
    assert "no reference" in found.reason


def test_two_rates_are_no_curve() -> None:
    assert "a curve needs 3" in knee(curve(1.0, 9.0)).reason
    with pytest.raises(ValueError, match="expected more than 1"):
        knee(curve(1.0, 2.0, 3.0), factor=1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.5, 20), min_size=3, max_size=12), st.floats(1.1, 5))
def test_a_knee_is_always_between_measured_rates(latencies: list[float], factor: float) -> None:
    points = curve(*latencies)
    found = knee(points, factor)
    rates = [rate for rate, _ in points]
    assert found.rate is None or found.rate in rates[:-1]
    assert found.high is None or (found.rate is not None and found.rate < found.high <= rates[-1])


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_knee_of_a_queue_in_theory_is_where_power_is_largest(load: float) -> None:
    rates = [0.01 * step for step in range(1, 99)]
    found = knee([(rate * 2, load / (1 - rate)) for rate in rates])
    assert found.rate == pytest.approx(1.0, abs=0.04)
