"""Pruning by masks: which weights become zero, what stays, and that training afterwards leaves the zeros alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError
from lmbench.base.registry import MODELS, resolve
from lmbench.base.seams import Compression, LanguageModel, ModelFacts
from lmbench.compress import fine_tune, prune
from lmbench.data import corpora
from lmbench.data.corpora import Corpus

CORPUS = corpora.load({"source": "python-reference"})
SMALL: dict[str, dict[str, Any]] = {
    "decoder": {"size": "nano", "layers": 1},
    "encoder": {"size": "nano", "layers": 1, "tokenizer": "bytes"},
    "bilstm": {"size": "tiny", "tokenizer": "bytes"},
    "lstm": {"size": "tiny", "tokenizer": "bytes"},
}
LEVELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "prune-magnitude": (prune.build_magnitude, {"sparsity": 0.5}),
    "prune-layerwise": (prune.build_layerwise, {"sparsity": 0.5}),
    "prune-threshold": (prune.build_threshold, {"threshold": 0.01}),
    "prune-2-4": (prune.build_two_of_four, {}),
}
FACTS = ModelFacts(
    name="m", family="tests", parameters=1, vocab_size=40, max_tokens=8, carries_state=False, weights_digest="w", code_digest="c"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    return tmp_path


@dataclass(frozen=True)
class Around:
    """A module as the parent that levels get."""

    module: Any
    form: str = "module"
    facts: ModelFacts = FACTS


class Tied(nn.Module):
    """Embedding, one free layer, a head that shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(40, 24)
        self.between = nn.Linear(24, 24)
        self.head = nn.Linear(24, 40, bias=False)
        self.head.weight = self.tokens.weight


def level(name: str, corpus: Corpus | None = None, seed: int = 0, **options: Any) -> Compression:
    build, defaults = LEVELS[name]
    method: Compression = build({**defaults, **options}, corpus, seed)
    return method


def changed(name: str, module: Any, **options: Any) -> Any:
    """The module of what the level makes of `module`."""
    model: Any = Around(module)
    return level(name, **options).on_model(model, MODULE).module


def two_layers() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))


def built(family: str = "decoder", corpus: Corpus = CORPUS, **options: Any) -> LanguageModel:
    model: LanguageModel = resolve(MODELS[family].target)("m", {**SMALL[family], **options}, corpus, 0)
    return model


def linear(module: nn.Module) -> Iterator[Tensor]:
    return (layer.weight for layer in module.modules() if isinstance(layer, nn.Linear))


def require_smallest_gone(weight: Tensor, before: Tensor, count: int) -> None:
    """`count` weights are zero, none of them larger than one that stayed, which are as they were."""
    gone = weight == 0
    assert int(gone.sum()) == count
    assert before[gone].abs().max() <= before[~gone].abs().min()
    assert torch.equal(weight[~gone], before[~gone])


@pytest.mark.parametrize("name", LEVELS)
def test_only_weights_change(name: str) -> None:
    module, same = two_layers(), two_layers()
    after = changed(name, module)
    assert all(torch.equal(one, other) for one, other in zip(module.parameters(), same.parameters(), strict=True))
    assert after.state_dict().keys() == module.state_dict().keys()
    assert all(parameter.requires_grad for parameter in after.parameters())
    assert all(torch.equal(new.bias, old.bias) for new, old in zip(after, module, strict=True))
    assert level(name).sparse


@pytest.mark.parametrize("name", LEVELS)
def test_the_embedding_and_its_head_are_spared(name: str) -> None:
    module: Any = Tied().eval()
    after = changed(name, module)
    assert torch.equal(after.head.weight, module.head.weight)
    assert after.head.weight is after.tokens.weight
    assert (after.between.weight == 0).any()


@pytest.mark.parametrize("name", LEVELS)
def test_a_model_without_linear_layers_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}: model: found Embedding; expected a model with Linear layers"):
        changed(name, nn.Embedding(4, 4))


@settings(max_examples=25)
@given(sparsity=st.floats(0.01, 0.99))
def test_magnitude_ranks_all_layers_together(sparsity: float) -> None:
    module = two_layers()
    weights, before = (
        torch.cat([w.flatten() for w in linear(m)]) for m in (changed("prune-magnitude", module, sparsity=sparsity), module)
    )
    require_smallest_gone(weights, before, round(sparsity * 900))


