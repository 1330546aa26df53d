"""Compression levels: what they change, what they leave alone, what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lmbench.base.errors import ConfigError
from lmbench.base.registry import COMPRESSIONS, resolve
from lmbench.base.seams import Compression

OPTIONS: dict[str, dict[str, Any]] = {"prune-magnitude": {"sparsity": 0.5}}
LEVELS = sorted(COMPRESSIONS)


class Tied(nn.Module):
    """Embedding, one free layer, a head that shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(40, 24)
        self.between = nn.Linear(24, 24)
        self.head = nn.Linear(24, 40, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.between(self.tokens(ids)))
        return logits


def level(name: str, **options: Any) -> Compression:
    method: Compression = resolve(COMPRESSIONS[name].target)(options or OPTIONS.get(name, {}))
    return method


@pytest.mark.parametrize("name", LEVELS)
def test_the_parent_keeps_its_weights_and_ties(name: str) -> None:
    module, same = Tied().eval(), Tied().eval()
    changed = level(name).on_module(module, "module")
    assert (changed is module) == (name == "none")
    assert module.head.weight is module.tokens.weight
    assert module.tokens.weight.dtype == torch.float32
    for parameter, before in zip(module.parameters(), same.parameters(), strict=True):
        assert torch.equal(parameter, before)


@pytest.mark.parametrize("name", LEVELS)
def test_lineage_names_the_method(name: str) -> None:
    method = level(name)
    assert method.name == name == method.lineage["method"]


@pytest.mark.parametrize("name", LEVELS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="sparcity"):
        level(name, sparcity=0.5)


def test_bf16_casts_everything() -> None:
    changed = level("bf16").on_module(Tied().eval(), "module")
    assert {parameter.dtype for parameter in changed.parameters()} == {torch.bfloat16}
    assert changed.head.weight is changed.tokens.weight


def test_int8_unties_the_head_and_keeps_the_embedding() -> None:
    module: Any = Tied().eval()
    changed = level("int8-dynamic").on_module(module, "module")
    assert changed.head.weight is not changed.tokens.weight
    assert torch.equal(changed.tokens.weight, module.tokens.weight)
    assert changed.between.weight.qdata.dtype == torch.int8
    ids = torch.arange(12).reshape(2, 6)
    with torch.inference_mode():
        assert (changed(ids) - module(ids)).abs().max() < 0.05 * module(ids).abs().max()


def test_int8_leaves_modules_alone_for_engines_that_take_graphs() -> None:
    module = Tied().eval()
    assert level("int8-dynamic").on_module(module, "onnx") is module
    assert level("prune-magnitude").on_module(module, "onnx") is not module


@pytest.mark.parametrize("name", ["none", "prune-magnitude"])
def test_levels_without_a_way_with_graphs_return_the_file(name: str, tmp_path: Path) -> None:
    assert level(name).on_graph(tmp_path / "model.onnx", tmp_path) == tmp_path / "model.onnx"


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_pruning_zeroes_exactly_the_smallest_weights(sparsity: float) -> None:
    module: Any = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))
    changed = level("prune-magnitude", sparsity=sparsity).on_module(module, "module")
    weights = torch.cat([layer.weight.flatten() for layer in changed])
    before = torch.cat([layer.weight.flatten() for layer in module])
    gone = weights == 0
    assert int(gone.sum()) == round(sparsity * weights.numel())
    assert before[gone].abs().max() <= before[~gone].abs().min()
    assert torch.equal(weights[~gone], before[~gone])
    assert {name for name, _ in changed.named_parameters()} == {name for name, _ in module.named_parameters()}
    assert all(torch.equal(new.bias, old.bias) for new, old in zip(changed, module, strict=True))


def test_graphs_keep_contracting_layers_in_fp32(tmp_path: Path) -> None:
    weights = {"grow": (8, 32), "square": (32, 32), "shrink": (32, 8)}
    source = tmp_path / "model.onnx"
    onnx.save(chain(weights), source)
    (tmp_path / "small").mkdir()
    graph = onnx.load(level("int8-dynamic").on_graph(source, tmp_path / "small")).graph
    kept = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2}
    assert kept == {"shrink"}
    assert [node.op_type for node in graph.node].count("MatMulInteger") == 2
    integers = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2} - {onnx.TensorProto.FLOAT}
    assert integers == {onnx.TensorProto.UINT8}


def chain(weights: dict[str, tuple[int, int]]) -> Any:
    """An ONNX model that multiplies its input by each weight in turn."""
    rng = np.random.default_rng(0)
    initializers = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in weights.items()
    ]
    names = ["x", *(f"after_{name}" for name in weights)]
    nodes = [
        onnx.helper.make_node("MatMul", [before, weight], [after], name=f"by_{weight}")
        for before, weight, after in zip(names, weights, names[1:], strict=False)
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 8]) for name in (names[0], names[-1])]
    graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def test_pruning_leaves_the_embedding_and_its_head_alone() -> None:
    module = Tied().eval()
    changed = level("prune-magnitude").on_module(module, "module")
    assert torch.equal(changed.head.weight, module.head.weight)
    assert changed.head.weight is changed.tokens.weight
    assert int((changed.between.weight == 0).sum()) == 24 * 24 // 2


@pytest.mark.parametrize("sparsity", [0, 1, -0.1, 1.5, "half", True, None])
def test_impossible_sparsities_are_refused(sparsity: object) -> None:
    with pytest.raises(ConfigError, match="sparsity"):
        level("prune-magnitude", sparsity=sparsity)


def test_a_model_without_linear_layers_cannot_be_pruned() -> None:
    with pytest.raises(ConfigError, match="Linear"):
        level("prune-magnitude").on_module(nn.Embedding(4, 4), "module")
