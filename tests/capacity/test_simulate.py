"""The simulated queue against queues whose answers are known: M/M/k, M/D/1, M/G/1, two choices, round robin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.capacity.formulas import (
    erlang_b,
    erlang_c,
    gik_mean_wait,
    mg1_mean_wait,
    mmk_latency_quantile,
    mmk_latency_tail,
    mmk_mean_wait,
    mmk_wait_quantile,
)
from lmbench.capacity.simulate import Shard, Simulated, Times, simulate


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    return rng.exponential(size=shape)


def constant(_: np.random.Generator, shape: tuple[int, int]) -> Times:
    return np.ones(shape)


def gamma(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
    """Mean 1, squared coefficient of variation 4."""
    return rng.gamma(0.25, 4.0, size=shape)


def ran(servers: int, load: float, draw: object = exponential, *, lanes: int = 256, arrivals: int = 8000) -> Simulated:
    shard = Shard(replicas=1, slots=servers, policy="random")
    return simulate(shard, np.full(lanes, load * servers), draw, arrivals=arrivals, seed=3)  # type: ignore[arg-type]


def against_erlang(servers: int, load: float, *, lanes: int, arrivals: int) -> None:
    found = ran(servers, load, lanes=lanes, arrivals=arrivals)
    waited = float((found.wait_s > 0).mean())
    assert waited == pytest.approx(erlang_c(servers, load * servers), rel=0.02, abs=0.001)
    p95 = float(np.quantile(found.latency_s, 0.95))
    assert p95 == pytest.approx(mmk_latency_quantile(servers, load * servers, 1.0, 0.95), rel=0.02)
    assert found.utilization.mean() == pytest.approx(load, rel=0.01)


@pytest.mark.parametrize("servers", [2, 10, 100])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_m_k_is_erlang_s(servers: int, load: float) -> None:
    against_erlang(servers, load, lanes=512, arrivals=6000)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_a_lone_server_is_erlang_s(load: float) -> None:
    against_erlang(1, load, lanes=1024, arrivals=20_000)


@pytest.mark.slow
@pytest.mark.parametrize("servers", [2, 10, 100])
def test_m_m_k_is_erlang_s_near_saturation(servers: int) -> None:
    """A queue at 0.95 forgets within 1500 arrivals: 2 % take tens of millions of them."""
    against_erlang(servers, 0.95, lanes=2048, arrivals=20_000)


@pytest.mark.parametrize(("draw", "scv"), [(constant, 0.0), (exponential, 1.0), (gamma, 4.0)])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_g_1_is_pollaczek_s_and_khinchine_s(draw: object, scv: float, load: float) -> None:
    found = ran(1, load, draw, lanes=1024)
    assert found.wait_s.mean() == pytest.approx(mg1_mean_wait(load, 1.0, scv), rel=0.02)


def test_two_choices_beat_one_as_theory_says() -> None:
    """Fixed point of infinitely many replicas: a share load^(2^i - 1) has at least i requests (Mitzenmacher 2001)."""
    load, count = 0.8, 32
    means = {}
    for policy in ("random", "power-of-two", "least-loaded"):
        shard = Shard(replicas=count, slots=1, policy=policy)
        means[policy] = float(simulate(shard, np.full(24, load * count), exponential, arrivals=30_000, seed=4).latency_s.mean())
    assert means["random"] == pytest.approx(1 / (1 - load), rel=0.04)
    expected = sum(load ** (2**i - 2) for i in range(1, 12))
    assert means["power-of-two"] == pytest.approx(expected, rel=0.04)
    assert means["least-loaded"] < means["power-of-two"] < means["random"] / 2


def test_round_robin_spreads_arrivals_evenly() -> None:
    """Each of n replicas sees every n-th arrival of a Poisson stream: Erlang-n gaps, smoother than random ones."""
    rates = np.full(64, 0.8 * 8)
    waits = {
        policy: float(simulate(Shard(replicas=8, slots=1, policy=policy), rates, constant, arrivals=8000, seed=5).wait_s.mean())
        for policy in ("random", "round-robin")
    }
    assert waits["random"] == pytest.approx(mg1_mean_wait(0.8, 1.0, 0.0), rel=0.06)
    assert waits["round-robin"] < waits["random"] / 3


@pytest.mark.parametrize("policy", ["random", "round-robin", "least-loaded", "power-of-two"])
def test_many_slots_behind_every_policy_serve_an_easy_load_without_waiting(policy: str) -> None:
    found = simulate(Shard(replicas=4, slots=100, policy=policy), np.full(4, 4 * 100 * 0.3), constant, arrivals=4000, seed=6)
    assert found.wait_s.max() == 0
    assert found.utilization.mean() == pytest.approx(0.3, rel=0.05)


def test_an_overload_grows() -> None:
    found = ran(2, 1.5, constant, lanes=4, arrivals=20_000)
    assert found.wait_s[:, -1].min() > found.wait_s[:, 0].max() + 1000
    assert found.utilization.mean() > 0.99


def test_the_same_seed_gives_the_same_times() -> None:
    np.testing.assert_array_equal(ran(3, 0.7, lanes=2).latency_s, ran(3, 0.7, lanes=2).latency_s)


@given(st.integers(1, 200), st.floats(0.01, 0.99))
def test_erlang_s_formulas_agree_with_each_other(servers: int, load: float) -> None:
    offered = load * servers
    blocked, waits = erlang_b(servers, offered), erlang_c(servers, offered)
    assert 0 <= blocked <= waits <= 1
    assert mmk_mean_wait(servers, offered, 1.0) == pytest.approx(waits / (servers - offered))
    assert gik_mean_wait(servers, offered, 1.0, 1.0, 1.0) == mmk_mean_wait(servers, offered, 1.0)
    p95 = mmk_latency_quantile(servers, offered, 1.0, 0.95)
    assert mmk_latency_tail(servers, offered, 1.0, p95) == pytest.approx(0.05, abs=1e-9)
    assert mmk_wait_quantile(servers, offered, 1.0, 0.95) <= p95


def test_known_values_and_the_edges() -> None:
    assert erlang_b(5, 3.0) == pytest.approx(0.11005, abs=1e-5)
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert mmk_latency_quantile(1, 0.5, 1.0, 0.95) == pytest.approx(-math.log(0.05) / 0.5)
    assert mg1_mean_wait(0.5, 1.0, 1.0) == pytest.approx(mmk_mean_wait(1, 0.5, 1.0)) == pytest.approx(1.0)
    for overloaded in (mmk_mean_wait(2, 2.0, 1.0), mmk_wait_quantile(2, 2.1, 1.0, 0.5), mmk_latency_quantile(1, 1.0, 1.0, 0.5)):
        assert math.isinf(overloaded)
    assert (erlang_c(2, 2.0), mmk_latency_tail(1, 2.0, 1.0, 9.0), mg1_mean_wait(1.0, 1.0, 1.0)) == (1.0, 1.0, math.inf)
