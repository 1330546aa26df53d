"""The bidirectional LSTM: no token sees itself, all others do, and the passes are those of a loop over positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.models.bilstm import build
from lmbench.models.built import BuiltModel
from lmbench.models.training import next_token_loss
from tests.models import contract, masked

TWO_LAYERS = {"size": "tiny", "layers": 2, "tokenizer": "bytes"}


@pytest.fixture(scope="module")
def model(corpus: Corpus) -> BuiltModel:
    return build("m", TWO_LAYERS, corpus, 0)


def test_it_keeps_the_contract_without_a_state(model: BuiltModel) -> None:
    masked.check_without_state(model)
    contract.check_positions(model)
    masked.check_flops(model)
    assert model.facts.mask_id is None


@given(tokens=st.integers(1, 9), place=st.integers(0, 8), step=st.integers(1, 255))
@settings(deadline=None, max_examples=25)
def test_no_token_leaks_into_its_own_prediction_and_each_reaches_all_others(
    model: BuiltModel, tokens: int, place: int, step: int
) -> None:
    place %= tokens
    ids = contract.some_ids(model, 1, tokens)
    other = ids.clone()
    other[0, place] = (other[0, place] + step) % 256
    one, two = masked.logits(model, ids)[0], masked.logits(model, other)[0]
    assert torch.equal(one[place], two[place])
    assert [bool((one[t] != two[t]).any()) for t in range(tokens)] == [t != place for t in range(tokens)]


def test_logits_are_those_of_a_loop_over_positions(model: BuiltModel) -> None:
    """The last top state of one stack over the tokens before, and of the other over those behind, backwards."""
    module = model.module
    ids = contract.some_ids(model, 2, 6)
    found = masked.logits(model, ids)
    with torch.no_grad():
        for place in range(6):
            seen = []
            for stack, side in ((module.left, ids[:, :place]), (module.right, ids[:, place + 1 :].flip(1))):
                empty = torch.zeros(2, module.left.hidden_size)
                seen.append(stack(module.embedding(side))[1][0][-1] if side.shape[1] else empty)
            torch.testing.assert_close(found[:, place], module.head(torch.cat(seen, dim=1)), atol=1e-5, rtol=1e-4)


def test_parameters_are_counted_by_hand(model: BuiltModel, corpus: Corpus) -> None:
    stack = 4 * 64 * (32 + 64 + 2) + 4 * 64 * (64 + 64 + 2)
    assert model.facts.parameters == 256 * 32 + 2 * stack + 2 * 64 * 256 + 256
    counts = [build("m", {"size": size}, corpus, 0).facts.parameters for size in ("tiny", "mini", "small")]
    assert counts == sorted(counts)
    assert build("m", {}, corpus, 0).facts.vocab_size == 2048


def test_pre_training_lowers_the_validation_loss_over_all_tokens(corpus: Corpus) -> None:
    losses = []
    for steps in (0, 40):
        model = build("m", {"size": "tiny", "tokenizer": "bytes", "train_steps": steps}, corpus, 0)
        ids = torch.tensor(model.tokenizer.encode(corpus.valid_text[:1024])).view(16, 64)
        with torch.no_grad():
            losses.append(next_token_loss(model.module, ids, ids).item())
    assert losses[0] == pytest.approx(np.log(256), abs=0.3)
    assert losses[1] < losses[0] - 1.5


@pytest.mark.parametrize(("backend", "level"), [("torch", "none"), ("onnxruntime", "none")])
def test_engines_give_its_logits_back_at_any_size(model: BuiltModel, backend: str, level: str) -> None:
    masked.check_engine(model, backend, level, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"layers": -1}, "a whole number >= 0"), ({"size": "nano"}, "one of tiny, mini, small"), ({"window": 2}, "unknown option")],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match=words):
        build("m", {**TWO_LAYERS, **options}, corpus, 0)
