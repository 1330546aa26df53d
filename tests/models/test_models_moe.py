"""Mixtures of experts: routing as a loop over tokens would do it, active parameters and operations, training."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lmbench.base.errors import ConfigError
from lmbench.data.corpora import Corpus
from lmbench.models import decoder
from lmbench.models.decoder import Shape
from lmbench.models.moe import Mixture, build
from lmbench.models.training import next_token_loss
from tests.models import contract, exported

KINDS: dict[str, dict[str, Any]] = {
    "two of four": {"experts": 4, "active": 2},
    "one of eight": {"active": 1, "kv_heads": 2},
    "all": {"experts": 3, "active": 3, "activation": "gelu", "norm": "layer", "positions": "learned", "bias": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_the_contract(kind: str, corpus: Corpus) -> None:
    model = build("m", {"size": "nano", **KINDS[kind]}, corpus, 0)
    contract.check_cached_decode(model)
    contract.check_positions(model)
    contract.check_causal(model)
    contract.check_state_bytes(model)
    contract.check_flops(model)


@pytest.mark.parametrize("active", [1, 2, 5])
def test_routing_equals_a_loop_over_tokens(active: int) -> None:
    shape = Shape(
        vocab=7, layers=1, hidden=16, heads=2, kv_heads=2, head_size=8, mlp=24, activation="swiglu", norm="rms", positions="rotary",
        rotary_base=1e4, tied=False, bias=False, max_tokens=8,
    )  # fmt: skip
    torch.manual_seed(0)
    mixture = Mixture(shape, experts=5, active=active).double()
    x = torch.randn(3, 11, 16, dtype=torch.float64)
    with torch.no_grad():
        mixed = mixture(x)
        for row in range(3):
            for place in range(11):
                token = x[row, place]
                scores = mixture.router.weight @ token
                best = sorted(range(5), key=lambda number: -scores[number].item())[:active]
                weights = torch.softmax(scores[best], dim=0)
                expected = sum(weight * mixture.experts[number](token) for weight, number in zip(weights, best, strict=True))
                torch.testing.assert_close(mixed[row, place], expected, atol=1e-7, rtol=1e-6)


def test_one_expert_is_the_plain_decoder(corpus: Corpus) -> None:
    plain = decoder.build("m", {"size": "nano"}, corpus, 0)
    mixture = build("m", {"size": "nano", "experts": 1, "active": 1}, corpus, 0)
    weights = plain.module.state_dict()
    missing = mixture.module.load_state_dict(
        {name.replace(".mlp.", ".mlp.experts.0."): part for name, part in weights.items()}, strict=False
    )
    assert missing.unexpected_keys == []
    assert missing.missing_keys == ["blocks.0.mlp.router.weight", "blocks.1.mlp.router.weight"]
    ids = contract.some_ids(plain, 2, 6)
    with torch.no_grad():
        one, two = (model.module(ids, torch.arange(6), *model.empty_state(2))[0] for model in (plain, mixture))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)


def test_active_parameters_and_operations_do_not_grow_with_the_experts(corpus: Corpus) -> None:
    few, many = (build("m", {"size": "nano", "mlp": 48, "experts": experts}, corpus, 0) for experts in (2, 8))
    expert, routers = 3 * 32 * 48, 2 * 32 * (8 - 2)
    assert many.facts.parameters == few.facts.parameters + 2 * 6 * expert + routers
    assert few.facts.details["active_parameters"] == few.facts.parameters
    assert many.facts.details["active_parameters"] == few.facts.parameters + routers
    counts = [model.flops(batch=2, tokens=5) for model in (few, many)]
    assert counts[0] is not None
    assert counts[1] == counts[0] + 2 * 5 * 2 * routers


def test_every_expert_learns_and_autocast_trains(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "experts": 4}, corpus, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.module(contract.some_ids(model, 4, 32), torch.arange(32), *model.empty_state(4))[0]
    logits.float().square().sum().backward()
    silent = [name for name, part in model.module.named_parameters() if part.grad is None or not part.grad.any()]
    assert silent == []


def test_a_cast_to_bfloat16_runs_from_the_empty_fp32_state(corpus: Corpus) -> None:
    model = build("m", {"size": "nano", "experts": 2}, corpus, 0)
    low = model.module.to(torch.bfloat16)(contract.some_ids(model, 1, 5), torch.arange(5), *model.empty_state(1))
    assert low[0].dtype == low[1].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("backend", "level", "atol"),
    [("torch", "int8-dynamic", 0.05), ("onnxruntime", "none", 1e-5), ("onnxruntime", "int8-dynamic", 0.05)],
)
def test_experts_without_any_token_do_no_harm(backend: str, level: str, atol: float, corpus: Corpus) -> None:
    """With three sequences and eight experts, most are idle in every decode step."""
    model = build("m", {"size": "nano", "layers": 1}, corpus, 0)
    engine = exported.loaded(model, backend, level)
    exported.check_engine(engine, model, atol=atol)
    engine.close()


def test_pre_training_lowers_the_loss(corpus: Corpus) -> None:
    losses = []
    for steps in (0, 12):
        model = build("m", {"size": "nano", "experts": 4, "train_steps": steps}, corpus, 0)
        ids = torch.tensor(model.tokenizer.encode(corpus.valid_text[:1024])).view(8, -1)
        with torch.no_grad():
            losses.append(next_token_loss(model.module, ids[:, :-1], ids[:, 1:]).item())
    assert losses[1] < losses[0] - 0.5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"active": 0}, "a whole number >= 1"),
        ({"experts": 0}, "a whole number >= 1"),
        ({"active": 9}, "at most the number of experts, which is 8"),
        ({"expert": 2}, "Did you mean 'experts'?"),
        ({"kv_heads": 3}, "a divisor of heads"),
    ],
)
def test_wrong_options_say_what_was_expected(options: dict[str, Any], words: str, corpus: Corpus) -> None:
    with pytest.raises(ConfigError) as caught:
        build("m", {"size": "nano", **options}, corpus, 0)
    assert words in str(caught.value)
