"""Compression levels: what they change, what they leave alone, what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError
from lmbench.base.registry import COMPRESSIONS, resolve
from lmbench.base.seams import Compression, ModelFacts

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


FACTS = ModelFacts(
    name="m",
    family="tests",
    parameters=1,
    vocab_size=40,
    max_tokens=8,
    carries_state=False,
    weights_digest="w",
    code_digest="c",
)


@dataclass(frozen=True)
class Around:
    """A module as the parent that levels get."""

    module: Any
    form: str = "module"
    facts: ModelFacts = FACTS


PARENT: Any = Around(None)


def changed_by(method: Compression, module: Any, weights: str = MODULE) -> Any:
    """The module of what the level makes of `module`."""
    model: Any = Around(module)
    changed = method.on_model(model, weights)
    assert (changed.facts == model.facts) == (changed is model)
    return changed.module


def level(name: str, **options: Any) -> Compression:
    method: Compression = resolve(COMPRESSIONS[name].target)(options or OPTIONS.get(name, {}))
    return method


@pytest.mark.parametrize("name", LEVELS)
def test_the_parent_keeps_its_weights_and_ties(name: str) -> None:
    module, same = Tied().eval(), Tied().eval()
    changed = changed_by(level(name), module)
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
def test_ways_are_those_the_registry_tells(name: str) -> None:
    method: Any = level(name)
    assert {*method.models, *method.files} == set(COMPRESSIONS[name].ways)
    assert method.sparse == ("sparsity" in method.lineage)


@pytest.mark.parametrize("name", LEVELS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="sparcity"):
        level(name, sparcity=0.5)


def test_bf16_casts_everything() -> None:
    changed = changed_by(level("bf16"), Tied().eval())
    assert {parameter.dtype for parameter in changed.parameters()} == {torch.bfloat16}
    assert changed.head.weight is changed.tokens.weight


def test_int8_unties_the_head_and_keeps_the_embedding() -> None:
    module: Any = Tied().eval()
    changed = changed_by(level("int8-dynamic"), module)
    assert changed.head.weight is not changed.tokens.weight
    assert torch.equal(changed.tokens.weight, module.tokens.weight)
    assert changed.between.weight.qdata.dtype == torch.int8
    ids = torch.arange(12).reshape(2, 6)
    with torch.inference_mode():
        assert (changed(ids) - module(ids)).abs().max() < 0.05 * module(ids).abs().max()


def test_int8_leaves_modules_alone_for_engines_that_take_graphs() -> None:
    module = Tied().eval()
    assert changed_by(level("int8-dynamic"), module, "onnx") is module
    assert changed_by(level("prune-magnitude"), module, "onnx") is not module


@pytest.mark.parametrize("name", ["none", "prune-magnitude"])
def test_levels_without_a_way_with_graphs_return_the_file(name: str, tmp_path: Path) -> None:
    assert level(name).on_file(PARENT, tmp_path / "model.onnx", tmp_path, "onnx") == tmp_path / "model.onnx"


def test_graphs_keep_contracting_layers_in_fp32(tmp_path: Path) -> None:
    weights = {"grow": (8, 32), "square": (32, 32), "shrink": (32, 8)}
    source = tmp_path / "model.onnx"
    onnx.save(chain(weights), source)
    (tmp_path / "small").mkdir()
    graph = onnx.load(level("int8-dynamic").on_file(PARENT, source, tmp_path / "small", "onnx")).graph
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
