"""Windows of ids: different prompts, shifted batches, targets predicted once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import LmbenchError
from lmbench.data.prompts import IGNORED, PREFIX_TOKENS, batches, examples, prompts, windows

IDS = np.random.default_rng(0).integers(0, 100, size=3000)


@given(count=st.integers(1, 50), tokens=st.integers(4, 80), seed=st.integers(0, 99))
def test_prompts_differ_from_each_other_and_come_from_the_text(count: int, tokens: int, seed: int) -> None:
    drawn = prompts(IDS, count=count, tokens=tokens, seed=seed)
    assert drawn.shape == (count, tokens)
    assert drawn.dtype == np.int64
    assert len({row[:PREFIX_TOKENS].tobytes() for row in drawn}) == count
    text = IDS.tobytes()
    assert all(row.tobytes() in text for row in drawn)
    np.testing.assert_array_equal(drawn, prompts(IDS, count=count, tokens=tokens, seed=seed))
    np.testing.assert_array_equal(drawn, prompts(IDS, count=count + 5, tokens=tokens, seed=seed)[:count])


def test_another_seed_gives_other_prompts() -> None:
    assert not np.array_equal(prompts(IDS, count=4, tokens=8, seed=0), prompts(IDS, count=4, tokens=8, seed=1))


def test_a_text_too_short_or_too_uniform_is_refused() -> None:
    with pytest.raises(LmbenchError, match="found 10 tokens of text; expected at least 16"):
        prompts(IDS[:10], count=8, tokens=9, seed=0)
    with pytest.raises(LmbenchError, match="found 1 different prompts"):
        prompts(np.zeros(100, dtype=np.int64), count=2, tokens=9, seed=0)


@given(batch=st.integers(1, 9), tokens=st.integers(1, 60), seed=st.integers(0, 99))
def test_targets_are_one_token_ahead(batch: int, tokens: int, seed: int) -> None:
    ids = np.arange(200)
    draws, again = batches(ids, batch=batch, tokens=tokens, seed=seed), batches(ids, batch=batch, tokens=tokens, seed=seed)
    for _ in range(3):
        inputs, targets = next(draws)
        assert inputs.shape == targets.shape == (batch, tokens)
        assert inputs.dtype == targets.dtype == np.int64
        np.testing.assert_array_equal(targets, inputs + 1)
        np.testing.assert_array_equal(inputs, next(again)[0])


def test_the_last_token_can_be_a_target_and_shorter_texts_are_refused() -> None:
    inputs, targets = next(batches(np.arange(5), batch=1, tokens=4, seed=0))
    assert (inputs[0, 0], targets[0, -1]) == (0, 4)
    with pytest.raises(LmbenchError, match="expected at least 6"):
        batches(np.arange(5), batch=1, tokens=5, seed=0)


@given(length=st.integers(3, 300), tokens=st.integers(1, 50), limit=st.integers(1, 400))
def test_windows_predict_every_target_once(length: int, tokens: int, limit: int) -> None:
    ids = np.arange(length)
    if tokens > limit or tokens > length - 1:
        with pytest.raises(LmbenchError, match="expected room for"):
            windows(ids, tokens=tokens, limit=limit)
        return
    rows = windows(ids, tokens=tokens, limit=limit)
    assert rows.shape[1] == tokens + 1
    assert rows.shape[0] * tokens <= limit
    np.testing.assert_array_equal(rows[:, 1:].ravel(), np.arange(1, 1 + rows.shape[0] * tokens))
    assert min(length - 1, limit) - rows.shape[0] * tokens < tokens


@given(tokens=st.integers(1, 60), seed=st.integers(0, 99), count=st.integers(1, 5))
def test_what_is_hidden_and_scored_is_a_fixed_share_of_every_row(tokens: int, seed: int, count: int) -> None:
    rows = IDS[: count * (tokens + 1)].reshape(count, tokens + 1)
    chance = np.random.default_rng(seed)
    inputs, targets = examples(rows, objective="masked", mask_id=100, generator=chance)
    scored = targets != IGNORED
    assert inputs.shape == targets.shape == (count, tokens)
    assert inputs.dtype == targets.dtype == np.int64
    assert (scored.sum(axis=1) == max(1, round(0.15 * tokens))).all()
    np.testing.assert_array_equal(targets[scored], rows[:, :-1][scored])
    np.testing.assert_array_equal(inputs[~scored], rows[:, :-1][~scored])
    assert np.isin(inputs, [*rows[:, :-1].ravel(), 100]).all()


def test_of_the_scored_tokens_most_are_masked_some_replaced_and_some_kept() -> None:
    rows = np.arange(400 * 101).reshape(400, 101)  # no id twice, so that a replaced one is another
    inputs, targets = examples(rows, objective="masked", mask_id=-1, generator=np.random.default_rng(0))
    shown = inputs[targets != IGNORED]
    wanted = targets[targets != IGNORED]
    assert len(shown) == 400 * 15
    assert (shown == -1).mean() == pytest.approx(0.8, abs=0.02)
    assert (shown == wanted).mean() == pytest.approx(0.1, abs=0.02)
    places = np.bincount(np.nonzero(targets != IGNORED)[1], minlength=100) / 400
    assert places.min() > 0.05, "every place is scored about as often as any other"
    assert places.max() < 0.25


def test_objectives_differ_in_targets_and_not_in_windows() -> None:
    drawn = {
        name: [next(batches(IDS, batch=3, tokens=20, seed=4, objective=objective, mask_id=mask_id)) for _ in range(2)][1]
        for name, objective, mask_id in (("causal", "causal", None), ("hides", "masked", None), ("hidden", "masked", 100))
    }
    windows = drawn["causal"][0]
    np.testing.assert_array_equal(drawn["hides"][0], windows)
    np.testing.assert_array_equal(drawn["hides"][1], windows)
    inputs, targets = drawn["hidden"]
    np.testing.assert_array_equal(np.where(targets == IGNORED, inputs, targets), windows)


def test_hiding_is_seeded() -> None:
    draws = [batches(IDS, batch=2, tokens=30, seed=seed, objective="masked", mask_id=100) for seed in (0, 0, 1)]
    for _ in range(3):
        one, same, other = (next(draw)[1] for draw in draws)
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)
