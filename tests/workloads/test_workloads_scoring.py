"""scoring in virtual time, where every number is known, and models that cannot be generated with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lmbench.base.errors import WorkloadError
from lmbench.measure.clock import ManualClock
from lmbench.workloads import latency, mlperf, scoring, stress, throughput
from lmbench.workloads.context import Context
from tests.workloads.virtual import VirtualBuilder, make

BUDGET = {"min_rounds": 30, "max_rounds": 30, "max_time_s": 1000.0, "min_warmup_rounds": 6, "max_warmup_s": 100.0}
PARAMS = {"batch": 2, "tokens": 16, "budget": BUDGET}


def masked(builder: VirtualBuilder, mask_id: int | None) -> None:
    """Make the fake model one that predicts hidden tokens."""
    model: Any = builder.model
    builder.model = replace(model, facts=replace(model.facts, objective="masked", mask_id=mask_id))


def test_one_pass_is_exact() -> None:
    context, builder, _ = make("scoring", PARAMS)
    found = scoring.run(context)
    assert found.primary == "latency"
    assert found.series == {"latency": (0.25,) * 30}
    expected = {"latency_mean_s": 0.25, "latency_p50_s": 0.25, "first_call_s": 0.25, "scored_tokens_per_s": 2 * 16 / 0.25}
    assert {name: found.metrics[name].value for name in expected} == expected
    # 2 FLOPs x 4096 parameters x 2 x 16 tokens in 0.25 s.
    assert found.metrics["mfu"].value == pytest.approx(2 * 4096 * 32 / 0.25 / 1e9)
    assert found.metrics["peak_rss_bytes"].value
    assert found.details["tokens_per_pass"] == 32
    assert found.notes == ()
    assert builder.checks == [True]
    assert builder.engine is not None
    assert builder.engine.closed
    assert {ids.shape for ids in builder.engine.calls} == {(2, 16)}
    rows = [row.tobytes() for ids in builder.engine.calls for row in ids]
    assert len(set(rows)) == len(rows), "every pass scores other text"


def test_logits_are_wanted_at_every_position() -> None:
    context, builder, _ = make("scoring", {"batch": 1, "tokens": 5}, once=True)
    wanted: list[list[int]] = []
    build = builder.subject

    def watched(*, check: bool = True) -> Any:
        subject = build(check=check)
        forward = subject.engine.forward

        def noting(ids: Any, positions: Any, state: Any) -> Any:
            wanted.append(positions.tolist())
            return forward(ids, positions, state)

        subject.engine.forward = noting  # type: ignore[method-assign]
        return subject

    builder.subject = watched  # type: ignore[method-assign]
    assert len(scoring.run(context).series["latency"]) == 1
    assert wanted == [[0, 1, 2, 3, 4]]


def test_rounds_for_the_gate_score_the_same_text_at_the_same_index() -> None:
    context, builder, _ = make("scoring", PARAMS)
    rounds = scoring.source(context)
    assert [rounds.call(index) for index in (3, 4, 3)] == [{"latency": 0.25}] * 3
    assert builder.checks == [False]
    assert builder.engine is not None
    third, fourth, again = builder.engine.calls
    assert (third == again).all()
    assert (third != fourth).any()
    assert rounds.values({"latency": 0.5}) == {"latency_p50_s": 0.5, "scored_tokens_per_s": 64.0}
    rounds.close()
    assert builder.engine.closed


def test_more_tokens_than_the_model_holds_are_refused() -> None:
    context, builder, _ = make("scoring", {"tokens": 64}, model={"max_tokens": 32})
    with pytest.raises(WorkloadError, match="found tokens: 64; expected at most 32"):
        scoring.run(context)
    assert builder.engine is not None
    assert builder.engine.closed


@pytest.mark.parametrize(("mask_id", "notes"), [(64, 1), (None, 0)])
def test_a_model_that_needs_several_passes_says_so(mask_id: int | None, notes: int) -> None:
    context, builder, _ = make("scoring", PARAMS)
    masked(builder, mask_id)
    found = scoring.run(context)
    assert len(found.notes) == notes
    assert all("masked_perplexity takes 8 passes" in note for note in found.notes)


@pytest.mark.parametrize(
    ("workload", "run"),
    [("latency", latency.run), ("throughput", throughput.run), ("stress", stress.run), ("mlperf", mlperf.run)],
)
def test_nothing_is_generated_with_a_model_that_predicts_hidden_tokens(workload: str, run: Callable[[Context], Any]) -> None:
    """Suites refuse the families known for it; a user's own model shows what it is when it is built."""
    if workload == "mlperf":
        pytest.importorskip("mlperf_loadgen", reason="run: pip install 'pytest-lmbench[mlperf]'")
    context, builder, _ = make(workload, {})
    masked(builder, 64)
    with pytest.raises(WorkloadError, match="predicts hidden tokens; expected one that predicts the next"):
        run(context)
    assert isinstance(context.clock, ManualClock)
    assert builder.engine is None or builder.engine.closed
