"""Plans over options whose truth is known: demand, sizing, redundancy, what breaks, what it costs, what is flagged and refused."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.capacity.demand import MINUTES, demand, mixed
from lmbench.capacity.formulas import mmk_latency_quantile
from lmbench.capacity.measured import replica
from lmbench.capacity.nouns import Replica, Surface
from lmbench.capacity.plan import Plan, Sized, plan
from lmbench.capacity.plan_file import Autoscale, Option, PlanRequest, Redundancy, RequestClass, Traffic, load
from lmbench.capacity.scenarios import scaled
from lmbench.capacity.sizing import QUEUE, RANGE, ceiling, fixed_fleet, quantile_at, replicas_for, scaled_fleet, with_redundancy
from lmbench.capacity.surface import simulated_surface
from tests.capacity.records import sources

EXPONENTIAL = (tuple(float(one) for one in np.random.default_rng(1).exponential(0.1, size=4000)),)


def surface(**changes: Any) -> Surface:
    """A made-up one: latency p95 rises from 0.1 s to 1 s between 1 and 10 requests/s, known within 10 %."""
    rates = tuple(float(rate) for rate in range(1, 11))
    values = tuple(0.1 * rate for rate in rates)
    tables = {"latency_s": {"p95": values}, "latency_low_s": {"p95": tuple(0.9 * v for v in values)}}
    tables["latency_high_s"] = {"p95": tuple(1.1 * v for v in values)}
    return Surface(option="x", policy="random", shard=1, rates=rates, utilization=rates, **{**tables, **changes})


def copy(**changes: Any) -> Replica:
    return replace(Replica(option="x", slots=1, service_s=((0.05,),), rates=(1.0, 8.0)), **changes)


def request(**more: Any) -> PlanRequest:
    base: dict[str, Any] = {
        "traffic": {"requests_per_s": 300.0},
        "routing": "random",
        "slo": {"latency_p95_s": 0.1},
        "options": {
            "fp32": {"model": "gpt", "compression": "none", "price_per_hour": 1.0, "idle_w": 50, "busy_w": 150},
            "int8": {"model": "gpt", "compression": "int8", "price_per_hour": 1.0},
        },
    }
    return PlanRequest.model_validate({**base, **more})


@cache
def measured(chosen: str, compression: str, **more: Any) -> Replica:
    """What the records tell of an option, which is the same in many plans; `chosen` is the option as JSON."""
    return replica("measured", Option.model_validate_json(chosen), sources(compression, **more))


def planned(wanted: PlanRequest, **options: dict[str, Any]) -> Plan:
    known: dict[str, Replica | str] = {}
    for name, option in wanted.options.items():
        evidence = option.model_copy(update={"price_per_hour": None, "idle_w": None, "busy_w": None, "memory_gib": None})
        try:
            known[name] = replace(measured(evidence.model_dump_json(), option.compression, **options.get(name, {})), option=name)
        except SubjectError as error:
            known[name] = str(error)
    return plan(wanted, demand(wanted.traffic), known)


def option(found: Plan, name: str) -> Sized:
    return next(one for one in found.options if one.name == name)


def test_a_surface_of_exponential_times_is_m_m_1() -> None:
    found = simulated_surface(copy(service_s=EXPONENTIAL), "random", peak=100.0)
    mean = float(np.mean(EXPONENTIAL))
    for place in (0, 4, 7):
        expected = mmk_latency_quantile(1, found.rates[place], mean, 0.95)
        assert found.latency_low_s["p95"][place] <= expected * 1.02
        assert found.latency_high_s["p95"][place] >= expected * 0.98
        assert found.closed_form["simulated"][place] == pytest.approx(found.closed_form["erlang_c"][place], rel=0.15)
    assert found.rates == tuple(sorted(found.rates))
    for table in (found.latency_s, found.latency_low_s, found.latency_high_s):
        assert all(list(values) == sorted(values) for values in table.values())


def test_an_interval_over_several_runs_holds_what_differs_between_them() -> None:
    """Two runs, the second half as slow again; each by itself, both, and the same run twice."""
    slow = tuple(1.5 * value for value in EXPONENTIAL[0])
    runs = {"quick": EXPONENTIAL, "slow": (slow,), "both": (EXPONENTIAL[0], slow), "same": (EXPONENTIAL[0],) * 2}
    found = {
        name: simulated_surface(copy(service_s=times, first_token_s=times), "random", peak=100.0) for name, times in runs.items()
    }
    assert found["both"].rates == found["slow"].rates, "no lane gets more than the slowest run could take"

    def ends(name: str, kind: str = "latency") -> tuple[float, float]:
        rate = found["slow"].rates[3]
        return quantile_at(found[name], kind, "p95", rate, "low"), quantile_at(found[name], kind, "p95", rate, "high")

    for kind in ("latency", "ttft"):
        assert ends("both", kind)[0] == pytest.approx(ends("quick", kind)[0], rel=0.1)
        assert ends("both", kind)[1] == pytest.approx(ends("slow", kind)[1], rel=0.1)
        assert ends("both", kind)[1] / ends("both", kind)[0] > 1.3 > ends("same", kind)[1] / ends("same", kind)[0]


def test_longer_service_times_only_scale_a_surface() -> None:
    one = copy(service_s=EXPONENTIAL, first_token_s=((0.01, 0.02),))
    twice = replace(one, service_s=(tuple(2 * value for value in EXPONENTIAL[0]),), first_token_s=((0.02, 0.04),))
    there = simulated_surface(twice, "power-of-two", peak=10.0)
    here = scaled(simulated_surface(one, "power-of-two", peak=20.0), 2.0)
    np.testing.assert_allclose(here.rates, there.rates)
    for name in ("latency_s", "latency_low_s", "ttft_s", "ttft_high_s"):
        np.testing.assert_allclose(getattr(here, name)["p95"], getattr(there, name)["p95"], rtol=1e-9)


def test_the_ceiling_lies_where_the_unfavourable_end_crosses_the_limit() -> None:
    found = ceiling(surface(), copy(), {("latency", "p95"): 0.55}, extrapolate=2.0)
    assert found.rate == found.low == pytest.approx(5.0)
    assert found.high == pytest.approx(0.55 / 0.09)
    assert (found.binds, found.extrapolates) == ("latency p95", False)
    assert ceiling(surface(), copy(), {("latency", "p95"): 50.0}, extrapolate=2.0).binds == QUEUE
    beyond = ceiling(surface(), copy(rates=(1.0, 2.0)), {("latency", "p95"): 0.55}, extrapolate=2.0)
    assert (beyond.rate, beyond.binds, beyond.extrapolates) == (4.0, RANGE, True)
    slow = ceiling(surface(), copy(), {("latency", "p95"): 0.05}, extrapolate=2.0)
    assert (slow.rate, slow.binds) == (None, "latency p95")
    assert quantile_at(surface(), "latency", "p95", 2.5) == pytest.approx(0.25)
    assert math.isinf(quantile_at(surface(), "latency", "p95", 10.5))


@given(st.integers(1, 5000), st.integers(0, 20), st.integers(1, 7))
def test_redundancy_is_enough_and_not_more(needed: int, spare: int, zones: int) -> None:
    rules = Redundancy(spare=spare, zones=zones)
    total = with_redundancy(needed, rules)

    def enough(count: int) -> bool:
        zone = math.ceil(count / zones) if zones > 1 else 0
        return count - spare >= needed and count - zone >= needed

    assert enough(total)
    assert not enough(total - 1)


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e3))
def test_replicas_share_the_rate(rate: float, each: float) -> None:
    count = replicas_for(rate, each)
    assert rate / count <= each * (1 + 1e-6)
    assert count == 1 or rate / (count - 1) > each * (1 - 1e-6)


@settings(max_examples=25)
@given(st.sampled_from(["flat", "office", "evening"]) | st.lists(st.floats(0.1, 9), min_size=24, max_size=24), st.floats(1, 5))
def test_a_day_has_the_mean_it_was_given(profile: Any, burst: float) -> None:
    found = demand(Traffic(requests_per_s=40.0, growth=1.5, profile=profile, burst=burst))
    assert len(found.per_minute) == MINUTES
    assert found.mean == pytest.approx(60.0)
    assert found.peak == pytest.approx(max(found.per_minute) * burst)


def test_a_trace_shapes_the_day() -> None:
    moments = [*np.linspace(0, 10, 100), *np.linspace(10, 20, 300)]
    found = demand(Traffic(requests_per_s=10.0, trace="t.jsonl"), moments)
    assert found.mean == pytest.approx(10.0)
    assert sum(found.per_minute[MINUTES // 2 :]) == pytest.approx(3 * sum(found.per_minute[: MINUTES // 2]), rel=0.02)


def test_autoscaling_follows_a_cold_start_behind() -> None:
    day = demand(Traffic(requests_per_s=100.0, profile="office"))
    rule = Autoscale(utilization=0.5, least=2)
    at_once = scaled_fleet(day, copy(service_s=((0.1,),), cold_start_s=1.0), 9.0, Redundancy(), rule)
    late = scaled_fleet(day, copy(service_s=((0.1,),), cold_start_s=1800.0), 9.0, Redundancy(), rule)
    fixed = fixed_fleet(day, 9.0, Redundancy())
    assert min(at_once.ready) >= 2
    assert at_once.peak == math.ceil(max(day.per_minute) / 5.0)
    assert sum(late.ready) < sum(at_once.ready)
    rising = slice(7 * 60, 9 * 60)
    assert all(a <= b for a, b in zip(late.ready[rising], at_once.ready[rising], strict=True))
    assert fixed.hours == pytest.approx(24 * fixed.peak)


def test_a_plan_ranks_what_keeps_its_promises_by_cost() -> None:
    found = planned(request(), int8={"mean_s": 0.005, "start": 40.0})
    assert [one.name for one in found.options] == ["int8", "fp32"]
    small, large = found.options
    assert small.meets and large.meets
    assert small.fleet is not None and large.fleet is not None
    assert large.fleet.peak > 1.7 * small.fleet.peak
    assert large.cost_per_hour == pytest.approx(large.fleet.peak)
    # 300 requests/s x 2 tokens for a day.
    assert large.cost_per_million_tokens == pytest.approx(large.fleet.peak * 24 / (300 * 86400 * 2 / 1e6))
    assert large.day is not None and large.top is not None and large.needed_range is not None
    assert large.day.attainment == 1.0
    assert large.day.energy_j == pytest.approx(large.fleet.peak * 86400 * (50 + 100 * large.day.utilization_mean), rel=1e-6)
    assert small.day is not None
    assert small.day.energy_j is None
    assert large.needed_range[0] <= large.needed <= large.needed_range[1]  # type: ignore[operator]
    # Each replica must serve 300 / n within 0.1 s at p95, the service itself taking 0.01 s.
    assert 0.5 < large.day.utilization_peak < 0.9
    assert large.peak_latency_s["latency p95"] <= 0.1


def test_what_was_not_measured_is_flagged_and_refused() -> None:
    loose = planned(request(slo={"latency_p95_s": 5.0}), fp32={"start": 2.0, "growth": 1.05})
    flagged = option(loose, "fp32")
    assert flagged.top is not None
    assert flagged.top.binds == RANGE
    assert flagged.extrapolates
    assert any("extrapolates" in warning for warning in loose.warnings)
    slow = option(planned(request(slo={"latency_p95_s": 0.001})), "fp32")
    assert "even an idle replica is slower" in slow.refused
    assert not slow.meets
    nothing = planned(request(options={"fp32": {"model": "unknown"}}))
    assert "found no stored stress record" in option(nothing, "fp32").refused


def test_a_quality_floor_and_memory_decide_too() -> None:
    found = planned(
        request(slo={"latency_p95_s": 0.1, "perplexity_ratio": 1.01}), int8={"mean_s": 0.005, "start": 40.0, "ratio": 1.05}
    )
    assert [one.name for one in found.options] == ["fp32", "int8"]
    assert option(found, "int8").quality_met is False
    assert option(found, "fp32").quality_met is True
    tight = request(options={"fp32": {"model": "gpt", "memory_gib": 1.0}})
    memory = option(planned(tight), "fp32").memory
    assert memory is not None
    assert memory.fits is False
    assert not option(planned(tight), "fp32").meets
    roomy = option(planned(request()), "fp32").memory
    assert roomy is not None and roomy.tokens_in_flight is not None
    assert roomy.tokens_in_flight == pytest.approx((0.9 * 16 - 1.5) * (1 << 30) / 4096, rel=1e-6)


def test_promises_that_no_replica_more_can_keep_decide_too() -> None:
    """Of 10 ms of service half is the time of the second token; p95 of it is 9.7 ms."""
    slo = {"latency_p95_s": 0.1, "tpot_p95_s": 0.02, "error_rate": 0.01}
    kept = option(planned(request(slo=slo)), "fp32")
    assert kept.meets
    assert [(check.name, check.limit, check.holds) for check in kept.checks] == [
        ("tpot p95", 0.02, True),
        ("error_rate", 0.01, True),
    ]
    slow = option(planned(request(slo=slo | {"tpot_p95_s": 0.005})), "fp32")
    assert slow.fleet == kept.fleet, "more of them would not help"
    assert [check.holds for check in slow.checks] == [False, True]
    assert not slow.meets
    # One request in forty fails; the upper end of the interval counts, not the share itself.
    flaky = {"fails_each": 40}
    assert not option(planned(request(slo=slo | {"error_rate": 0.0255}), fp32=flaky), "fp32").meets
    assert option(planned(request(slo=slo | {"error_rate": 0.05}), fp32=flaky), "fp32").meets


def test_a_promise_that_the_records_cannot_tell_is_not_kept() -> None:
    wanted = request(slo={"latency_p95_s": 0.1, "tpot_p95_s": 1.0})
    known = replica("fp32", wanted.options["fp32"], sources())
    blind = replace(known, steady={}, reasons={**known.reasons, "tpot p95": "was not streamed"})
    found = plan(wanted, demand(wanted.traffic), {"fp32": blind, "int8": "nothing"})
    (check,) = option(found, "fp32").checks
    assert (check.found, check.holds) == (None, False)
    assert not option(found, "fp32").meets
    assert "fp32: its tpot p95 is not known, so that promise does not count as kept: was not streamed" in found.warnings


def test_one_run_is_told_to_hold_no_difference_between_runs() -> None:
    caution = "fp32: one run: its interval does not hold what differs between runs"
    wanted = request(options={"fp32": {"model": "gpt"}})
    known = replica("fp32", wanted.options["fp32"], sources())
    for count in (1, 2):
        found = plan(wanted, demand(wanted.traffic), {"fp32": replace(known, service_s=known.service_s * count)})
        assert (caution in found.warnings) is (count == 1)


def test_losing_a_zone_is_paid_for_and_survived() -> None:
    bare, safe = planned(request()), planned(request(redundancy={"zones": 3, "spare": 1}))
    one, other = option(bare, "fp32"), option(safe, "fp32")
    assert one.fleet is not None and other.fleet is not None
    assert other.fleet.peak - math.ceil(other.fleet.peak / 3) >= one.fleet.peak
    by_name = {outlook.what: outlook for outlook in other.outlooks}
    assert by_name["the fullest of 3 zones lost"].holds
    assert by_name["1 replica lost"].holds
    doubled = by_name["traffic doubles"]
    assert doubled.holds is False
    assert doubled.needed is not None
    assert doubled.needed >= 2 * one.fleet.peak - 1
    longer = by_name["prompts twice as long"]
    # 32 more prompt tokens cost 5 ms of 10 ms: half as much again.
    assert longer.needed == pytest.approx(1.5 * one.fleet.peak, abs=2)


def test_the_tornado_shows_which_input_the_number_hangs_on() -> None:
    busy = request(traffic={"requests_per_s": 3000.0, "burst": 2.0})
    swings = {swing.what: swing for swing in option(planned(busy), "fp32").tornado}
    traffic = swings["traffic"]
    assert traffic.replicas_low is not None and traffic.replicas_high is not None
    assert traffic.replicas_high / traffic.replicas_low == pytest.approx(1.5, rel=0.06)
    times = swings["promised times"]
    assert times.replicas_low >= times.replicas_high  # type: ignore[operator]
    assert swings["burst"].replicas_high > swings["burst"].replicas_low  # type: ignore[operator]


def test_classes_stretch_the_measured_times_and_far_ones_are_refused() -> None:
    known = replica("fp32", Option(model="gpt"), sources())
    mean = known.mean_service_s
    same = mixed(known, {"a": RequestClass()}, limit=2.0)
    assert same.replica.mean_service_s == pytest.approx(mean, rel=0.05)
    longer = mixed(known, {"a": RequestClass(share=1.0), "b": RequestClass(share=1.0, prompt_tokens=64)}, limit=2.0)
    # 64 tokens of prompt and 2 of output: 10 + 10 ms against 5 + 10 ms by the line of the latency records.
    assert longer.replica.mean_service_s == pytest.approx(mean * (1 + 20 / 15) / 2, rel=0.05)
    assert longer.replica.prompt_tokens == pytest.approx(48.0)
    assert longer.beyond == ("class b: 64 prompt tokens, measured 32",)
    with pytest.raises(SubjectError, match="more than 2 times the measured 32"):
        mixed(known, {"a": RequestClass(prompt_tokens=65)}, limit=2.0)
    with pytest.raises(SubjectError, match="measure a latency case too"):
        mixed(replace(known, scaling={}), {"a": RequestClass(prompt_tokens=40)}, limit=2.0)


def test_a_million_requests_per_second_are_planned_like_ten_thousand() -> None:
    """Shards stand for the fleet, so the numbers scale and the work does not."""
    busy = request(routing="least-loaded", options={"fp32": {"model": "gpt"}})
    few, many = (
        planned(busy.model_copy(update={"traffic": Traffic(requests_per_s=rate, profile="office")})) for rate in (1e4, 1e6)
    )
    one, other = option(few, "fp32"), option(many, "fp32")
    assert one.fleet is not None and other.fleet is not None
    assert other.fleet.peak == pytest.approx(100 * one.fleet.peak, rel=0.01)
    assert one.surface is not None and other.surface is not None
    assert one.surface.rates == other.surface.rates
    assert other.surface.shard_error is not None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("traffic: {requests_per_s: 1}\nslo: {latency_p95_s: 1}\noptions: {a: {model: m}}\nrouting: fastest\n", 4, "routing"),
        (
            "traffic: {requests_per_s: 1}\nslo: {perplexity_ratio: 1.1}\noptions: {a: {model: m}}\n",
            2,
            "no limit on latency or ttft",
        ),
        ("traffic:\n  requests_per_s: 1\n  profile: [1, 2]\nslo: {latency_p95_s: 1}\noptions: {a: {model: m}}\n", 3, "profile"),
        (
            "traffic: {requests_per_s: 1}\nslo: {latency_p95_s: 1}\noptions:\n  a: {model: m, prize_per_hour: 3}\n",
            4,
            "price_per_hour",
        ),
        ("traffic: {requests_per_s: 1}\nslo: {latency_p95_s: 1}\noptions: {}\n", 3, "options"),
    ],
)
def test_faults_of_a_plan_file_have_their_line(text: str, line: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert any(f"plan.yaml:{line}" in str(problem) and said in str(problem) for problem in caught.value.problems), str(
        caught.value
    )
