"""A service that falls behind is noticed; one that keeps up, however closely, is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.load.saturation import OverSaturation, falling_behind
from lmbench.load.targets import Pulse
from tests.load.queues import finish_moments, first_alarm, poisson_moments, pulses


def alarm(load: float, seed: int, *, slots: int = 1, service_s: float = 0.02, length_s: float = 60.0) -> tuple[int | None, str]:
    """The first alarm on an M/D/k queue at a load."""
    rng = np.random.default_rng([seed, slots])
    arrivals = poisson_moments(load * slots / service_s, length_s, rng)
    ends = finish_moments(arrivals, np.full(len(arrivals), service_s), slots)
    return first_alarm(OverSaturation(), pulses(arrivals, ends, length_s))


def steady(count: int, *, growth: int, sent: int = 10, rise: float = 0.0, start: int = 0) -> list[Pulse]:
    """Pulses of a service that sends `sent` per pulse and falls behind by `growth`."""
    return [
        Pulse(
            now_s=0.25 * place,
            sent=sent * place,
            ended=(sent - growth) * place,
            in_flight=start + growth * place,
            latency_s=1.0 + rise * place,
        )
        for place in range(1, count + 1)
    ]


def test_a_stable_queue_at_ninety_percent_raises_no_alarm() -> None:
    assert sum(alarm(0.9, seed)[0] is not None for seed in range(150)) <= 1


@pytest.mark.parametrize(("load", "most"), [(1.2, 160), (1.5, 60), (2.0, 40)])
def test_overload_is_seen_within_a_stated_number_of_pulses(load: float, most: int) -> None:
    found = [alarm(load, seed) for seed in range(20)]
    assert all(count is not None and count <= most for count, _ in found)
    assert "requests in flight grew by" in found[0][1]
    assert "median latency rose" in found[0][1]


def test_many_slots_filling_up_are_not_an_overload() -> None:
    assert all(alarm(0.9, seed, slots=32, service_s=5.0, length_s=60)[0] is None for seed in range(40))


def test_a_burst_that_passes_is_not_an_overload() -> None:
    watch = OverSaturation()
    calm = steady(40, growth=0, start=3)
    burst = [
        Pulse(now_s=10 + 0.25 * k, sent=400 + 30 * k, ended=400 + 10 * k, in_flight=3 + 20 * k, latency_s=1.0 + k)
        for k in range(1, 5)
    ]
    drain = [
        Pulse(now_s=11 + 0.25 * k, sent=520 + 5 * k, ended=440 + 15 * k, in_flight=83 - 10 * k, latency_s=5.0 - 0.5 * k)
        for k in range(1, 9)
    ]
    assert first_alarm(watch, iter(calm + burst + drain)) == (None, "")


def test_growth_without_rising_latency_is_not_an_overload() -> None:
    assert falling_behind(steady(200, growth=5)) == ""
    assert "the service falls behind" in falling_behind(steady(200, growth=5, rise=0.1))


def test_few_requests_or_few_pulses_decide_nothing() -> None:
    assert falling_behind(steady(10, growth=9, rise=1.0)) == ""
    assert falling_behind(steady(50, growth=1, sent=1, rise=1.0)) == ""


def test_a_service_that_answers_nothing_is_left_to_the_time_out() -> None:
    pulses_seen = [Pulse(now_s=0.25 * k, sent=10 * k, ended=0, in_flight=10 * k) for k in range(1, 200)]
    assert first_alarm(OverSaturation(), iter(pulses_seen)) == (None, "")
