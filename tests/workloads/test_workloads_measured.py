"""training_step, latency, throughput and memory in virtual time, where every number is known."""

from __future__ import annotations

from typing import Any

import pytest

from lmbench.base.errors import SubjectError, WorkloadError
from lmbench.measure.measurement import Measurement
from lmbench.workloads import latency, memory, throughput, training_step
from lmbench.workloads.generation import REPEATS_FORWARD
from tests.workloads.virtual import make, phases

BUDGET = {"min_rounds": 30, "max_rounds": 30, "max_time_s": 1000.0, "min_warmup_rounds": 6, "max_warmup_s": 100.0}


def value(found: Measurement, name: str) -> float:
    number = found.metrics[name].value
    assert number is not None, found.metrics[name].reason
    return number


def test_latency_is_exact() -> None:
    params = {"prompt_tokens": 10, "output_tokens": 5, "batch": 2, "budget": BUDGET}
    context, builder, _ = make("latency", params)
    found = latency.run(context)
    assert found.primary == "latency"
    assert set(found.series) == {"latency", "ttft", "tpot", "itl", "prefill", "decode"}
    assert found.series["latency"] == (0.75,) * 30
    assert found.series["itl"] == (0.125,) * 120
    assert value(found, "ttft_p90_s") == value(found, "prefill_mean_s") == 0.25
    assert value(found, "tpot_mean_s") == value(found, "itl_p95_s") == value(found, "decode_p50_s") == 0.125
    assert value(found, "first_call_s") == 0.75
    assert value(found, "output_tokens_per_s") == pytest.approx(2 * 5 / 0.75)
    assert found.metrics["latency_p99_s"].value is None
    # 2 FLOPs x 4096 parameters x 2 x 10 tokens in 0.25 s; weights and a state of 12 tokens x 2 x 4 bytes in 0.125 s.
    assert value(found, "mfu") == pytest.approx(2 * 4096 * 20 / 0.25 / 1e9)
    assert value(found, "mbu") == pytest.approx((4 * 4096 + 2 * 12 * 4) / 0.125 / 1e9)
    assert found.details["phases"]["steady"]["reached"] is True
    assert found.notes == ()
    assert builder.engine is not None
    assert builder.engine.closed
    prompts = {ids.tobytes() for ids in builder.engine.calls if ids.shape[1] == 10}
    assert len(prompts) == 1 + found.details["phases"]["steady"]["warmup_rounds"] + 30


def test_latency_of_one_token_has_no_time_per_token() -> None:
    context, _, _ = make("latency", {"output_tokens": 1, "budget": BUDGET})
    found = latency.run(context)
    assert set(found.series) == {"latency", "ttft", "prefill"}
    for name in ("tpot_mean_s", "itl_p50_s", "decode_mean_s", "mbu"):
        assert found.metrics[name].value is None
        assert found.metrics[name].reason


def test_latency_says_when_every_token_repeats_the_forward_pass() -> None:
    context, _, _ = make("latency", {"output_tokens": 3, "budget": BUDGET}, model={"carries_state": False})
    found = latency.run(context)
    assert REPEATS_FORWARD in found.notes
    assert value(found, "decode_mean_s") == 0.25


def slowing(batch: int, tokens: int, call: int) -> float:
    """Every call takes 2 % longer than the one before."""
    del batch, tokens
    return 0.1 * 1.02**call


def test_latency_tells_when_the_rounds_never_settle() -> None:
    context, _, _ = make("latency", {"output_tokens": 2, "budget": BUDGET}, cost=slowing)
    found = latency.run(context)
    assert any("steady" in note for note in found.notes)


def test_once_is_one_request() -> None:
    context, builder, _ = make("latency", {"output_tokens": 3}, once=True)
    found = latency.run(context)
    assert len(found.series["latency"]) == 1
    assert builder.engine is not None
    assert len(builder.engine.calls) == 3


def test_temperature_is_seeded() -> None:
    texts = []
    for _ in range(2):
        context, builder, _ = make("latency", {"output_tokens": 4, "temperature": 1.0}, once=True)
        found = latency.run(context)
        assert builder.engine is not None
        texts.append([ids.tolist() for ids in builder.engine.calls])
        assert "temperature 1, seed 5" in found.details["sampling"]
    assert texts[0] == texts[1]


def test_the_subject_is_closed_when_the_workload_fails() -> None:
    context, builder, _ = make("latency", {"prompt_tokens": 5000})
    with pytest.raises(WorkloadError, match="at most 4096 together"):
        latency.run(context)
    assert builder.engine is not None
    assert builder.engine.closed


