"""Replicas that share themselves among all their requests, against what theory and a simulation of another kind say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.capacity.alone import weighed
from lmbench.capacity.formulas import mmk_mean_wait, shared_mean_delay
from lmbench.capacity.matching import Source
from lmbench.capacity.measured import replica
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan_file import Option
from lmbench.capacity.sharing import shared_latencies
from lmbench.capacity.simulate import POLICIES, Shard, simulate
from lmbench.capacity.surface import simulated_surface
from lmbench.record.record import Record
from tests.capacity.records import stress
from tests.capacity.test_simulate import constant, exponential, gamma

ALONE_S = 0.01


@pytest.mark.parametrize("draw", [constant, exponential, gamma])
@pytest.mark.parametrize(("capacity", "load"), [(1.0, 0.5), (1.0, 0.8), (1.5, 0.7), (3.0, 0.8)])
def test_what_sharing_costs_hangs_on_the_mean_of_service_times_alone(capacity: float, load: float, draw: object) -> None:
    shard = Shard(replicas=1, slots=1, policy="random", shared=capacity)
    found = simulate(shard, np.full(400, load * capacity), draw, arrivals=1000, seed=1)  # type: ignore[arg-type]
    delay = float(found.wait_s.mean())
    assert delay == pytest.approx(shared_mean_delay(capacity, load * capacity, 1.0), rel=0.04)
    assert float(found.utilization.mean()) == pytest.approx(load, rel=0.02)


@given(st.integers(1, 20), st.floats(0.05, 0.95), st.floats(0.001, 10.0))
def test_of_whole_capacities_the_mean_is_that_of_m_m_k(servers: int, load: float, service_s: float) -> None:
    rate = load * servers / service_s
    assert shared_mean_delay(servers, rate, service_s) == pytest.approx(
        mmk_mean_wait(servers, rate, service_s), rel=1e-6, abs=1e-9
    )


def test_at_or_beyond_the_capacity_the_mean_is_infinite() -> None:
    assert shared_mean_delay(1.5, 1.5, 1.0) == np.inf


def by_events(capacity: float, moments: list[float], work: list[float]) -> list[float]:
    """Latencies in one replica, by stepping through small pieces in which nothing changes."""
    left, ended, now = dict[int, float](), dict[int, float](), 0.0
    coming = [*zip(moments, range(len(moments)), strict=True)]
    while coming or left:
        speed = min(1.0, capacity / len(left)) if left else 1.0
        first = min(left, key=lambda one: left[one]) if left else None
        end = now + left[first] / speed if first is not None else np.inf
        moment = min(end, coming[0][0] if coming else np.inf)
        left = {one: rest - (moment - now) * speed for one, rest in left.items()}
        now = moment
        if first is not None and moment == end:
            del left[first]
            ended[first] = now
        else:
            left[coming[0][1]] = work[coming[0][1]]
            coming.pop(0)
    return [ended[index] - moments[index] for index in range(len(moments))]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.001, 3.0), st.floats(0.01, 5.0)), min_size=1, max_size=40),
    st.floats(0.5, 6.0),
)
def test_it_equals_stepping_from_event_to_event(pairs: list[tuple[float, float]], capacity: float) -> None:
    gaps, work = zip(*pairs, strict=True)
    moments = np.cumsum(gaps)
    found = shared_latencies(
        1, capacity, moments[None], np.asarray(work)[None], lambda _, inside: np.zeros(len(inside), dtype=int)
    )
    expected = by_events(capacity, [float(moment) for moment in moments], list(work))
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_more_than_there_was_room_for_are_served_too() -> None:
    moments = np.linspace(0.001, 0.1, 100)[None]
    found = shared_latencies(1, 1.0, moments, np.ones((1, 100)), lambda _, inside: np.zeros(len(inside), dtype=int))
    assert found.max() == pytest.approx(100.0, rel=0.01)


def test_every_policy_serves_an_easy_load_and_two_choices_beat_chance() -> None:
    delay = {}
    for policy in POLICIES:
        shard = Shard(replicas=4, slots=1, policy=policy, shared=1.0)
        found = simulate(shard, np.full(64, 4 * 0.7), constant, arrivals=1000, seed=2)
        delay[policy] = float(found.wait_s.mean())
        assert float(found.utilization.mean()) == pytest.approx(0.7, rel=0.05)
    assert delay["least-loaded"] < delay["power-of-two"] < delay["random"]


def test_long_requests_are_seldom_alone_and_count_the_more() -> None:
    assert weighed([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], 5.0) == pytest.approx([1.0, 2.0, 3.0])
    rng = np.random.default_rng(0)
    times = rng.gamma(4.0, 0.25, size=8000)
    seen = [float(time) for time in times if rng.random() < np.exp(-time)]
    assert np.mean(seen) < 0.85
    assert np.mean(weighed(seen, seen, 1.0)) == pytest.approx(1.0, rel=0.03)
    assert weighed([], [], 1.0) == []


def sharing(capacity: float) -> Record:
    """A stress record of an endpoint that takes ALONE_S for a request alone and shares itself among several."""
    one = stress(workers=1, scv=0.0, mean_s=ALONE_S, start=30.0, kind="endpoint")
    columns = {name: list(values) for name, values in one.details["requests"].items()}
    order = np.argsort(columns["scheduled"], kind="stable")
    moments = np.asarray(columns["scheduled"], dtype=float)[order]
    work = np.full((1, len(order)), ALONE_S)
    latency = shared_latencies(1, capacity, moments[None] - moments[0] + 1.0, work, lambda _, inside: np.zeros(len(inside), int))
    for place, moment, lasting in zip(order, moments, latency[0], strict=True):
        columns["sent"][place] = columns["started"][place] = float(moment)
        columns["finished"][place] = float(moment + lasting)
        columns["first_token"][place] = float(moment + lasting / 2)
    return replace(one, details={**one.details, "requests": columns})


def test_an_endpoint_that_shares_itself_is_told_from_a_queue() -> None:
    found = replica("served", Option(model="gpt"), [Source(record=sharing(1.5))])
    assert found.shared == pytest.approx(1.5, abs=0.2)
    assert "all at once" in found.reasons["slots"]
    assert "were alone" in found.reasons["service_s"]
    assert found.mean_service_s == pytest.approx(ALONE_S, rel=0.02)
    assert found.backtests
    assert max(abs(test.error) for test in found.backtests) < 0.2


def test_the_surface_of_a_sharing_replica_slows_first_tokens_down_too() -> None:
    one = Replica(option="x", slots=2, shared=1.5, service_s=((0.1,),), first_token_s=((0.02,),), rates=(1.0,))
    found = simulated_surface(one, "least-loaded", peak=10.0)
    assert found.rates[-1] == pytest.approx(0.9 * 15)
    for place in (0, len(found.rates) - 1):
        assert found.ttft_s["p50"][place] == pytest.approx(found.latency_s["p50"][place] / 5, rel=0.1)
    assert set(found.closed_form) == {"simulated", "erlang_c"}
