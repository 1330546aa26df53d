"""The calculator of a plan's page against the Python it repeats, on its functions and through its form."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.capacity import plan as planning
from lmbench.capacity.demand import Demand, demand
from lmbench.capacity.nouns import ERROR_RATE
from lmbench.capacity.plan import Sized
from lmbench.capacity.plan_file import PlanRequest, PlanSlo, Redundancy, Traffic
from lmbench.capacity.sizing import ceiling, quantile_at, with_redundancy
from lmbench.report.capacity import CapacityReport
from lmbench.site.plan import OWN, calculator, given

CLOSE = 1e-6
INPUTS = 50


def page(site: Path) -> Path:
    return next(iter((site / "plans").iterdir()))


def inputs(report: CapacityReport, seed: int) -> dict[str, Any]:
    """Anything a person may type: from trivial to impossible, two limits or one, with and without redundancy."""
    rng = np.random.default_rng((seed, 5))
    names = rng.permutation(["latency p50", "latency p90", "latency p95", "latency p99", "ttft p50", "ttft p95", "ttft p99"])
    steady = ["tpot p50", "tpot p95", "tpot p99", "error_rate"]
    return {
        "requests_per_s": float(10 ** rng.uniform(-1, 5)),
        "growth": float(rng.uniform(0.5, 3)),
        "burst": float(rng.uniform(1, 2)),
        "shape": str(rng.choice([OWN, "flat", "evening"])),
        "limits": {str(name): float(10 ** rng.uniform(-2.1, -0.3)) for name in names[: rng.integers(1, 3)]},
        "steady": {name: float(10 ** rng.uniform(-3, -1)) for name in steady if rng.integers(4) == 0},
        "perplexity_ratio": [None, 1.0, 1.01][int(rng.integers(3))],
        "spare": int(rng.integers(0, 4)),
        "zones": int(rng.integers(1, 6)),
        "follow": bool(rng.integers(2)),
        "prices": {one.name: [None, float(rng.uniform(0, 9))][int(rng.integers(2))] for one in report.plan.options},
    }


def expected(one: Sized, request: PlanRequest, asked: dict[str, Any]) -> dict[str, Any]:
    """The same by the plan's own functions; what simulates anew (scenarios, tornado) is left out."""
    assert one.surface is not None
    assert one.replica is not None
    profile = request.traffic.profile if asked["shape"] == OWN else asked["shape"]
    promised = asked["limits"] | asked["steady"]
    named = {name if name == ERROR_RATE else f"{name.replace(' ', '_')}_s": limit for name, limit in promised.items()}
    changed = request.model_copy(
        update={
            "traffic": Traffic(profile=profile, **{key: asked[key] for key in ("requests_per_s", "growth", "burst")}),
            "slo": PlanSlo(perplexity_ratio=asked["perplexity_ratio"], **named),
            "redundancy": Redundancy(spare=asked["spare"], zones=asked["zones"]),
            "autoscale": request.autoscale if asked["follow"] else None,
        }
    )
    top = ceiling(one.surface, one.replica, changed.slo.limits, extrapolate=request.extrapolate)
    if top.rate is None:
        return {"binds": top.binds}
    base = replace(
        one,
        top=top,
        option=one.option.model_copy(update={"price_per_hour": asked["prices"][one.name]}),
        quality_met=planning.quality_met(changed, one.replica),
        checks=planning.checks(changed, one.replica),
        quality_asked=asked["perplexity_ratio"] is not None,
    )
    wanted = demand(changed.traffic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "outlooks", lambda *_: ())
        patch.setattr(planning, "tornado", lambda *_: ())
        return _told(planning.with_fleet(base, changed, wanted, (), top.rate), wanted)


