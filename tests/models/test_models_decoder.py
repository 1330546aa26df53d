"""The decoder: cache, grouped queries, counts and options."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.models.decoder import Decoder, build
from tests.models import contract

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grouped": {"kv_heads": 2},
    "one-kv-head": {"kv_heads": 1, "norm": "layer"},
    "learned": {"positions": "learned", "activation": "gelu"},
    "tied": {"tied": True, "layers": 1},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_keeps_the_contract(kind: str, corpus: Corpus) -> None:
    model = build("m", {"size": "nano", **KINDS[kind]}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)
    contract.check_flops(model)


def test_parameters_are_counted_by_hand(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "kv_heads": 2, "mlp": 48}, corpus, 0)
    block = 32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32
    assert model.facts.parameters == 2 * 256 * 32 + 2 * block + 32
    tied = build("m", {"size": "nano", "kv_heads": 2, "mlp": 48, "tied": True}, corpus, 0)
    assert tied.facts.parameters == model.facts.parameters - 256 * 32


def test_grouped_queries_with_repeated_heads_are_ordinary_attention(corpus: Corpus) -> None:
    grouped = build("m", {"size": "nano", "kv_heads": 2}, corpus, 0)
    full = build("m", {"size": "nano"}, corpus, 0)
    weights = grouped.module.state_dict()
    for name in list(weights):
        if name.endswith(("key.weight", "value.weight")):
            # each of the two heads serves two neighbouring query heads
            weights[name] = weights[name].view(2, 8, 32).repeat_interleave(2, dim=0).reshape(32, 32)
    full.module.load_state_dict(weights)
    ids = contract.some_ids(full, 2, 6)
    with torch.no_grad():
        one = grouped.module(ids, torch.arange(6), *grouped.empty_state(2))[0]
        two = full.module(ids, torch.arange(6), *full.empty_state(2))[0]
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    assert full.state_bytes(batch=1, tokens=3) == 2 * grouped.state_bytes(batch=1, tokens=3)


def test_rotary_scores_depend_on_distance_alone(corpus: Corpus) -> None:
    """In one layer without any earlier mixing, a cache filled with the same token twice sees only distances."""
    model = build("m", {"size": "nano", "layers": 1}, corpus, 0)
    ids = torch.full((1, 7), 5)
    with torch.no_grad():
        logits = model.module(ids, torch.arange(7), *model.empty_state(1))[0]
    torch.testing.assert_close(logits[0, 0], logits[0, 6], atol=1e-5, rtol=1e-4)


def test_a_cast_to_bfloat16_runs_from_the_empty_fp32_state(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "kv_heads": 2}, corpus, 0)
    ids = contract.some_ids(model, 1, 5)
    with torch.no_grad():
        exact = model.module(ids, torch.arange(5), *model.empty_state(1))[0]
        low = model.module.to(torch.bfloat16)(ids, torch.arange(5), *model.empty_state(1))
    assert low[0].dtype == low[1].dtype == torch.bfloat16
    torch.testing.assert_close(low[0].float(), exact, atol=0.05, rtol=0.05)


def test_autocast_trains(corpus: Corpus) -> None:
    model = build("m", {"size": "nano"}, corpus, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.module(contract.some_ids(model, 2, 5), torch.arange(5), *model.empty_state(2))[0]
    logits.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.module.parameters())


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone(corpus: Corpus) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    digests = [build("m", {"size": "nano"}, corpus, seed).facts.weights_digest for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_export_keeps_lengths_free(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "kv_heads": 2}, corpus, 0)
    free = torch.export.Dim.DYNAMIC
    state = tuple(torch.randn(2, 2, 7, 8) for _ in model.empty_state(2))
    shapes = ({0: free, 1: free}, {0: free}, tuple({0: free, 2: free} for _ in state))
    ids = contract.some_ids(model, 2, 5)
    program = torch.export.export(model.module, (ids, torch.arange(3), *state), dynamic_shapes=shapes)
    other = (contract.some_ids(model, 3, 6), torch.arange(4), *(torch.randn(3, 2, 2, 8) for _ in state))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*other)[0], model.module(*other)[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({"size": "nan"}, "size", "Did you mean 'nano'?"),
        ({"hiden": 4}, "hiden", "Did you mean 'hidden'?"),
        ({"layers": "two"}, "layers", "a whole number"),
        ({"layers": 0}, "layers", "a whole number >= 1"),
        ({"tied": 1}, "tied", "true or false"),
        ({"activation": "relu"}, "activation", "one of swiglu, gelu"),
        ({"hidden": 36}, "hidden", "a multiple of 8"),
        ({"kv_heads": 3}, "kv_heads", "a divisor of heads"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], key: str, words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("gpt", {"size": "nano", **options}, corpus, 0)
    assert "model 'gpt'" in str(caught.value)
    assert key in str(caught.value)
    assert words in str(caught.value)


def test_named_sizes_grow(corpus: Corpus) -> None:
    counts = [build("m", {"size": size}, corpus, 0).facts.parameters for size in ("nano", "mini", "small")]
    assert counts == sorted(counts)
    assert isinstance(build("m", {"size": "nano"}, corpus, 0).module, Decoder)