@settings(max_examples=25)
@given(sparsity=st.floats(0.01, 0.99))
def test_layerwise_takes_the_same_share_of_each_layer(sparsity: float) -> None:
    module = two_layers()
    for weight, before in zip(linear(changed("prune-layerwise", module, sparsity=sparsity)), linear(module), strict=True):
        require_smallest_gone(weight, before, round(sparsity * weight.numel()))


@settings(max_examples=25)
@given(threshold=st.floats(1e-6, 1.0))
def test_a_threshold_divides_the_weights(threshold: float) -> None:
    module = two_layers()
    for weight, before in zip(linear(changed("prune-threshold", module, threshold=threshold)), linear(module), strict=True):
        assert torch.equal(weight, torch.where(before.abs() >= threshold, before, 0.0))


def test_two_of_four_inputs_stay_and_they_are_the_larger_ones() -> None:
    module: Any = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 8), nn.Linear(8, 3))
    after = changed("prune-2-4", module)
    for number in (0, 2):
        before, weight = (m[number].weight.view(-1, 4) for m in (module, after))
        for blocks, whole in zip(weight, before, strict=True):
            require_smallest_gone(blocks, whole, 2)
    assert torch.equal(after[1].weight, module[1].weight)  # 30 inputs are no fours
    with pytest.raises(ConfigError, match="a multiple of 4 inputs"):
        changed("prune-2-4", nn.Linear(30, 8))


@pytest.mark.parametrize("sparsity", [0, 1, -0.1, 1.5, "half", True, None])
@pytest.mark.parametrize("name", ["prune-magnitude", "prune-layerwise"])
def test_impossible_sparsities_are_refused(name: str, sparsity: object) -> None:
    with pytest.raises(ConfigError, match=r"sparsity: found .*; expected a number above 0 and below 1"):
        level(name, sparsity=sparsity)


@pytest.mark.parametrize("threshold", [0, -1, float("inf"), float("nan"), "some", True, None])
def test_impossible_thresholds_are_refused(threshold: object) -> None:
    with pytest.raises(ConfigError, match=r"threshold: found .*; expected a number above 0"):
        level("prune-threshold", threshold=threshold)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("family", SMALL)
def test_every_family_with_linear_layers_is_pruned(name: str, family: str) -> None:
    model = built(family)
    after = level(name).on_model(model, MODULE)
    assert after.facts.weights_digest != model.facts.weights_digest
    zeros = [int((weight == 0).sum()) for weight in linear(after.module)]
    assert all(zeros) if name != "prune-magnitude" else any(zeros)
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        logits = after.module(ids, torch.tensor([5, 0]), *after.empty_state(2))[0]
    assert logits.shape == (2, 2, model.facts.vocab_size)
    assert torch.isfinite(logits).all()


def test_the_lineage_without_fine_tuning_says_nothing_of_it() -> None:
    expected = {
        "method": "prune-magnitude",
        "sparsity": 0.5,
        "over": "weights of Linear layers, ranked globally; not embeddings nor a head tied to them",
        "storage": "dense",
    }
    assert level("prune-magnitude", CORPUS, fine_tune_steps=0).lineage == expected


def loss(model: LanguageModel, module: Any) -> float:
    ids = torch.tensor(model.tokenizer.encode(CORPUS.valid_text[:4096]))[:2048].view(16, 128)
    with torch.no_grad():
        logits = module(ids[:, :-1], torch.arange(127), *model.empty_state(16))[0]
    return nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).item()