def _told(sized: Sized, wanted: Demand) -> dict[str, Any]:
    """What the page tells of an option, from the plan's noun."""
    fleet, found, top, surface = sized.fleet, sized.day, sized.top, sized.surface
    assert fleet is not None
    assert found is not None
    assert found.attainment_interval is not None
    assert top is not None
    assert surface is not None
    busiest = max(rate * wanted.burst / ready for rate, ready in zip(wanted.per_minute, fleet.ready, strict=True))
    pairs = {name: (name.split()[0], name.split()[1]) for name in sized.peak_latency_s}
    latencies = {
        name: [quantile_at(surface, kind, quantile, busiest, side) for side in ("low", "mid", "high")]
        for name, (kind, quantile) in pairs.items()
    }
    assert {name: ends[1] for name, ends in latencies.items()} == sized.peak_latency_s
    return {
        "binds": top.binds,
        "rate": top.rate,
        "extrapolates": bool(sized.extrapolates),
        "peak": wanted.peak,
        "needed": sized.needed,
        "range": list(sized.needed_range or ()),
        "replicas": fleet.peak,
        "least": fleet.least,
        "hours": fleet.hours,
        "cost_per_hour": sized.cost_per_hour,
        "cost_per_million_tokens": sized.cost_per_million_tokens,
        "joules_per_million_tokens": sized.joules_per_million_tokens,
        "attainment": [found.attainment_interval[0], found.attainment, found.attainment_interval[1]],
        "utilization_peak": found.utilization_peak,
        "utilization_mean": found.utilization_mean,
        "latency_s": latencies,
        "quality_met": sized.quality_met,
        "steady": {one.name: one.found and [one.found.low, one.found.value, one.found.high] for one in sized.checks},
        "broken": [one.name for one in sized.checks if not one.holds],
        "meets": sized.meets,
    }


def flat(found: dict[str, Any]) -> dict[str, Any]:
    """The page's answer in the shape of `expected`."""
    if found["refused"]:
        return {"binds": found["top"]["binds"]}
    table = {"binds": found["top"]["binds"], "rate": found["top"]["rate"], "range": found["needed_range"]}
    left_out = ("top", "refused", "needed_range", "below_shard")
    return table | {name: value for name, value in found.items() if name not in left_out}