def test_training_step_is_exact_whatever_is_timed_after_the_fixed_steps() -> None:
    after = set()
    for rounds in (10, 40):
        budget = {**BUDGET, "min_rounds": rounds, "max_rounds": rounds}
        params = {"batch": 4, "tokens": 16, "accumulate": 2, "precision": "bf16-autocast", "budget": budget}
        context, builder, said = make("training_step", params)
        found = training_step.run(context)
        assert found.primary == "step"
        assert found.series["step"] == (0.5,) * rounds
        after.add((value(found, "loss_before"), value(found, "loss_after"), value(found, "gradient_norm")))
        assert builder.trained is not None
        assert builder.trained.shapes == {(8, 16)}
        assert builder.trained.closed
        assert builder.trainings == [(3e-4, "bf16-autocast")]
        assert value(found, "first_call_s") == 2.0
        assert value(found, "samples_per_s") == 16.0
        assert value(found, "trained_tokens_per_s") == 256.0
        assert value(found, "gradient_bytes") == 400
        assert value(found, "optimizer_bytes") == 800
        assert "no device allocator" in found.metrics["device_peak_bytes"].reason
        assert any("loss 4.000" in line for line in said)
        assert found.metrics["mfu"].value is None
        assert "bf16" in found.metrics["mfu"].reason
    assert list(after) == [(4.0, 4.0 * 0.9**10, 0.1)]


def test_training_mfu_counts_the_backward_pass_twice() -> None:
    context, _, _ = make("training_step", {"batch": 2, "tokens": 8, "budget": BUDGET})
    assert value(training_step.run(context), "mfu") == pytest.approx(3 * 2 * 4096 * 16 / 0.5 / 1e9)


def saturating(batch: int, tokens: int, call: int) -> float:
    """Free parallelism up to a batch of 4, none beyond."""
    return phases(batch, tokens, call) * max(1.0, batch / 4)


def test_throughput_stops_where_doubling_gains_nothing() -> None:
    params = {"prompt_tokens": 8, "output_tokens": 3, "max_batch": 64, "budget": BUDGET}
    context, builder, said = make("throughput", params, cost=saturating)
    found = throughput.run(context)
    assert [(row["batch"], row["tries"]) for row in found.details["sweep"]] == [(1, 1), (2, 1), (4, 2), (8, 2), (16, 1)]
    assert found.details["stopped"].startswith("batch 8 gained +0.0% and batch 16 gained +0.0%, less than min_gain")
    assert value(found, "best_batch") == 4
    assert value(found, "output_tokens_per_s") == pytest.approx(4 * 3 / 0.5)
    assert value(found, "total_tokens_per_s") == pytest.approx(4 * 11 / 0.5)
    assert found.primary == "round"
    assert found.series["round"] == (0.5,) * 60, "both tries"
    assert found.details["best_batches"] == [4, 8, 16]
    assert any("best batch 4: batch 8, 16 cannot be told from it" in note for note in found.notes)
    assert [value(found, f"output_tokens_per_s_batch_{size}") for size in (1, 2, 4, 8, 16)] == [6.0, 12.0, 24.0, 24.0, 24.0]
    assert value(found, "mfu") == pytest.approx(2 * 4096 * 4 * 10 / 0.5 / 1e9)
    assert value(found, "mbu") == pytest.approx((4 * 4096 + 4 * 9 * 4) / 0.125 / 1e9)
    assert sum("batch" in line for line in said) == 7
    assert builder.engine is not None
    assert builder.engine.closed


def test_a_doubling_that_was_slow_by_chance_does_not_end_the_sweep() -> None:
    """Work beside the first try of batch 4 makes it three times as slow; its second try, and all larger ones, are not."""
    visits: list[int] = []

    def cost(batch: int, tokens: int, call: int) -> float:
        if not visits or visits[-1] != batch:
            visits.append(batch)
        return phases(batch, tokens, call) * (3.0 if batch == 4 and visits.count(4) == 1 else 1.0)

    context, _, _ = make("throughput", {"prompt_tokens": 8, "output_tokens": 3, "max_batch": 16, "budget": BUDGET}, cost=cost)
    found = throughput.run(context)
    assert visits == [1, 2, 4, 2, 4, 8, 16], "the doubling that gained little was measured again, both of its sizes"
    assert found.details["stopped"] == "max_batch (16) was reached"
    assert value(found, "best_batch") == 16 and found.details["best_batches"] == [16]


def test_one_flat_doubling_before_a_gain_does_not_end_the_sweep() -> None:
    """Batch 4 costs twice batch 2 (a step of the engine), and batch 8 no more than batch 4."""

    def cost(batch: int, tokens: int, call: int) -> float:
        return phases(batch, tokens, call) * (2.0 if batch >= 4 else 1.0)

    context, _, _ = make("throughput", {"prompt_tokens": 8, "output_tokens": 3, "max_batch": 8, "budget": BUDGET}, cost=cost)
    found = throughput.run(context)
    assert [row["batch"] for row in found.details["sweep"]] == [1, 2, 4, 8]
    assert value(found, "best_batch") == 8