@pytest.fixture(scope="module")
def somewhat_trained(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LMBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return built(train_steps=20)


@pytest.mark.parametrize("name", LEVELS)
def test_fine_tuning_repairs_and_leaves_the_zeros(name: str, somewhat_trained: LanguageModel) -> None:
    model = somewhat_trained
    plain = level(name).on_model(model, MODULE)
    method = level(name, CORPUS, fine_tune_steps=10, learning_rate=1e-2)
    tuned = method.on_model(model, MODULE)
    for weight, before in zip(linear(tuned.module), linear(plain.module), strict=True):
        assert torch.equal(weight == 0, before == 0)
        assert not torch.equal(weight, before)
    assert loss(model, tuned.module) < loss(model, plain.module)
    assert not tuned.module.training
    assert tuned.facts.weights_digest != plain.facts.weights_digest
    told = {"fine_tune_steps": 10, "learning_rate": 1e-2, "seed": 0, "corpus": CORPUS.digest}
    assert {**level(name).lineage, **told} == method.lineage


def test_the_same_training_is_done_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built()
    method = level("prune-layerwise", CORPUS, seed=3, fine_tune_steps=2)
    first = method.on_model(model, MODULE)
    other = level("prune-layerwise", CORPUS, seed=4, fine_tune_steps=2).on_model(model, MODULE)
    assert len([*own_cache.glob("fine-tuned/*/model.safetensors")]) == 2
    assert other.facts.weights_digest != first.facts.weights_digest
    monkeypatch.setattr(fine_tune, "train", None)
    again = method.on_model(model, MODULE)
    assert again.facts == first.facts
    assert all(torch.equal(tensor, again.module.state_dict()[key]) for key, tensor in first.module.state_dict().items())
    assert any(not torch.equal(tensor, other.module.state_dict()[key]) for key, tensor in first.module.state_dict().items())


def test_other_texts_models_and_prunings_train_anew(own_cache: Path) -> None:
    short = corpora.split("short", CORPUS.text[:20_000])
    for model, text, share in ((0, CORPUS, 0.5), (0, short, 0.5), (0, short, 0.4), (1, short, 0.4)):
        method = level("prune-magnitude", text, sparsity=share, fine_tune_steps=1)
        method.on_model(resolve(MODELS["decoder"].target)("m", SMALL["decoder"], CORPUS, model), MODULE)
    assert len([*own_cache.glob("fine-tuned/*/key.json")]) == 4


def test_nothing_is_kept_of_a_users_own_code(own_cache: Path) -> None:
    model: Any = built()
    own = replace(model, facts=replace(model.facts, code_digest=None))
    tuned = level("prune-layerwise", CORPUS, fine_tune_steps=1).on_model(own, MODULE)
    assert tuned.facts.code_digest is None
    assert not (own_cache / "fine-tuned").exists()


@pytest.mark.parametrize("family", ["encoder", "bilstm"])
def test_models_that_predict_hidden_tokens_are_fine_tuned_on_them(family: str) -> None:
    model = built(family)
    plain, tuned = (
        level("prune-layerwise", CORPUS, fine_tune_steps=steps, learning_rate=1e-2).on_model(model, MODULE).module
        for steps in (1, 20)
    )
    ids = torch.tensor(model.tokenizer.encode(CORPUS.valid_text[:1024]))[:1024].view(8, 128)
    shown = ids.clone()
    if model.facts.mask_id is not None:
        shown[:, ::8] = model.facts.mask_id
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(m(shown, torch.arange(0, 128, 8))[0].flatten(0, 1), ids[:, ::8].flatten())
            for m in (plain, tuned)
        ]
    assert losses[1] < losses[0] - 0.5
    assert np.isclose(float((next(linear(tuned)) == 0).float().mean()), 0.5, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"fine_tune_steps": -1}, "fine_tune_steps: found -1; expected a whole number"),
        ({"fine_tune_steps": True}, "fine_tune_steps: found True"),
        ({"fine_tune_steps": 1.5}, "fine_tune_steps: found 1.5"),
        ({"fine_tune_steps": 5, "learning_rate": 0}, "learning_rate: found 0; expected a number above 0"),
        ({"fine_tune_steps": 5, "learning_rate": "fast"}, "learning_rate: found 'fast'"),
        ({"learning_rate": 1e-3}, "learning_rate: found 0.001 without fine_tune_steps"),
        ({"fine_tune_step": 5}, "fine_tune_step: found an unknown option.*Did you mean 'fine_tune_steps'"),
    ],
)
@pytest.mark.parametrize("name", LEVELS)
def test_impossible_fine_tuning_is_refused(name: str, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        level(name, CORPUS, **options)


def test_fine_tuning_needs_a_text() -> None:
    with pytest.raises(ConfigError, match="5 steps without a corpus"):
        level("prune-2-4", None, fine_tune_steps=5)
