"""A traffic of several models: shares, faults, a plan for each, and their sums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import ConfigError
from lmbench.capacity.demand import demand
from lmbench.capacity.measured import replica
from lmbench.capacity.mix import cheapest, parts, totals
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan import Plan, plan
from lmbench.capacity.plan_file import PlanRequest, load
from tests.capacity.records import of_model, sources

MIX: dict[str, Any] = {
    "traffic": {"requests_per_s": 400.0, "growth": 1.5, "models": {"gpt": 3, "lstm": 1}},
    "slo": {"latency_p95_s": 0.1},
    "routing": "random",
    "options": {
        "fp32": {"price_per_hour": 1.0, "idle_w": 50, "busy_w": 150},
        "int8": {"compression": "int8", "price_per_hour": 0.9},
    },
}


def planned(**lstm: Any) -> dict[str, Plan]:
    """gpt takes 10 ms as fp32 and 5 ms as int8, lstm 2 ms and was not measured as int8."""
    known = [
        *sources(),
        *sources("int8", mean_s=0.005, start=40.0),
        *of_model(sources(mean_s=0.002, start=100.0, **lstm), "lstm"),
    ]
    found = {}
    for part in parts(PlanRequest.model_validate(MIX)):
        replicas: dict[str, Replica | str] = {}
        for name, option in part.request.options.items():
            measured = part.model == "gpt" or name == "fp32"
            replicas[name] = replica(name, option, known) if measured else "found no stored stress record"
        found[part.model] = plan(part.request, demand(part.request.traffic), replicas)
    return found


def test_each_model_gets_its_share_and_every_option() -> None:
    gpt, lstm = parts(PlanRequest.model_validate(MIX))
    assert [(one.model, one.share) for one in (gpt, lstm)] == [("gpt", 0.75), ("lstm", 0.25)]
    assert (gpt.request.traffic.requests_per_s, lstm.request.traffic.requests_per_s) == (300.0, 100.0)
    assert {option.model for option in lstm.request.options.values()} == {"lstm"}
    assert gpt.request.slo == lstm.request.slo
    PlanRequest.model_validate(gpt.request.model_dump()), "each part is a plan file of its own"
    alone = PlanRequest.model_validate({**MIX, "traffic": {"requests_per_s": 1}, "options": {"a": {"model": "gpt"}}})
    assert [(one.model, one.share, one.request) for one in parts(alone)] == [("", 1.0, alone)]


@pytest.mark.parametrize(
    ("models", "option", "said"),
    [
        ("{gpt: 1}", "{model: gpt}", "found a model in options.a and in traffic.models; expected it in traffic.models alone"),
        ("{}", "{backend: torch}", "found no model in options.a; expected one in each option, or traffic.models: {name: weight}"),
    ],
)
def test_the_model_is_named_in_one_place(models: str, option: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.plan.yaml"
    path.write_text(
        f"traffic: {{requests_per_s: 1, models: {models}}}\nslo: {{latency_p95_s: 1}}\noptions:\n  a: {option}\n  b: {option}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(path)
    text = str(caught.value)
    assert "a.plan.yaml:3" in text and said.replace("options.a", "options.a, options.b") in text


def test_the_sums_are_those_of_the_models_and_the_cheapest_is_the_best_of_each() -> None:
    plans = planned()
    fp32, int8 = totals(plans)
    chosen = {model: next(one for one in plan.options if one.name == "fp32") for model, plan in plans.items()}
    assert all(one.fleet is not None for one in chosen.values())
    assert fp32.replicas is not None and fp32.cost_per_hour is not None and fp32.power_w is not None
    assert fp32.replicas == sum(one.fleet.peak for one in chosen.values() if one.fleet)
    assert fp32.cost_per_hour == pytest.approx(fp32.replicas)
    assert fp32.power_w == pytest.approx(sum(one.power_w or 0 for one in chosen.values()))
    assert 50 * fp32.replicas < fp32.power_w < 150 * fp32.replicas
    assert (fp32.keeps, fp32.options) == (True, {"gpt": "fp32", "lstm": "fp32"})
    assert (int8.replicas, int8.cost_per_hour, int8.keeps, int8.broken) == (None, None, False, ("lstm",))
    best = cheapest(plans)
    assert best.options == {"gpt": "int8", "lstm": "fp32"}
    assert best.keeps and best.cost_per_hour is not None
    assert best.cost_per_hour < fp32.cost_per_hour
    assert best.power_w is None, "of int8 no power is known"


def test_one_model_without_an_option_breaks_the_whole() -> None:
    plans = planned()
    nothing = replace(plans["lstm"], options=tuple(replace(one, fleet=None, day=None) for one in plans["lstm"].options))
    best = cheapest(plans | {"lstm": nothing})
    assert (best.keeps, best.broken, best.options) == (False, ("lstm",), {"gpt": "int8"})
    assert (best.replicas, best.cost_per_hour) == (None, None)
