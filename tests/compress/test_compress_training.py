"""Training inside levels: the loss falls, the seed decides, nothing else of the process changes."""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmbench.base.errors import Diverged, LmbenchError, SubjectError
from lmbench.base.registry import MODELS, resolve
from lmbench.base.seams import LanguageModel
from lmbench.compress import training
from lmbench.compress.training import cross_entropy, train
from lmbench.data import corpora
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import windows

SMALL: dict[str, dict[str, Any]] = {
    "decoder": {"size": "nano", "layers": 1},
    "char-gru": {"size": "tiny", "tokenizer": "bytes"},
    "encoder": {"size": "nano", "tokenizer": "bytes"},
}
CORPUS = corpora.load({"source": "python-reference"})


def built(family: str = "decoder", corpus: Corpus = CORPUS, **options: Any) -> LanguageModel:
    model: LanguageModel = resolve(MODELS[family].target)("m", {**SMALL[family], **options}, corpus, 0)
    return model


def validation_loss(model: LanguageModel, module: Any) -> float:
    ids = np.array(model.tokenizer.encode(CORPUS.valid_text[:20_000]), dtype=np.int64)
    rows = torch.from_numpy(windows(ids, tokens=64, limit=1024))
    with torch.no_grad():
        logits = module(rows[:, :-1], torch.arange(64), *model.empty_state(len(rows)))[0]
        return cross_entropy(logits, rows[:, :-1], rows[:, 1:]).item()


def trained(model: LanguageModel, corpus: Corpus = CORPUS, seed: int = 0, steps: int = 3, **how: Any) -> Any:
    """A copy of the model's module after so many steps."""
    module = copy.deepcopy(model.module)
    train(module, model, corpus, steps=steps, seed=seed, **how)
    return module


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("family", ["decoder", "char-gru"])
def test_the_validation_loss_falls(family: str) -> None:
    model = built(family)
    module = trained(model, steps=20, learning_rate=1e-2)
    assert validation_loss(model, model.module) == pytest.approx(np.log(256), abs=0.3)
    assert validation_loss(model, module) < validation_loss(model, model.module) - 1
    assert not module.training


def test_models_that_predict_hidden_tokens_are_trained_on_them() -> None:
    model = built("encoder")
    seen: list[tuple[Tensor, Tensor]] = []

    def loss(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        seen.append((inputs, targets))
        return cross_entropy(logits, inputs, targets)

    trained(model, steps=1, loss=loss)
    ((inputs, targets),) = seen
    assert inputs.eq(model.facts.mask_id or 0).any()
    assert 0.1 < (targets >= 0).float().mean() < 0.2


def test_the_seed_decides_the_weights() -> None:
    model = built()
    first, again, other = trained(model), trained(model), trained(model, seed=1)
    assert equal(first, again)
    assert not equal(first, other)


def test_dropout_is_seeded_too() -> None:
    model = built()
    module = torch.nn.Sequential(copy.deepcopy(model.module.head), torch.nn.Dropout(0.5))
    kept = []
    for _ in range(2):
        around = Around(copy.deepcopy(model.module), copy.deepcopy(module))
        train(around, model, CORPUS, steps=2, seed=3)
        kept.append(around)
    assert equal(*kept)


class Around(torch.nn.Module):
    """A model's module with another head."""

    def __init__(self, inner: Any, head: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.inner.head = head

    def forward(self, *arguments: Tensor) -> Any:
        return self.inner(*arguments)


def test_the_process_is_left_as_it_was() -> None:
    model = built()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    weights = copy.deepcopy(model.module)
    module = trained(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert equal(model.module, weights)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_frozen_parameters_stay() -> None:
    model = built()
    module = copy.deepcopy(model.module)
    module.embedding.requires_grad_(False)
    train(module, model, CORPUS, steps=2, seed=0)
    assert torch.equal(module.embedding.weight, model.module.embedding.weight)
    assert not torch.equal(module.head.weight, model.module.head.weight)


def test_what_must_hold_after_each_step_holds_at_the_end() -> None:
    model = built()
    mask = torch.rand(model.module.head.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    calls: list[int] = []

    def after_step(module: Any) -> None:
        calls.append(1)
        module.head.weight.data.masked_fill_(mask, 0)

    module = trained(model, after_step=after_step)
    assert len(calls) == 3
    assert torch.equal(module.head.weight == 0, mask)


def test_progress_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lmbench.compress")
    trained(built(), steps=12)
    assert len(caplog.records) == 12
    assert "training m: step 12 of 12, loss" in caplog.messages[-1]


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(SubjectError, match=r"loss of nan .*step 1 of 3.*learning_rate"):
        trained(built(), loss=lambda logits, _, __: logits.sum() * float("nan"))


def test_a_loss_that_ends_far_above_a_guess_is_divergence() -> None:
    calls: list[int] = []

    def growing(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(1)
        return cross_entropy(logits, inputs, targets) * len(calls)

    with pytest.raises(Diverged, match=r"median of the last 10 steps\) after 20 steps .*learning_rate"):
        trained(built(), steps=20, loss=growing)


def test_what_gradients_do_not_change_cannot_be_trained() -> None:
    model = built()
    module = copy.deepcopy(model.module).requires_grad_(False)
    with pytest.raises(SubjectError, match="Decoder of model 'm' without a weight"):
        train(module, model, CORPUS, steps=1, seed=0)


def test_a_text_too_short_to_train_on_is_an_error() -> None:
    short = corpora.split("short", "ten bytes.\n" * 3)
    with pytest.raises(LmbenchError, match="at least 65"):
        trained(built(corpus=short), short)


def test_sequences_are_no_longer_than_the_model() -> None:
    model = built(max_tokens=8)
    lengths = set()

    def loss(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        lengths.add(tuple(inputs.shape))
        return cross_entropy(logits, inputs, targets)

    trained(model, steps=1, loss=loss)
    assert lengths == {(training.STEP_TOKENS // 8, 8)}


@given(st.integers(1, 2000))
def test_the_rate_rises_then_falls_to_nearly_zero(steps: int) -> None:
    rates = [training._rate(step, steps) for step in range(steps)]
    top = rates.index(1.0)
    assert top < training.WARMUP_STEPS
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[-1] <= 2 / steps or steps <= 2
