"""Generation: the tokens are right, the moments are exact, sampling is seeded and follows its law."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import LmbenchError, WorkloadError
from lmbench.measure.clock import ManualClock
from lmbench.workloads.arithmetic import decode_bytes, decode_flops, generation_flops, weights_format
from lmbench.workloads.generation import generate, greedy, prompt_pool, require_room, sampler
from tests.workloads.virtual import make


def test_moments_and_tokens_are_exact() -> None:
    context, builder, _ = make("latency", {})
    subject = builder.subject()
    ids = context.text().valid[:24].reshape(2, 12)
    clock = context.clock
    assert isinstance(clock, ManualClock)
    clock.advance(8.0)
    done = generate(subject, ids, 4, greedy, clock)
    assert done.started_s == 8.0
    assert done.token_times_s == (8.25, 8.375, 8.5, 8.625)
    assert done.prefill_s == 0.25
    assert done.decode_s == (0.125, 0.125, 0.125)
    assert (done.ttft_s, done.latency_s, done.tpot_s) == (0.25, 0.625, 0.125)
    assert done.gaps_s == (0.125, 0.125, 0.125)
    whole = np.concatenate([ids, done.tokens], axis=1)
    np.testing.assert_array_equal(subject.logits(whole)[:, 11:-1].argmax(-1), done.tokens)


def test_a_model_without_state_generates_the_same_tokens_by_full_passes() -> None:
    results = []
    for carries in (True, False):
        context, builder, _ = make("latency", {}, model={"carries_state": carries})
        results.append(generate(builder.subject(), context.text().valid[:8].reshape(1, 8), 5, greedy, context.clock))
        assert builder.engine is not None
        assert [ids.shape[1] for ids in builder.engine.calls] == ([8, 1, 1, 1, 1] if carries else [8, 9, 10, 11, 12])
    np.testing.assert_array_equal(results[0].tokens, results[1].tokens)


def test_one_token_has_no_gaps() -> None:
    context, builder, _ = make("latency", {})
    done = generate(builder.subject(), context.text().valid[:8].reshape(1, 8), 1, greedy, context.clock)
    assert (done.gaps_s, done.decode_s, done.tpot_s) == ((), (), None)
    assert done.ttft_s == done.latency_s == 0.25


def test_sampling_is_seeded_and_follows_the_softmax() -> None:
    logits = np.tile(np.array([0.0, 1.0, 2.0], dtype=np.float32), (20_000, 1))
    drawn = sampler(2.0, 1)(logits)
    expected = np.exp([0.0, 0.5, 1.0]) / np.exp([0.0, 0.5, 1.0]).sum()
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), expected, atol=0.02)
    np.testing.assert_array_equal(drawn, sampler(2.0, 1)(logits))
    assert (drawn != sampler(2.0, 2)(logits)).any()
    np.testing.assert_array_equal(sampler(0.0, 1)(logits), 2)


def test_prompts_differ_until_the_pool_is_used_up() -> None:
    ids = np.random.default_rng(0).integers(0, 64, size=5000)
    pool = prompt_pool(ids, tokens=16, least=4, seed=0)
    rows = np.concatenate([pool.take(4) for _ in range(len(pool) // 4)])
    assert len({row.tobytes() for row in rows}) == len(pool) == 1024
    np.testing.assert_array_equal(pool.take(1), rows[:1])
    np.testing.assert_array_equal(pool.at(1025), rows[1:2])


def test_a_short_text_gives_a_smaller_pool_or_says_that_it_cannot() -> None:
    ids = np.random.default_rng(0).integers(0, 64, size=60)
    assert 4 <= len(prompt_pool(ids, tokens=16, least=4, seed=0)) <= 45
    with pytest.raises(LmbenchError, match="expected at least"):
        prompt_pool(ids, tokens=59, least=4, seed=0)


def test_what_does_not_fit_the_model_is_refused() -> None:
    _, builder, _ = make("latency", {}, model={"max_tokens": 10})
    require_room(builder.subject(), 6, 4)
    with pytest.raises(WorkloadError, match="at most 10 together"):
        require_room(builder.subject(), 6, 5)


def test_flops_and_bytes_follow_the_model() -> None:
    # The fake claims 2 FLOPs per parameter and token, and a state of 4 bytes per token.
    _, builder, _ = make("latency", {}, model={"parameters": 1000})
    subject = builder.subject()
    assert generation_flops(subject, batch=2, prompt=10, output=4) == 2 * 1000 * 2 * (10 + 3)
    assert decode_bytes(subject, batch=3, past=10) == 4000 + 3 * 10 * 4
    assert weights_format(subject.description) == "fp32"
    _, stateless, _ = make("latency", {}, model={"parameters": 1000, "carries_state": False})
    assert decode_flops(stateless.subject(), batch=1, past=10) == 2 * 1000 * 11
    assert decode_bytes(stateless.subject(), batch=3, past=10) == 4000
    partial = stateless.subject()
    facts = replace(partial.model.facts, reads_all_weights=False)
    model: Any = partial.model
    assert decode_bytes(replace(partial, model=replace(model, facts=facts)), batch=3, past=10) is None


@pytest.mark.parametrize(
    ("lineage", "dtype", "expected"),
    [
        ({"weights": "int8, symmetric, one scale per channel"}, "float32", "int8"),
        ({"weights": "bf16"}, "bfloat16", "bf16"),
        ({"method": "prune"}, "float32", "fp32"),
        ({}, "float16", "fp16"),
    ],
)
def test_the_weights_format_is_what_the_compression_says(lineage: dict[str, str], dtype: str, expected: str) -> None:
    assert weights_format({"lineage": lineage, "engine": {"dtype": dtype}}) == expected
