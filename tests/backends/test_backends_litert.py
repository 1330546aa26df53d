"""LiteRT: files of fixed lengths that answer as torch does, and their integer levels; runs inside the engine's environment."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import Bound, Compression, Engine, FloatArray, IntArray, LanguageModel
from lmbench.compress import tflite_ways
from lmbench.compress.level import FileChange, Level
from lmbench.compress.none import build as none

pytest.importorskip(
    "litert_torch", reason="LiteRT is not installed here: run `lmbench env create litert` and test with its python"
)

from lmbench.backends import litert

LENGTHS = [4, 8]
ANY = Bound(kl_max=np.inf, top1_min=0.0, perplexity_ratio_max=np.inf)
CALIBRATION = np.random.default_rng(8).integers(0, 61, size=(4, 20))
WAYS: Mapping[str, FileChange] = {
    "int8-weight-only": tflite_ways.int8_weights,
    "int8-dynamic": tflite_ways.int8_dynamic,
    "int8-static": partial(tflite_ways.int8_static, ids=CALIBRATION, method="minmax"),
    "int4-weight-only": partial(tflite_ways.int4_weights, group_size=32),
}
# Largest logit difference to the parent, whose own have a standard deviation of 7.6.
NEAR = {"int8-weight-only": 0.4, "int8-dynamic": 0.4, "int8-static": 1.5, "int4-weight-only": 8.0}


def level(name: str, change: FileChange) -> Compression:
    return Level(name=name, lineage={"method": name}, bound=ANY, files={"tflite": change})


def load(model: LanguageModel, method: Compression | None = None, **options: object) -> Engine:
    return litert.load(model, method or none({}), {"lengths": LENGTHS, "threads": 1, **options})


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


def test_the_signatures_of_a_file_share_its_weights(decoder: LanguageModel, cache: Path) -> None:
    first = load(decoder).describe()
    again = load(decoder).describe()
    assert again == {**first, "artifact": "cached"}
    assert first["lengths"] == LENGTHS
    assert first["threads"] == 1
    # Of the table of positions only the first rows are in the file; what it holds beside weights is small.
    weights = 4 * (decoder.facts.parameters - decoder.module.places.numel())
    assert weights <= number(first["weight_bytes"]) < 1.1 * weights
    (file,) = (path for path in cache.glob("tflite/*/model.tflite") if path.stat().st_size == first["disk_bytes"])
    assert file.stat().st_size > number(first["weight_bytes"])


@pytest.mark.parametrize("name", WAYS)
def test_levels_are_near_the_parent_and_smaller(decoder: LanguageModel, name: str) -> None:
    full = load(decoder)
    engine = load(decoder, level(name, WAYS[name]))
    ids = some_ids(2, 7)
    logits = engine.forward(ids, np.arange(7), ())[0]
    difference = np.abs(logits - plain(decoder, ids)).max()
    assert 1e-4 < difference <= NEAR[name]
    last = engine.forward(ids, np.array([6]), ())[0]
    short = engine.forward(ids[:, :3], np.arange(3), ())[0]
    assert np.abs(last[:, 0] - logits[:, 6]).max() <= NEAR[name]
    assert np.abs(short - logits[:, :3]).max() <= NEAR[name]
    ratio = 0.25 if name.startswith("int4") else 0.4
    assert number(engine.describe()["weight_bytes"]) < ratio * number(full.describe()["weight_bytes"])


@pytest.mark.parametrize("name", WAYS)
def test_sharing_what_is_laid_out_changes_no_answer(decoder: LanguageModel, name: str) -> None:
    method = level(name, WAYS[name])
    file = litert.export(decoder, method, {"lengths": LENGTHS}).path
    engine, alone = load(decoder, method), litert.Compiled(file, 1, name, shared=False)
    for tokens in LENGTHS:
        ids = some_ids(1, tokens)
        assert np.array_equal(engine.forward(ids, np.arange(tokens), ())[0], alone(f"all_{tokens}", {"ids": ids}))


def test_what_the_quantizer_cannot_do_is_said(decoder: LanguageModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 48; expected one of 32, 64, 128, 256"):
        tflite_ways.int4_weights(decoder, tmp_path / "x.tflite", tmp_path, 48)
    with pytest.raises(ConfigError, match="found 'entropy'; expected minmax"):
        tflite_ways.int8_static(decoder, tmp_path / "x.tflite", tmp_path, CALIBRATION, "entropy")


class Plain(nn.Module):
    """Looks up and multiplies."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(61, 64)
        self.head = nn.Linear(64, 61, bias=False)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        return (self.head(self.table(ids.index_select(1, positions))),)


class Table(nn.Module):
    """Looks up, multiplies nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(61, 61)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        return (self.table(ids.index_select(1, positions)),)


class Chosen(Table):
    """The shape of what it computes depends on its input."""

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
        (logits,) = super().forward(ids, positions)
        row, place = torch.where(logits[0] > 0)
        return (logits.index_put((torch.zeros_like(row), row, place), torch.ones(()))[:, :],)


def around(decoder: Any, module: nn.Module, name: str = "odd") -> LanguageModel:
    facts = replace(decoder.facts, name=name, weights_digest=name)
    odd: LanguageModel = replace(decoder, module=module.eval(), state=lambda _: (), facts=facts)
    return odd


def test_zeros_of_the_weights_are_counted(decoder: Any) -> None:
    module = Plain()
    with torch.no_grad():
        module.head.weight[::2] = 0
    engine = load(around(decoder, module, "zeros"), lengths=[4])
    assert engine.describe()["zero_share"] == pytest.approx(31 / 122)


def test_a_file_without_products_cannot_be_quantized(decoder: Any) -> None:
    with pytest.raises(SubjectError, match="no product with a constant matrix"):
        load(around(decoder, Table(), "table"), level("int8-dynamic", tflite_ways.int8_dynamic), lengths=[4])


def test_groups_that_do_not_fit_a_matrix_are_a_subject_error(decoder: Any) -> None:
    change = level("wide", partial(tflite_ways.int4_weights, group_size=128))
    with pytest.raises(SubjectError, match=r"64.*not divisible by block size 128"):
        load(around(decoder, Plain(), "plain"), change, lengths=[4])


def test_a_model_that_cannot_be_converted_is_a_subject_error(decoder: Any) -> None:
    with pytest.raises(SubjectError, match="cannot convert 'odd'"):
        load(around(decoder, Chosen()), lengths=[4])


def test_more_tokens_than_the_file_takes_are_refused(decoder: LanguageModel) -> None:
    with pytest.raises(SubjectError, match="built for lengths 4, 8; set the backend's option `lengths`"):
        load(decoder).forward(some_ids(1, 9), np.array([0]), ())


@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"lengths": [0]}])
def test_wrong_options_are_faults_of_configuration(decoder: LanguageModel, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"thread|lengths"):
        load(decoder, **options)


def test_it_says_nothing(decoder: Any, capfd: pytest.CaptureFixture[str]) -> None:
    quiet = around(decoder, Plain(), "quiet")
    engine = load(quiet, level("int8-static", WAYS["int8-static"]), lengths=[3])
    engine.forward(some_ids(1, 3), np.array([2]), ())
    engine.close()
    assert capfd.readouterr() == ("", "")


def number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
