"""GRU and LSTM: state, counts, defaults."""

from __future__ import annotations

import pytest
import torch

from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel
from lmbench.models.recurrent import build_gru, build_lstm
from tests.models import contract

TWO_LAYERS = {"size": "tiny", "layers": 2, "tokenizer": "bytes"}


@pytest.fixture(params=["gru", "lstm"])
def model(request: pytest.FixtureRequest, corpus: Corpus) -> BuiltModel:
    return (build_gru if request.param == "gru" else build_lstm)("m", TWO_LAYERS, corpus, 0)


def test_recurrent_models_keep_the_contract(model: BuiltModel) -> None:
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)


def test_the_state_does_not_grow_and_keeps_the_batch_first(model: BuiltModel) -> None:
    assert model.state_bytes(batch=2, tokens=1) == model.state_bytes(batch=2, tokens=1000)
    assert all(tensor.shape == (5, 2, 64) for tensor in model.empty_state(5))


def test_parameters_and_flops_are_counted_by_hand(model: BuiltModel) -> None:
    gates = 3 if len(model.empty_state(1)) == 1 else 4
    first, second = gates * 64 * (32 + 64 + 2), gates * 64 * (64 + 64 + 2)
    assert model.facts.parameters == 256 * 32 + first + second + 64 * 256 + 256
    products = gates * 64 * (32 + 64) + gates * 64 * (64 + 64)
    assert model.flops(batch=3, tokens=5, past=9, kept=2) == 2 * 3 * (5 * products + 2 * 64 * 256)


def test_autocast_trains_the_gru(corpus: Corpus) -> None:
    """Not the LSTM: oneDNN has no bfloat16 LSTM for training on many CPUs."""
    model = build_gru("m", TWO_LAYERS, corpus, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.module(contract.some_ids(model, 2, 5), torch.arange(5), *model.empty_state(2))[0]
    logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.module.parameters())


def test_defaults_are_characters_for_the_gru_and_bpe_for_the_lstm(corpus: Corpus) -> None:
    gru, lstm = build_gru("g", {"size": "tiny"}, corpus, 0), build_lstm("l", {"size": "tiny"}, corpus, 0)
    assert gru.tokenizer.vocab_size == len(set(corpus.train_text)) + 1
    assert lstm.tokenizer.vocab_size == 2048
    assert (gru.facts.family, lstm.facts.family) == ("char-gru", "lstm")
