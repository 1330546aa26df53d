"""Every engine at every level it takes: decoding from the state gives what one full forward gives, near the parent."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmbench.base.errors import ConfigError, Unavailable
from lmbench.base.registry import BACKENDS, COMPRESSIONS, resolve
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel

SPARSITY = {"prune-magnitude": {"sparsity": 0.5}}
CELLS = [
    ("torch", "none"),
    ("torch", "bf16"),
    ("torch", "int8-dynamic"),
    ("torch", "prune-magnitude"),
    ("onnxruntime", "none"),
    ("onnxruntime", "int8-dynamic"),
    ("onnxruntime", "prune-magnitude"),
]
# Largest logit difference between decoding and a full pass; quantized activations depend on what shares a tensor.
STEPWISE = {"none": 1e-4, "bf16": 0.3, "int8-dynamic": 0.3, "prune-magnitude": 1e-4}
PARENT = {"none": 1e-4, "bf16": 0.3, "int8-dynamic": 0.5, "prune-magnitude": np.inf}


def level(name: str) -> Compression:
    method: Compression = resolve(COMPRESSIONS[name].target)(SPARSITY.get(name, {}))
    return method


def load(model: LanguageModel, backend: str, compression: str, **options: object) -> Engine:
    engine: Engine = resolve(BACKENDS[backend].target)(
        level(compression).on_model(model, BACKENDS[backend].weights), level(compression), options
    )
    return engine


def some_ids(batch: int, tokens: int) -> IntArray:
    return np.random.default_rng(3).integers(0, 61, size=(batch, tokens))


def parent(model: LanguageModel, ids: IntArray) -> FloatArray:
    with torch.no_grad():
        out = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(ids.shape[0]))
    logits: FloatArray = out[0].numpy()
    return logits


@pytest.mark.parametrize(("backend", "compression"), CELLS)
def test_decoding_from_the_state_equals_a_full_forward(model: LanguageModel, backend: str, compression: str) -> None:
    engine = load(model, backend, compression)
    ids = some_ids(3, 12)
    full, _ = engine.forward(ids, np.arange(12), engine.empty_state(3))
    assert full.shape == (3, 12, 61)
    assert full.dtype == np.float32
    assert np.abs(full - parent(model, ids)).max() <= PARENT[compression]
    last, state = engine.forward(ids[:, :5], np.array([4]), engine.empty_state(3))
    assert np.abs(last[:, 0] - full[:, 4]).max() <= STEPWISE[compression]
    for place in range(5, 12):
        step, state = engine.forward(ids[:, place : place + 1], np.array([0]), state)
        assert step.shape == (3, 1, 61)
        assert np.abs(step[:, 0] - full[:, place]).max() <= STEPWISE[compression]
    engine.close()


@pytest.mark.parametrize(("backend", "compression"), CELLS)
def test_the_parent_is_untouched(model: LanguageModel, backend: str, compression: str) -> None:
    before = copy.deepcopy(model.module.state_dict())
    engine = load(model, backend, compression)
    engine.forward(some_ids(1, 3), np.array([2]), engine.empty_state(1))
    engine.close()
    after = model.module.state_dict()
    assert list(before) == list(after)
    for name, tensor in before.items():
        assert tensor.dtype == after[name].dtype
        assert torch.equal(tensor, after[name])
    if model.facts.name == "tiny-decoder":
        assert model.module.head.weight is model.module.tokens.weight


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_int8_is_smaller_in_memory_and_on_disk(decoder: LanguageModel, backend: str) -> None:
    full, small = (load(decoder, backend, name).describe() for name in ("none", "int8-dynamic"))
    assert _number(full["weight_bytes"]) >= 4 * decoder.facts.parameters
    assert _number(small["weight_bytes"]) < 0.75 * _number(full["weight_bytes"])
    if backend == "torch":  # the names and scales of a graph this small outweigh its weights
        assert _number(small["disk_bytes"]) < 0.75 * _number(full["disk_bytes"])


def test_bf16_halves_weights_and_state(decoder: LanguageModel) -> None:
    engine = load(decoder, "torch", "bf16")
    assert engine.describe()["weight_bytes"] == 2 * decoder.facts.parameters
    assert engine.describe()["state_dtype"] == "bfloat16"
    _, state = engine.forward(some_ids(1, 3), np.array([2]), engine.empty_state(1))
    assert {part.dtype for part in state} == {torch.bfloat16}


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_pruning_shows_in_the_share_of_zeros(decoder: LanguageModel, backend: str) -> None:
    layers = [m for m in decoder.module.modules() if isinstance(m, torch.nn.Linear) and m is not decoder.module.head]
    zeros = 0.5 * sum(layer.weight.numel() for layer in layers)
    engine = load(decoder, backend, "prune-magnitude").describe()
    # The graph keeps the tied head and its transposed copy, so that its share has a larger denominator.
    stored = decoder.facts.parameters if backend == "torch" else _number(engine["weight_bytes"]) / 4
    assert _number(engine["zero_share"]) == pytest.approx(zeros / stored, abs=0.01)


def test_a_state_part_knows_its_bytes(decoder: LanguageModel) -> None:
    for backend in ("torch", "onnxruntime"):
        engine = load(decoder, backend, "none")
        _, state = engine.forward(some_ids(2, 5), np.array([4]), engine.empty_state(2))
        assert [part.nbytes for part in state] == [2 * 2 * 5 * 16 * 4] * 4


def test_the_disk_size_is_that_of_the_safetensors_file(model: LanguageModel, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from lmbench.backends.torch_weights import disk_bytes

    state = dict(model.module.state_dict())
    if model.facts.name == "tiny-decoder":
        del state["head.weight"]  # the tied one is stored once, under the first of its names
    save_file(state, tmp_path / "weights.safetensors")
    assert disk_bytes(model.module) == (tmp_path / "weights.safetensors").stat().st_size


def test_an_export_is_made_once(decoder: LanguageModel, cache: Path) -> None:
    load(decoder, "onnxruntime", "none")
    files = sorted(cache.glob("onnx/*/model.onnx"))
    again = load(decoder, "onnxruntime", "none")
    assert again.describe()["artifact"] == "cached"
    assert sorted(cache.glob("onnx/*/model.onnx")) == files


def test_a_model_whose_code_is_not_known_is_exported_anew(decoder: LanguageModel, cache: Path) -> None:
    """Its weights may be the same while its code is not: a kept export would measure the code of yesterday."""
    unknown = dataclasses.replace(decoder, facts=dataclasses.replace(decoder.facts, code_digest=None))  # type: ignore[type-var]
    files = sorted(cache.glob("onnx/*/model.onnx"))
    assert [load(unknown, "onnxruntime", "none").describe()["artifact"] for _ in range(2)] == ["built", "cached"]
    assert sorted(cache.glob("onnx/*/model.onnx")) == files


def test_exporting_says_nothing(recurrent: LanguageModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from lmbench.backends.onnx_export import export_module

    export_module(recurrent, tmp_path / "quiet.onnx")
    assert capfd.readouterr() == ("", "")


def test_threads_are_set_and_given_back(decoder: LanguageModel) -> None:
    before = torch.get_num_threads()
    engine = load(decoder, "torch", "none", threads=1)
    assert engine.describe()["threads"] == torch.get_num_threads() == 1
    engine.close()
    assert torch.get_num_threads() == before
    assert load(decoder, "onnxruntime", "none", threads=1).describe()["threads"] == 1


@pytest.mark.parametrize("backend", ["torch", "torch-compile", "onnxruntime"])
@pytest.mark.parametrize("options", [{"thread": 2}, {"threads": 0}, {"threads": True}])
def test_wrong_options_are_faults_of_configuration(decoder: LanguageModel, backend: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="thread"):
        load(decoder, backend, "none", **options)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", 0])
def test_a_device_that_is_none_is_a_fault(decoder: LanguageModel, device: object) -> None:
    with pytest.raises(ConfigError, match="expected cpu, cuda or cuda:N"):
        load(decoder, "torch", "none", device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_comes_with_its_remedy(decoder: LanguageModel) -> None:
    with pytest.raises(Unavailable, match="use device: cpu"):
        load(decoder, "torch", "none", device="cuda")


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
