"""TensorFlow SavedModels of fixed lengths that answer as torch does; runs inside the engine's environment."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Engine, FloatArray, IntArray, LanguageModel
from lmbench.compress.none import build as none
from lmbench.compress.prune import build_magnitude

pytest.importorskip("tensorflow", reason="TensorFlow is not here: run `lmbench env create tensorflow` and test with its python")
pytest.importorskip("litert_torch", reason="LiteRT's converter is not here: run `lmbench env create tensorflow`")

from lmbench.backends import savedmodel

LENGTHS = [4, 8]


def load(model: LanguageModel, **options: object) -> Engine:
    return savedmodel.load(model, none({}), {"lengths": LENGTHS, "threads": 1, **options})


def some_ids(batch: int, tokens: int) -> IntArray:
    return np.random.default_rng(3).integers(0, 61, size=(batch, tokens))


def plain(model: LanguageModel, ids: IntArray) -> FloatArray:
    with torch.no_grad():
        out = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(len(ids)))
    logits: FloatArray = out[0].numpy()
    return logits


def test_it_answers_as_torch_does(model: LanguageModel) -> None:
    before = copy.deepcopy(model.module.state_dict())
    engine = load(model)
    ids = some_ids(3, 8)
    expected = plain(model, ids)
    for tokens in (8, 6, 4, 1):
        logits, state = engine.forward(ids[:, :tokens], np.arange(tokens), engine.empty_state(3))
        assert logits.shape == (3, tokens, 61)
        assert logits.dtype == np.float32
        assert state == ()
        assert np.abs(logits - expected[:, :tokens]).max() <= 1e-4
    for tokens in range(3, 9):  # a prefill and the steps after it, each over all tokens so far
        logits, _ = engine.forward(ids[:, :tokens], np.array([tokens - 1]), ())
        assert np.abs(logits[:, 0] - expected[:, tokens - 1]).max() <= 1e-4
    some, _ = engine.forward(ids, np.array([7, 2]), ())
    assert np.abs(some - expected[:, [7, 2]]).max() <= 1e-4
    engine.close()
    assert all(torch.equal(tensor, model.module.state_dict()[name]) for name, tensor in before.items())


def test_the_signatures_share_the_weights_a_tied_one_once(decoder: LanguageModel, cache: Path) -> None:
    first = load(decoder).describe()
    assert load(decoder).describe() == {**first, "artifact": "cached"}
    assert first["lengths"] == LENGTHS
    assert first["threads"] == 1
    assert first["weight_bytes"] == decoder.facts.parameters * 4
    folders = [path.parent for path in cache.glob("savedmodel/*/model/saved_model.pb")]
    sizes = {sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()): folder for folder in folders}
    folder = sizes[first["disk_bytes"]]  # type: ignore[index]
    (variables,) = folder.glob("variables/*.data-*")
    assert decoder.facts.parameters * 4 <= variables.stat().st_size < 1.1 * decoder.facts.parameters * 4


class Plain(nn.Module):
    """Looks up and multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(61, 64)
        self.head = nn.Linear(64, 61, bias=False)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        return (self.head(self.table(ids.index_select(1, positions))),)


class Chosen(nn.Module):
    """The shape of what it computes depends on its input."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(61, 61)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        logits = self.table(ids.index_select(1, positions))
        row, place = torch.where(logits[0] > 0)
        return (logits.index_put((torch.zeros_like(row), row, place), torch.ones(())),)


def around(decoder: Any, module: nn.Module, name: str) -> LanguageModel:
    facts = replace(decoder.facts, name=name, weights_digest=name)
    odd: LanguageModel = replace(decoder, module=module.eval(), state=lambda _: (), facts=facts)
    return odd


def test_a_portable_level_shows_in_the_weights(decoder: Any) -> None:
    level = build_magnitude({"sparsity": 0.5})
    pruned = level.on_model(around(decoder, Plain(), "plain"), savedmodel.WEIGHTS)
    engine = savedmodel.load(pruned, level, {"lengths": [4], "threads": 1})
    ids = some_ids(1, 3)
    assert np.abs(engine.forward(ids, np.arange(3), ())[0] - plain(pruned, ids)).max() <= 1e-4
    assert engine.describe()["zero_share"] == pytest.approx(0.25)


def test_a_model_that_cannot_be_lowered_is_a_subject_error(decoder: Any) -> None:
    with pytest.raises(SubjectError, match="cannot lower 'odd'"):
        load(around(decoder, Chosen(), "odd"), lengths=[4])


def test_another_number_of_threads_needs_another_process(decoder: LanguageModel) -> None:
    load(decoder).forward(some_ids(1, 3), np.array([0]), ())
    with pytest.raises(SubjectError, match="runs with 1 threads in this process; expected 2"):
        load(decoder, threads=2)


@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"lengths": [0]}])
def test_wrong_options_are_faults_of_configuration(decoder: LanguageModel, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"thread|lengths"):
        load(decoder, **options)


def test_it_says_nothing(decoder: Any, capfd: pytest.CaptureFixture[str]) -> None:
    load(around(decoder, Plain(), "quiet"), lengths=[3]).forward(some_ids(1, 3), np.array([2]), ())
    assert capfd.readouterr() == ("", "")
