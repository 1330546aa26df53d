"""Training: the loss falls, accumulation is a larger batch, the parent stays as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from lmbench.backends.torch_training import load
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.compress.none import build as none
from lmbench.compress.precision import build_bf16


def batch(sequences: int) -> tuple[IntArray, IntArray]:
    ids = np.random.default_rng(9).integers(0, 61, size=(sequences, 13))
    return ids[:, :-1], ids[:, 1:]


@pytest.mark.parametrize("precision", ["fp32", "bf16-autocast"])
def test_the_loss_falls_and_the_parent_stays(model: LanguageModel, precision: str) -> None:
    before = copy.deepcopy(model.module.state_dict())
    trainer = load(model, none({}), {"learning_rate": 1e-2, "precision": precision})
    ids, targets = batch(4)
    start = trainer.loss(ids, targets)
    reports = [trainer.step(ids, targets) for _ in range(10)]
    assert reports[0][0] == pytest.approx(start, rel=1e-3)
    assert all(norm > 0 for _, norm in reports)
    assert trainer.loss(ids, targets) < 0.9 * start
    assert all(torch.equal(tensor, model.module.state_dict()[name]) for name, tensor in before.items())
    assert not model.module.training
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_loss_is_that_of_the_formula(decoder: LanguageModel) -> None:
    ids, targets = batch(2)
    with torch.no_grad():
        logits = decoder.module(torch.tensor(ids), torch.arange(12), *decoder.empty_state(2))[0].double()
    expected = -logits.log_softmax(-1).gather(-1, torch.tensor(targets)[..., None]).mean().item()
    assert load(decoder, none({}), {}).loss(ids, targets) == pytest.approx(expected, rel=1e-5)


def test_accumulating_two_slices_equals_one_double_batch(decoder: LanguageModel) -> None:
    ids, targets = batch(6)
    whole = load(decoder, none({}), {"learning_rate": 1e-2})
    sliced = load(decoder, none({}), {"learning_rate": 1e-2, "accumulate": 2})
    for _ in range(3):
        assert sliced.step(ids, targets) == pytest.approx(whole.step(ids, targets), rel=1e-3)
    assert sliced.loss(ids, targets) == pytest.approx(whole.loss(ids, targets), rel=1e-3)
    with pytest.raises(SubjectError, match="3 sequences cannot be cut into 2"):
        sliced.step(*batch(3))


def test_the_gradient_is_that_of_a_step_and_nothing_moves(decoder: LanguageModel) -> None:
    ids, targets = batch(4)
    trainer = load(decoder, none({}), {"learning_rate": 1e-2})
    before = trainer.loss(ids, targets)
    found = trainer.gradient(ids, targets)
    assert trainer.gradient(ids, targets) == found
    assert trainer.loss(ids, targets) == before
    assert trainer.step(ids, targets) == pytest.approx(found)
    assert trainer.loss(ids, targets) < before


def test_memory_terms_are_known_after_the_first_step(decoder: LanguageModel) -> None:
    trainer = load(decoder, none({}), {})
    before = trainer.describe()
    assert before["gradient_bytes"] is None
    assert before["optimizer_bytes"] is None
    trainer.step(*batch(1))
    after = trainer.describe()
    size = 4 * decoder.facts.parameters
    assert after["parameter_bytes"] == after["gradient_bytes"] == size
    steps = 4 * len(list(decoder.module.parameters()))
    assert after["optimizer_bytes"] == 2 * size + steps  # two moments, and a step counter for each tensor


def test_only_uncompressed_models_are_trained(decoder: LanguageModel) -> None:
    with pytest.raises(SubjectError, match="compression 'bf16'"):
        load(decoder, build_bf16({}), {})


@pytest.mark.parametrize("options", [{"learning_rate": 0}, {"precision": "fp16"}, {"accumulate": 0}, {"optimizer": "sgd"}])
def test_wrong_options_are_faults_of_configuration(decoder: LanguageModel, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        load(decoder, none({}), options)
