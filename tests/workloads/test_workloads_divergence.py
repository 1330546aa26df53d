"""A training that goes astray is an error of its own, in every place that trains, and no NaN costs a record."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import Diverged
from lmbench.base.losses import FACTOR, KEPT, LAST, Losses
from lmbench.measure.measurement import metric
from lmbench.plan.case import Case, Choice
from lmbench.record.codec import dumps, from_json
from lmbench.record.finite import finite
from lmbench.record.record import ERROR, OK, Record
from lmbench.run import worker
from lmbench.run.execute import Setting, execute
from lmbench.run.isolate import run_isolated
from lmbench.suite.schemas import WORKLOAD_PARAMS

BUDGET = {"min_rounds": 12, "max_rounds": 12, "min_warmup_rounds": 1, "max_warmup_s": 0.01}
SETTING = Setting(environment="e", machine_class="m")
NOT_FINITE = (math.nan, math.inf, -math.inf)


def case(workload: str = "training_step", **params: Any) -> Case:
    shared = {"batch": 2, "tokens": 16, "budget": BUDGET}
    return Case(
        suite="s",
        name="training",
        workload=workload,
        params=WORKLOAD_PARAMS[workload](**{**shared, **params}).model_dump(),
        model=Choice(name="decoder", kind="decoder", options={"size": "nano"}),
        backend=Choice(name="torch", kind="torch", options={}),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    patch = pytest.MonkeyPatch()
    patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.mark.parametrize(("rate", "words"), [(3.0, "nats on a batch kept apart after 10 steps"), (900.0, "at step ")])
def test_a_learning_rate_that_is_far_too_high_is_an_error_with_its_losses(rate: float, words: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    asked = case(learning_rate=rate)
    record = run_isolated(asked, SETTING, print, tmp_path) if rate == 900.0 else execute(asked, SETTING, print)
    assert record.status == ERROR and record.failure is not None
    assert record.failure.kind == "Diverged" and words in record.failure.message
    assert "lower the learning_rate" in record.failure.message and not record.metrics
    losses = record.details["losses"]
    assert 5 < losses["first"] < 6 and losses["bound"] == pytest.approx(FACTOR * math.log(256), rel=0.01)
    assert (losses["not_finite_at_step"] is None) == (rate == 3.0)
    assert rate == 900.0 or losses["last"] > losses["bound"]


def test_two_processes_that_diverge_together_are_the_same_error() -> None:
    pytest.importorskip("torch")
    record = execute(case("data_parallel", learning_rate=3.0), SETTING, lambda _: None)
    assert record.failure is not None and record.failure.kind == "Diverged"
    assert record.details["losses"]["first"] < record.details["losses"]["bound"]


def test_a_run_that_comes_back_keeps_the_loss_of_every_step() -> None:
    """The rate is too high for comfort: the loss rises above the first one, and comes back."""
    pytest.importorskip("torch")
    record = execute(case(learning_rate=0.1), SETTING, lambda _: None)
    assert record.failure is None
    losses = record.details["losses"]
    timed = record.details["phases"]["rounds"] + len(record.details["phases"]["warmup_s"]) + 1
    assert losses["steps"] == len(losses["values"]) == record.details["fixed_steps"] + timed
    assert losses["values"][0] == losses["first"] and losses["values"][-1] == losses["last"]
    assert json.loads(dumps(record))["details"]["losses"] == losses


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60))
def test_losses_below_a_guess_are_never_divergence(values: list[float]) -> None:
    losses = Losses(256)
    for value in values:
        losses.add(value)
    losses.judge()
    losses.check(values[-1], "at the end")


@given(st.lists(st.floats(0.0, 100.0), max_size=60), st.floats(9.0, 1e6))
def test_only_the_end_counts_and_the_bound_is_of_the_first_loss_or_a_guess(before: list[float], end: float) -> None:
    losses = Losses(256)
    for value in (5.0, *before, *[end] * LAST):
        losses.add(value)
    with pytest.raises(Diverged, match="median of the last 10 steps"):
        losses.judge()
    high = Losses(256)
    for value in (end, *before, *[end] * LAST):
        high.add(value)
    high.judge()


@pytest.mark.parametrize("odd", NOT_FINITE)
def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(odd: float) -> None:
    losses = Losses(256, steps=9)
    losses.add(5.5, 1.0)
    for step in ((odd, 1.0), (4.0, odd)):
        with pytest.raises(Diverged, match=r"at step \d of 9") as error:
            losses.add(*step)
        told: Any = error.value.details["losses"]
        json.dumps(told, allow_nan=False)
        assert told["not_finite_at_step"] == told["steps"]
    with pytest.raises(Diverged):
        Losses(256).check(odd, "before training")


def test_a_long_training_keeps_a_bounded_number_of_losses() -> None:
    losses = Losses(256)
    for step in range(10 * KEPT + 1):
        losses.add(5.0 - step / 1e5)
    told: Any = losses.to_json()
    assert told["steps"] == 10 * KEPT + 1 and KEPT / 2 < len(told["values"]) <= KEPT
    assert told["every"] * len(told["values"]) >= told["steps"]


def record_with(**parts: Any) -> Record:
    shared: dict[str, Any] = {"started_at": "2026-01-01T00:00:00+00:00", "wall_s": 1.0, "environment": "e", "machine_class": "m"}
    return Record(case=case(), status=OK, **shared, **parts)


@pytest.mark.parametrize("odd", NOT_FINITE)
def test_a_number_that_is_not_finite_costs_no_record(odd: float) -> None:
    whole = record_with(metrics={"loss_after": metric("loss_after", 1.0)}, series={"step": (1.0, 2.0)})
    assert finite(whole) is whole
    record = finite(
        replace(
            whole,
            metrics={"loss_after": metric("loss_after", odd), "loss_before": metric("loss_before", 2.0)},
            series={"step": (1.0, odd, 2.0)},
            details={"deep": [{"x": odd}, (1.0, odd)], "n": 1},
            resources={"share": odd},
        )
    )
    back = from_json(json.loads(dumps(record)))
    assert back.metrics["loss_after"].value is None and "no finite number" in back.metrics["loss_after"].reason
    assert back.metrics["loss_before"].value == 2.0
    assert back.series["step"] == (1.0, 2.0)
    assert back.details == {"deep": [{"x": None}, [1.0, None]], "n": 1} and back.resources == {"share": None}
    (note,) = back.notes
    assert "metric loss_after, series step, details.deep[0].x, details.deep[1][1], resources.share" in note


def test_a_record_that_cannot_be_stored_is_a_failure_and_no_silence() -> None:
    answer = worker._plain(record_with(details={"made": object()}))
    record = from_json(json.loads(json.dumps(answer)))
    assert record.status == ERROR and record.failure is not None
    assert "record.details.made is a builtins.object" in record.failure.message
