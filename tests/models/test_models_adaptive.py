"""Adaptive embedding and softmax: the probabilities, the reference they equal, what they save, and who gets the gradient."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from lmbench.base.errors import ConfigError
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models import decoder
from lmbench.models.adaptive import AdaptiveDecoder, build, ranks
from lmbench.models.built import BuiltModel
from lmbench.models.training import next_token_loss
from tests.models import contract
from tests.models.exported import check_engine, loaded

KINDS: dict[str, dict[str, Any]] = {
    "untied": {},
    "tied": {"tied": True},
    "four-bands": {"cutoffs": [10, 50, 200], "factor": 2, "positions": "learned"},
    "narrow-and-tied": {"cutoffs": [100], "factor": 32, "tied": True},
}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, corpus: Corpus) -> BuiltModel:
    return build("m", {"size": "nano", **KINDS[request.param]}, corpus, 0)


def log_probs(model: BuiltModel, tokens: int = 7) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.module(contract.some_ids(model, 2, tokens), torch.arange(tokens), *model.empty_state(2))[0]
    return found


def test_the_adaptive_decoder_keeps_the_contract(model: BuiltModel) -> None:
    assert isinstance(model.module, AdaptiveDecoder)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)
    contract.check_flops(model)


def test_logits_are_log_probabilities_of_all_tokens(model: BuiltModel) -> None:
    found = log_probs(model)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(2, 7))
    torch.testing.assert_close(found.log_softmax(-1), found)


@pytest.mark.parametrize("tied", [False, True])
def test_the_output_is_torchs_adaptive_softmax_with_the_same_weights(tied: bool, corpus: Corpus) -> None:
    ends = build("m", {"size": "nano", "tied": tied, "cutoffs": [20, 100]}, corpus, 0).module.embedding
    reference = torch.nn.AdaptiveLogSoftmaxWithLoss(32, 256, [20, 100], div_value=4)
    words = [layer.weight for layer in (ends.tables if tied else ends.words)]
    narrow = [lift.T for lift in ends.lifts] if tied else [layer.weight for layer in ends.narrow]
    with torch.no_grad():
        reference.head.weight.copy_(torch.cat([words[0], ends.clusters.weight]))
        tails: Any = reference.tail
        for tail, first, second in zip(tails, narrow, words[1:], strict=True):
            tail[0].weight.copy_(first)
            tail[1].weight.copy_(second)
        x = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
        ours, theirs = ends.log_prob(x), reference.log_prob(x.flatten(0, 1)).view(3, 5, 256)
    torch.testing.assert_close(ours, theirs[..., ends.rank])
    ids = torch.arange(15) * 17  # over all bands; the loss of the reference computes only the bands it needs
    loss = reference(x.flatten(0, 1), ends.rank[ids]).loss
    torch.testing.assert_close(functional.cross_entropy(ours.flatten(0, 1), ids), loss)


def test_every_id_has_one_row_in_the_band_of_its_rank(corpus: Corpus) -> None:
    ends = build("m", {"size": "nano", "cutoffs": [20, 100]}, corpus, 0).module.embedding
    with torch.no_grad():
        found = ends(torch.arange(256)[None])[0]
        by_rank = [
            ends.tables[0].weight,
            *(table.weight @ lift.T for table, lift in zip(ends.tables[1:], ends.lifts, strict=True)),
        ]
    torch.testing.assert_close(found, torch.cat(by_rank)[ends.rank])


def test_bands_follow_the_training_text(corpus: Corpus) -> None:
    """Most of the text falls into the first band, more than by the order of ids, which for BPE is that of merges."""
    tokenizer = tokenizers.build({"kind": "bpe", "vocab_size": 512}, corpus)
    ids = tokenizer.encode(corpus.train_text)
    rank = ranks(tokenizer, corpus.train_text)
    assert sorted(rank) == list(range(tokenizer.vocab_size))
    counts = Counter(ids)
    ordered = [counts[number] for number in np.argsort(rank)]
    assert ordered == sorted(counts.values(), reverse=True) + [0] * (tokenizer.vocab_size - len(counts))
    first = sum(rank[token] < 64 for token in ids)
    assert first > sum(token < 64 for token in ids)
    assert first > len(ids) / 2


def test_parameters_are_counted_by_hand_and_fewer_than_the_plain_decoders(corpus: Corpus) -> None:
    options: dict[str, Any] = {"size": "nano", "cutoffs": [32, 128]}
    plain, adaptive, tied = (
        family("m", chosen, corpus, 0).facts.parameters
        for family, chosen in ((decoder.build, {"size": "nano"}), (build, options), (build, {**options, "tied": True}))
    )
    blocks = plain - 2 * 256 * 32
    tables, lifts, clusters = 32 * 32 + 96 * 8 + 128 * 2, 32 * 8 + 32 * 2, 2 * 32
    assert adaptive == blocks + 2 * (tables + lifts) + clusters
    assert tied == blocks + tables + lifts + clusters
    assert tied < adaptive < plain


def test_the_gradient_reaches_every_band(model: BuiltModel) -> None:
    ids = torch.arange(257)[None] % 256  # every token is an input and a target
    next_token_loss(model.module, ids[:, :-1], ids[:, 1:]).backward()  # type: ignore[no-untyped-call]
    ends = model.module.embedding
    for name, parameter in model.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    for table in ends.tables:
        assert (table.weight.grad.abs().max(-1).values > 0).all()


def test_embeddings_and_logits_of_all_bands_start_out_equally_large(corpus: Corpus) -> None:
    model = build("m", {"size": "mini", "layers": 1, "tokenizer": "bytes"}, corpus, 0)
    ends, by_rank = model.module.embedding, torch.argsort(model.module.embedding.rank)
    edges = ends.bands.edges
    with torch.no_grad():
        rows = ends(by_rank[None])[0]
    spread = [rows[first:end].std().item() for first, end in pairwise(edges)]
    assert spread == pytest.approx([0.02] * 3, rel=0.15)


def test_training_lowers_the_loss(corpus: Corpus) -> None:
    ids = np.array(list(corpus.valid_text.encode()[: 64 * 16 + 1]))
    inputs, targets = (torch.from_numpy(part.reshape(16, 64)) for part in (ids[:-1], ids[1:]))
    losses = []
    for steps in (0, 30):
        model = build("m", {"size": "nano", "tied": True, "train_steps": steps}, corpus, 0)
        with torch.no_grad():
            losses.append(next_token_loss(model.module, inputs, targets).item())
    assert losses[1] < losses[0] - 0.5


def test_adaptive_ends_train_under_autocast_and_run_in_bfloat16(model: BuiltModel) -> None:
    exact, ids = log_probs(model), contract.some_ids(model, 2, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        next_token_loss(model.module, ids, ids).backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.module.parameters())
    model.module.to(torch.bfloat16)
    low = log_probs(model)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, atol=0.02, rtol=0.02)
    torch.testing.assert_close(low.exp().sum(-1), torch.ones(2, 7))


def test_export_keeps_lengths_free(model: BuiltModel) -> None:
    free = torch.export.Dim.DYNAMIC
    state = tuple(torch.zeros(2, 4, 7, 8) for _ in model.empty_state(2))
    shapes = ({0: free, 1: free}, {0: free}, tuple({0: free, 2: free} for _ in state))
    example = (contract.some_ids(model, 2, 5), torch.arange(3), *state)
    program = torch.export.export(model.module, example, dynamic_shapes=shapes)
    other = (contract.some_ids(model, 3, 6), torch.arange(4), *(torch.randn(3, 4, 2, 8) for _ in state))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*other)[0], model.module(*other)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("kind", "level"), [("untied", "none"), ("untied", "int8-dynamic"), ("tied", "int8-dynamic")])
def test_onnx_runtime_gives_the_same_probabilities(kind: str, level: str, corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "layers": 1, **KINDS[kind]}, corpus, 0)
    check_engine(loaded(model, "onnxruntime", level), model, atol=2e-5 if level == "none" else 0.1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutoffs": [100, 100]}, "rising, between 1 and 255"),
        ({"cutoffs": [0, 100]}, "rising, between 1 and 255"),
        ({"cutoffs": [100, 256]}, "rising, between 1 and 255"),
        ({"cutoffs": "many"}, "whole numbers"),
        ({"factor": 8}, "a width of 1 or more"),
        ({"factor": 0}, "a whole number >= 1"),
        ({"cutofs": [1]}, "Did you mean 'cutoffs'?"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("rare", {"size": "nano", **options}, corpus, 0)
    assert "model 'rare'" in str(caught.value)
    assert words in str(caught.value)
