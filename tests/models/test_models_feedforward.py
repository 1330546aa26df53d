"""The feed-forward model: the paper's formula, the state of ids, counts, training, export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import windows
from lmbench.models.feedforward import build
from lmbench.models.training import next_token_loss
from tests.models import contract, exported

TINY = {"size": "tiny", "tokenizer": "bytes"}
KINDS: dict[str, dict[str, Any]] = {"plain": {}, "direct": {"direct": True}, "one token": {"window": 1}}


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract(kind: str, corpus: Corpus) -> None:
    model = build("m", {**TINY, **KINDS[kind]}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_flops(model)


def test_logits_are_those_of_the_paper(corpus: Corpus) -> None:
    """y = b + W x + U tanh(d + H x), x the embeddings of the window (equation 1), one position at a time."""
    model = build("m", {**TINY, "direct": True}, corpus, 0)
    weights = model.module.state_dict()
    ids = contract.some_ids(model, 1, 6)
    padded = [256, 256, *ids[0].tolist()]
    with torch.no_grad():
        logits = model.module(ids, torch.arange(6), *model.empty_state(1))[0][0]
    for place in range(6):
        x = torch.cat([weights["embedding.weight"][token] for token in padded[place : place + 3]])
        hidden = torch.tanh(weights["hidden.bias"] + weights["hidden.weight"] @ x)
        y = weights["head.bias"] + weights["direct.weight"] @ x + weights["head.weight"] @ hidden
        torch.testing.assert_close(logits[place], y, atol=1e-5, rtol=1e-4)


def test_the_state_is_the_last_ids(corpus: Corpus) -> None:
    model = build("m", TINY, corpus, 0)
    (empty,) = model.empty_state(2)
    assert torch.equal(empty, torch.full((2, 3), 256))
    assert torch.equal(empty, model.module.empty_state(2)[0])
    after = model.module(torch.tensor([[7, 8], [9, 5]]), torch.tensor([1]), empty)[1]
    assert after.tolist() == [[256, 7, 8], [256, 9, 5]]
    assert model.state_bytes(batch=2, tokens=1) == model.state_bytes(batch=2, tokens=99, element_bytes=2) == after.nbytes


def test_parameters_are_counted_by_hand(corpus: Corpus) -> None:
    plain, direct = (build("m", {**TINY, "direct": direct}, corpus, 0) for direct in (False, True))
    assert plain.facts.parameters == 257 * 32 + (96 + 1) * 64 + (64 + 1) * 256
    assert direct.facts.parameters == plain.facts.parameters + 96 * 256
    assert (plain.facts.family, plain.facts.details["window"], plain.facts.max_tokens) == ("feed-forward", 3, 1 << 16)


def test_named_sizes_grow(corpus: Corpus) -> None:
    counts = [build("m", {"size": size}, corpus, 0).facts.parameters for size in ("tiny", "mini", "small")]
    assert counts == sorted(counts)
    assert build("m", {}, corpus, 0).facts.vocab_size == 2048


def test_pre_training_lowers_the_validation_loss(corpus: Corpus) -> None:
    losses = []
    for steps in (0, 40):
        model = build("m", {**TINY, "train_steps": steps}, corpus, 0)
        ids = np.array(model.tokenizer.encode(corpus.valid_text[:2000]), dtype=np.int64)
        rows = torch.from_numpy(windows(ids, tokens=64, limit=1024))
        with torch.no_grad():
            losses.append(next_token_loss(model.module, rows[:, :-1], rows[:, 1:]).item())
    assert losses[0] == pytest.approx(np.log(256), abs=0.3)
    assert losses[1] < losses[0] - 1.5


def test_autocast_trains(corpus: Corpus) -> None:
    model = build("m", {**TINY, "direct": True}, corpus, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.module(contract.some_ids(model, 2, 5), torch.arange(5), *model.empty_state(2))[0]
    logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.module.parameters())


def test_a_state_of_ids_survives_the_export(corpus: Corpus) -> None:
    model = build("m", {**TINY, "direct": True}, corpus, 0)
    engine = exported.loaded(model, "onnxruntime")
    exported.check_engine(engine, model, atol=1e-5)
    engine.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, "a whole number >= 1"),
        ({"direct": 1}, "true or false"),
        ({"size": "nano"}, "one of tiny, mini, small"),
        ({"heads": 2}, "unknown option 'heads'"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("m", {**TINY, **options}, corpus, 0)
    assert words in str(caught.value)
