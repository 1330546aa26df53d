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
from lmbench.capacity.sharing import Times
from lmbench.capacity.simulate import Shard, Simulated, simulate


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


def calibrated(servers: int, load: float, *, lanes: int, arrivals: int) -> Times:
    """Weights of the lanes of `ran` under which a queue with a known answer shows just that (control variates for shares and
    quantiles: Hesterberg & Nelson 1998).

    The queue: one server, as fast as all of them together, at the same arrivals (same seed, same random numbers). Near saturation
    both are busy in the same lanes, and the weights take out what chance did to them: a hundredth of the arrivals is enough.
    """

    def quick(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
        return exponential(rng, shape) / servers

    shard = Shard(replicas=1, slots=1, policy="random")
    wait = simulate(shard, np.full(lanes, load * servers), quick, arrivals=arrivals, seed=3).wait_s
    late = mmk_wait_quantile(1, load * servers, 1 / servers, 0.95)
    off = np.column_stack([(wait > 0).mean(axis=1) - load, (wait > late).mean(axis=1) - 0.05])
    mean = off.mean(axis=0)
    weights: Times = 1 / lanes - (off - mean) @ np.linalg.solve((off - mean).T @ (off - mean), mean)
    return weights


def against_erlang(found: Simulated, servers: int, load: float, weights: Times) -> None:
    """Waiting probability and p95 of the latency within 2 %: 5 % of the requests are above some time within that of the formula's."""
    waited = float(weights @ (found.wait_s > 0).mean(axis=1))
    assert waited == pytest.approx(erlang_c(servers, load * servers), rel=0.02, abs=0.001)
    p95 = mmk_latency_quantile(servers, load * servers, 1.0, 0.95)
    slower, quicker = (float(weights @ (found.latency_s > p95 * end).mean(axis=1)) for end in (0.98, 1.02))
    assert quicker < 0.05 < slower
    assert weights @ found.utilization == pytest.approx(load, rel=0.01)


@pytest.mark.parametrize("servers", [2, 10, 100])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_m_m_k_is_erlang_s(servers: int, load: float) -> None:
    lanes = 1024 if (servers, load) == (100, 0.8) else 256  # there two of a hundred wait, many together
    weights = calibrated(servers, load, lanes=lanes, arrivals=6000)
    assert weights.sum() == pytest.approx(1)
    against_erlang(ran(servers, load, lanes=lanes, arrivals=6000), servers, load, weights)


@pytest.mark.parametrize(("load", "lanes", "arrivals"), [(0.5, 256, 8000), (0.8, 512, 8000), (0.95, 1024, 20_000)])
def test_a_lone_server_is_erlang_s(load: float, lanes: int, arrivals: int) -> None:
    against_erlang(ran(1, load, lanes=lanes, arrivals=arrivals), 1, load, np.full(lanes, 1 / lanes))


def test_a_queue_that_is_a_little_too_slow_is_found_out() -> None:
    """The check can fail: services 3 % too long."""

    def slow(rng: np.random.Generator, shape: tuple[int, int]) -> Times:
        return 1.03 * exponential(rng, shape)

    weights = calibrated(2, 0.8, lanes=256, arrivals=6000)
    with pytest.raises(AssertionError):
        against_erlang(ran(2, 0.8, slow, lanes=256, arrivals=6000), 2, 0.8, weights)


@pytest.mark.parametrize(("draw", "scv"), [(constant, 0.0), (exponential, 1.0), (gamma, 4.0)])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_m_g_1_is_pollaczek_s_and_khinchine_s(draw: object, scv: float, load: float) -> None:
    found = ran(1, load, draw, lanes=1024 if scv > 1 else 512)
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
    found = ran(2, 1.5, constant, lanes=4, arrivals=12_000)
    assert found.wait_s[:, -1].min() > found.wait_s[:, 0].max() + 1000
    assert found.utilization.mean() > 0.99


def test_who_finds_a_lone_server_idle_waits_exactly_nothing() -> None:
    """Rounding must not make a wait of it: shares of requests that wait are counted."""
    wait = ran(1, 0.3, lanes=64, arrivals=4000).wait_s
    assert not ((wait > 0) & (wait < 1e-9)).any()


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