def assert_close(found: Any, wanted: Any, where: str) -> None:
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), where
        for name, value in wanted.items():
            assert_close(found[name], value, f"{where} {name}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), where
        for place, value in enumerate(wanted):
            assert_close(found[place], value, f"{where} {place}")
    elif isinstance(wanted, float) and math.isfinite(wanted):
        assert found == pytest.approx(wanted, rel=CLOSE, abs=1e-12), where
    else:
        assert found == wanted, where


def test_it_equals_python_on_random_inputs(site: Path, capacity: CapacityReport, tab: Any) -> None:
    tab.goto(page(site).as_uri())
    refused = priced = followed = extrapolated = kept = broken = 0
    for seed in range(INPUTS):
        asked = inputs(capacity, seed)
        answers = tab.evaluate(
            "(input) => lmbench.plan.options.map((option) => lmbench.calculate(lmbench.plan, option, input))", asked
        )
        sized = [one for one in capacity.plan.options if one.surface is not None]
        assert len(answers) == len(sized) == 3
        for one, found in zip(sized, answers, strict=True):
            wanted = expected(one, capacity.plan.request, asked)
            assert_close(flat(found), wanted, f"{one.name}, input {seed}:")
            refused += "rate" not in wanted
            priced += wanted.get("cost_per_hour") is not None
            followed += asked["follow"] and wanted.get("least") != wanted.get("replicas")
            extrapolated += bool(wanted.get("extrapolates"))
            kept += bool(wanted.get("steady")) and not wanted.get("broken")
            broken += bool(wanted.get("broken"))
    assert min(refused, priced, followed, extrapolated, kept, broken) > 2, "inputs of every kind must have been tried"


def test_with_the_plans_own_numbers_it_gives_the_plans_own_answer(site: Path, capacity: CapacityReport, tab: Any) -> None:
    tab.goto(page(site).as_uri())
    best = capacity.kept[0]
    assert best.fleet is not None
    assert best.cost_per_hour is not None
    said = tab.locator("#answer").inner_text()
    assert f"{best.fleet.peak} x {best.name}" in said
    names = tab.locator("table[data-name='Options as calculated'] tbody th").all_inner_texts()
    assert names == [one.name for one in capacity.plan.options]
    assert names[-1] == "unreliable", "the cheapest by far, and not to be relied on"
    cost = tab.evaluate("Number(document.querySelector('#results tbody tr').cells[5].dataset.v)")
    assert cost == pytest.approx(best.cost_per_hour, rel=CLOSE)


def test_the_form_answers_at_once_and_can_be_taken_back(site: Path, tab: Any) -> None:
    tab.goto(page(site).as_uri())
    planned = tab.locator("#answer").inner_text()
    tab.locator("[name='requests_per_s']").fill("4000")
    more = tab.locator("#answer").inner_text()
    assert more != planned
    tab.locator("[name='limit latency p95']").fill("0.000001")
    assert tab.locator("#answer").inner_text() == "No option keeps every promise."
    assert "even an idle replica is slower" in tab.locator("#results").inner_text()
    tab.get_by_role("button", name="As planned").click()
    tab.wait_for_timeout(50)
    assert tab.locator("#answer").inner_text() == planned


@pytest.mark.parametrize(
    ("name", "value"),
    [("requests_per_s", "-1"), ("requests_per_s", ""), ("requests_per_s", "0"), ("zones", "1.5"), ("burst", "0.5")],
)
def test_what_is_no_number_for_a_field_is_told_and_nothing_is_calculated(site: Path, tab: Any, name: str, value: str) -> None:
    tab.goto(page(site).as_uri())
    tab.locator(f"[name='{name}']").fill(value)
    answer = tab.locator("#answer")
    assert tab.locator(f"label[for='{name}']").inner_text() in answer.inner_text()
    assert "none" in answer.get_attribute("class")
    assert tab.locator("#results").inner_text() == ""


def test_a_promise_that_no_replica_more_can_keep_is_checked_by_its_unfavourable_end(site: Path, tab: Any) -> None:
    tab.goto(page(site).as_uri())
    high = tab.evaluate("Math.max(...lmbench.plan.options.map((option) => option.steady['tpot p95'][2]))")
    results = tab.locator("#results")
    tab.locator("[name='steady tpot p95']").fill(str(high * 1.001))
    assert "tpot p95 too high" not in results.inner_text()
    tab.locator("[name='steady tpot p95']").fill("0.0001")
    assert "no: tpot p95 too high" in results.inner_text()
    assert tab.locator("#answer").inner_text() == "No option keeps every promise."
    tab.evaluate("lmbench.plan.options.forEach((option) => { delete option.steady['tpot p95']; })")
    tab.locator("[name='steady tpot p95']").fill("9")
    assert "no: tpot p95 not known" in results.inner_text()


def test_redundancy_is_the_closed_form_of_the_search(site: Path, capacity: CapacityReport, tab: Any) -> None:
    """For every zone count; through a fleet, whose number is made of it."""
    tab.goto(page(site).as_uri())
    request = capacity.plan.request
    asked = given(request) | {"follow": False, "prices": {}}
    for zones in range(1, 9):
        for spare in range(4):
            found = tab.evaluate(
                "(input) => lmbench.calculate(lmbench.plan, lmbench.plan.options[0], input)",
                asked | {"zones": zones, "spare": spare},
            )
            assert found["replicas"] == with_redundancy(found["needed"], Redundancy(spare=spare, zones=zones))


def test_what_the_page_carries_is_what_python_knows(capacity: CapacityReport) -> None:
    data = calculator(capacity)
    for one, option in zip(capacity.plan.options, data["options"], strict=True):
        assert one.surface is not None
        assert one.replica is not None
        assert option["surface"]["rates"] == list(one.surface.rates)
        assert option["surface"]["latency"]["high"]["p95"] == list(one.surface.latency_high_s["p95"])
        assert option["service_mean_s"] == pytest.approx(one.replica.mean_service_s, rel=1e-12)
    assert data["shapes"].keys() == {OWN, "flat", "evening"}
    assert all(np.mean(shape) == pytest.approx(1) for shape in data["shapes"].values())