def test_throughput_reaches_a_largest_batch_that_is_no_power_of_two() -> None:
    assert list(throughput.sizes(6)) == [1, 2, 4, 6]
    assert list(throughput.sizes(8)) == [1, 2, 4, 8]
    assert list(throughput.sizes(1)) == [1]
    context, _, _ = make("throughput", {"max_batch": 6, "output_tokens": 2, "budget": BUDGET})
    found = throughput.run(context)
    assert [row["batch"] for row in found.details["sweep"]] == [1, 2, 4, 6]
    assert "max_batch (6)" in found.details["stopped"]


def test_throughput_stops_before_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "room_bytes", lambda: 2 * 4 * 34 * 3)
    monkeypatch.setattr(throughput, "rss_bytes", lambda: None)
    context, _, _ = make("throughput", {"output_tokens": 2, "budget": BUDGET})
    found = throughput.run(context)
    assert [row["batch"] for row in found.details["sweep"]] == [1, 2]
    assert "memory is short: batch 4" in found.details["stopped"]


@pytest.mark.parametrize("error", [MemoryError("no room"), SubjectError("engine is out of memory")])
def test_throughput_keeps_what_it_has_when_a_batch_fails(error: Exception) -> None:
    def cost(batch: int, tokens: int, call: int) -> float:
        if batch > 2:
            raise error
        return phases(batch, tokens, call)

    context, _, _ = make("throughput", {"output_tokens": 2, "budget": BUDGET}, cost=cost)
    found = throughput.run(context)
    assert [row["batch"] for row in found.details["sweep"]] == [1, 2]
    assert "batch 4 failed" in found.details["stopped"]


def test_throughput_fails_when_the_smallest_batch_does() -> None:
    def cost(*_: int) -> float:
        raise SubjectError("broken")

    context, _, _ = make("throughput", {}, cost=cost)
    with pytest.raises(SubjectError, match="broken"):
        throughput.run(context)


def test_throughput_once_is_quick() -> None:
    context, _, _ = make("throughput", {"output_tokens": 2}, once=True)
    found = throughput.run(context)
    assert [len(row["round_s"]) for row in found.details["sweep"]] == [1, 1]
    assert found.details["stopped"] == "one quick round"


def terms(found: Measurement) -> dict[str, dict[str, Any]]:
    return {line["term"]: line for line in found.details["terms"]}


def test_memory_puts_estimates_beside_measurements() -> None:
    context, builder, _ = make("memory", {"batch": 2, "tokens": 32, "training": True}, model={"parameters": 100})
    found = memory.run(context)
    assert builder.checks == [False, True]
    assert value(found, "weights_bytes") == value(found, "weights_estimate_bytes") == 400
    assert value(found, "state_bytes_per_token") == value(found, "state_estimate_bytes_per_token") == 4
    assert value(found, "optimizer_estimate_bytes") == value(found, "optimizer_bytes") == 800
    assert value(found, "gradient_bytes") == 400
    assert terms(found)["optimizer state"]["error"] == 0
    assert terms(found)["gradients"] == {"term": "gradients", "measured": 400, "estimate": 400, "error": 0}
    # Logits of 2 x 32 positions x 64 entries in fp32, and the state of 2 x 32 ids.
    assert value(found, "activations_estimate_bytes") == 4 * (2 * 32 * 64 + 2 * 32)
    assert found.metrics["disk_bytes"].value is None
    assert "does not tell" in found.metrics["disk_bytes"].reason
    assert found.primary == "forward"
    assert found.series["forward"]
    assert builder.engine is not None
    assert builder.engine.closed


def test_memory_sees_a_fat_model() -> None:
    fat, _, _ = make("memory", {"tokens": 16})
    thin_found = memory.run(fat)
    context, builder, _ = make("memory", {"tokens": 16})
    ballast = 64 << 20
    # Loading happens inside the builder, where the workload measures it.
    subject = builder.subject

    def heavy(*, check: bool = True) -> Any:
        built = subject(check=check)
        heavy.kept = bytearray(b"\1") * ballast  # type: ignore[attr-defined]
        return built

    builder.subject = heavy  # type: ignore[method-assign]
    grown = value(memory.run(context), "weights_rss_bytes") - value(thin_found, "weights_rss_bytes")
    assert grown == pytest.approx(ballast, rel=0.2)


def test_memory_of_a_model_without_state_says_so() -> None:
    context, _, _ = make("memory", {"tokens": 16}, model={"carries_state": False})
    found = memory.run(context)
    for name in ("state_bytes_per_token", "state_estimate_bytes_per_token"):
        assert found.metrics[name].value is None
        assert "carries no state" in found.metrics[name].reason


def test_memory_refuses_more_tokens_than_the_model_holds() -> None:
    context, builder, _ = make("memory", {"tokens": 64}, model={"max_tokens": 32})
    with pytest.raises(WorkloadError, match="expected at most 32"):
        memory.run(context)
    assert builder.engine is not None
    assert builder.engine.closed
