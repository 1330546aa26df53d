"""The search finds a limit that is known, says so when it cannot, and never asks for more than it may."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.attainment import attainment_interval, correlation_time, effective_size, share_interval
from lmbench.load.search import BELOW_START, NO_KNEE, RESOLVED, Search, found, tally
from lmbench.load.shapes import ABORTED, BROKE, HELD, HOLD, PROBE, UNRESOLVED, Passed, Step
from lmbench.load.slo import Verdict
from tests.load.queues import Judge, Server, run, verdict

SERVERS = (Server(slots=1, limit_s=4.0), Server(slots=1, limit_s=8.0), Server(slots=4, limit_s=2.5))


@cache
def true_limit(server: Server) -> float:
    return server.true_limit()


def on(server: Server, seed: int) -> Judge:
    def judge(step: Step) -> tuple[Verdict, str]:
        flags = server.flags(step.rate, step.duration_s, np.random.default_rng([seed, step.index]))
        return verdict(flags, server.target), ""

    return judge


def ideal(limit: float) -> Judge:
    """A service that keeps the SLO for every request up to a rate and for none above it."""
    return lambda step: (verdict([step.rate <= limit] * 200, 0.95), "")


def passed(rate: float, good: int, requests: int = 400, *, cut: str = "", target: float = 0.95) -> Passed:
    low, high = share_interval(good / requests, requests)
    share = good / requests
    judged = Verdict(requests=requests, good=good, attainment=share, low=low, high=high, met=share >= target, target=target)
    step = Step(index=0, kind=PROBE, rate=rate, start_s=0.0, duration_s=10.0)
    return Passed(step=step, verdict=judged, cut=cut)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"{server.slots} slots, {server.limit_s} s")
def test_a_known_limit_is_found_within_five_percent(server: Server) -> None:
    resolved = 0
    for seed in range(4):
        search = Search(start_rate=0.2 * server.slots, min_requests=2000, max_total_s=1e9)
        result = found(run(search, on(server, seed)), search)
        assert result.rate is not None
        assert result.low is not None
        assert result.high is not None
        assert result.rate == pytest.approx(true_limit(server), rel=0.05)
        assert result.low * 0.99 <= true_limit(server) <= result.high * 1.01
        resolved += result.state == RESOLVED
    assert resolved >= 3


def test_probes_that_are_too_short_are_said_to_be() -> None:
    server = SERVERS[0]
    search = Search(start_rate=0.3, probe_s=1.0, min_requests=60, max_repeats=0, max_total_s=1e9)
    results = [found(run(search, on(server, seed)), search) for seed in range(5)]
    assert {result.state for result in results} == {UNRESOLVED}
    assert all("too short" in result.reason or "no rate was found" in result.reason for result in results)


def test_a_service_that_never_breaks_has_no_knee() -> None:
    search = Search(start_rate=1.0, max_rate=50.0)
    result = found(run(search, ideal(1e9)), search)
    assert (result.state, result.rate, result.high) == (NO_KNEE, 50.0, None)
    assert "at least 50 requests/s" in result.reason


def test_a_service_that_always_breaks_is_below_the_start() -> None:
    search = Search(start_rate=8.0, min_rate=1.0)
    result = found(run(search, ideal(0.0)), search)
    assert (result.state, result.rate, result.high) == (BELOW_START, None, 1.0)
    assert [probe.rate for probe in result.probes] == [1.0, 2.0, 4.0, 8.0]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.02, 500), st.floats(0.5, 20), st.floats(0.01, 0.5))
def test_a_sharp_limit_is_bracketed_to_the_resolution(limit: float, start: float, resolution: float) -> None:
    search = Search(start_rate=start, resolution=resolution, max_total_s=1e9)
    past = run(search, ideal(limit))
    result = found(past, search)
    assert result.state == RESOLVED
    assert result.low is not None
    assert result.high is not None
    assert result.low <= limit < result.high <= result.low * (1 + resolution) * (1 + 1e-9)
    assert not result.violations
    assert len(past) <= 30
    assert [step.step.index for step in past] == list(range(len(past)))
    assert all(before.rate < after.rate for before, after in pairwise(result.probes))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.floats(20, 2000), st.integers(0, 99))
def test_bounds_on_probes_and_time_are_kept(most: int, total_s: float, seed: int) -> None:
    search = Search(start_rate=0.3, probe_s=5.0, min_requests=20, max_probes=most, max_total_s=total_s)
    past = run(search, on(SERVERS[0], seed))
    assert len(past) <= most
    assert not past or past[-1].step.end_s - past[0].step.start_s <= total_s * (1 + 1e-9)
    assert found(past, search).state in (RESOLVED, UNRESOLVED, NO_KNEE, BELOW_START)
    assert len(past) >= 1 or search.needed / search.start_rate > total_s


def test_a_search_stopped_by_its_bounds_says_so() -> None:
    search = Search(start_rate=1.0, min_requests=400, max_probes=5, resolution=0.001)
    result = found(run(search, ideal(6.0)), search)
    assert result.state == UNRESOLVED
    assert result.low == pytest.approx(4 * 2**0.5)
    assert result.high == 8.0
    assert "stopped at its bounds after 5 probes" in result.reason


def test_an_unresolved_rate_is_closed_in_on_and_then_repeated_for_longer() -> None:
    past = [passed(1.0, 400), passed(2.0, 0), passed(2**0.5, 380)]
    assert tally(past)[1].state == UNRESOLVED
    wide = Search(start_rate=1.0, probe_s=10.0, min_requests=1).next_step(past, 100.0)
    assert wide is not None
    assert wide.rate in (pytest.approx(2**0.25), pytest.approx(2**0.75))
    narrow = [passed(1.0, 400), passed(1.06, 0), passed(1.02, 380), passed(1.04, 380)]
    repeat = Search(start_rate=1.0, probe_s=10.0, min_requests=1).next_step(narrow, 100.0)
    assert repeat is not None
    assert repeat.rate in (1.02, 1.04)
    assert repeat.duration_s == 30.0


def test_a_probe_that_was_cut_counts_as_broken() -> None:
    probes = tally([passed(1.0, 400), passed(2.0, 390, cut="the service falls behind")])
    assert [probe.state for probe in probes] == [HELD, ABORTED]
    result = found([passed(1.0, 400), passed(1.04, 400, cut="behind")], Search(start_rate=1.0))
    assert (result.low, result.high) == (1.0, 1.04)


def test_the_interval_spans_a_rate_that_held_above_one_that_broke() -> None:
    past = [passed(1.0, 400), passed(2.0, 100), passed(3.0, 400), passed(4.0, 0)]
    result = found(past, Search(start_rate=1.0))
    assert (result.rate, result.low, result.high) == (1.0, 1.0, 4.0)
    assert result.violations == ("3 requests/s held though 2 requests/s broke; the interval spans both",)


def test_of_contradicting_tries_the_longest_decides() -> None:
    probe = tally([passed(2.0, 100, 400), passed(2.0, 1200, 1200)])[0]
    assert (probe.state, probe.both, probe.requests) == (HELD, True, 1600)
    assert tally([passed(2.0, 1600, 1600, cut=""), passed(2.0, 100, 100, cut="behind")])[0].state == HELD
    result = found([passed(2.0, 100, 400), passed(2.0, 1200, 1200)], Search(start_rate=2.0))
    assert result.violations == ("2 requests/s both held and broke; its longest probe decides",)


def test_evidence_at_one_rate_is_pooled() -> None:
    once, twice = tally([passed(1.0, 388)])[0], tally([passed(1.0, 388), passed(1.0, 1164, 1200)])[0]
    assert once.state == UNRESOLVED
    assert (twice.state, twice.requests, twice.tries, twice.attainment) == (HELD, 1600, 2, 0.97)


def test_only_probes_are_counted() -> None:
    hold = replace(passed(9.0, 1), step=Step(index=1, kind=HOLD, rate=9.0, start_s=0.0, duration_s=1.0))
    assert [(probe.rate, probe.state) for probe in tally([passed(1.0, 300), hold])] == [(1.0, BROKE)]


def test_no_requests_decide_nothing() -> None:
    nothing = Verdict(requests=0, good=0, attainment=None, low=None, high=None, met=True, target=0.95)
    step = Step(index=0, kind=PROBE, rate=1.0, start_s=0.0, duration_s=10.0)
    probe = tally([Passed(step=step, verdict=nothing)])[0]
    assert (probe.state, probe.attainment) == (UNRESOLVED, None)
    assert found([], Search(start_rate=1.0)).reason == "no probe was run"


def test_senseless_searches_are_refused() -> None:
    with pytest.raises(ValueError, match="expected positive"):
        Search(start_rate=1.0, resolution=0.0)
    with pytest.raises(ValueError, match="outside"):
        Search(start_rate=1.0, max_rate=0.5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=300))
def test_the_attainment_interval_holds_the_share_and_is_no_narrower_than_wilson(flags: list[bool]) -> None:
    low, high = attainment_interval(flags)
    share = sum(flags) / len(flags)
    plain = share_interval(share, len(flags))
    assert 0 <= low <= share <= high <= 1
    assert low <= plain[0] + 1e-12
    assert high >= plain[1] - 1e-12
    assert 1 <= correlation_time(flags) <= len(flags)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.0, 1.0), st.floats(1.0, 1e5))
def test_the_effective_size_is_read_back_from_an_interval(share: float, size: float) -> None:
    assert effective_size(share, *share_interval(share, size)) == pytest.approx(size, rel=1e-4)


def test_independent_flags_give_wilson_within_a_little() -> None:
    ratios = []
    for seed in range(100):
        flags = (np.random.default_rng(seed).random(1000) < 0.95).tolist()
        low, high = attainment_interval(flags)
        plain = share_interval(sum(flags) / 1000, 1000)
        ratios.append((high - low) / (plain[1] - plain[0]))
    assert np.mean(ratios) < 1.06
    assert max(ratios) < 1.6


def test_correlated_flags_are_covered_where_wilson_fails() -> None:
    server = SERVERS[0]
    rate = true_limit(server)
    truth = server.attainment(rate)
    mine = plain = 0
    for seed in range(100):
        flags = server.flags(rate, 4000 / rate, np.random.default_rng([7, seed]))
        low, high = attainment_interval(flags)
        mine += low <= truth <= high
        low, high = share_interval(sum(flags) / len(flags), len(flags))
        plain += low <= truth <= high
    assert mine >= 85
    assert plain <= 65


def test_repeated_flags_count_once() -> None:
    base = (np.random.default_rng(3).random(400) < 0.9).tolist()
    repeated = [flag for flag in base for _ in range(5)]
    assert correlation_time(repeated) == pytest.approx(5, rel=0.35)
    with pytest.raises(ValueError, match="no requests"):
        attainment_interval([])
