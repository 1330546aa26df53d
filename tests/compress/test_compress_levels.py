"""Compression levels: what they change, what they leave alone, what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lmbench.base.entry import MODULE, PORTABLE
from lmbench.base.errors import ConfigError
from lmbench.base.registry import COMPRESSIONS, resolve
from lmbench.base.seams import Compression, ModelFacts
from lmbench.data.corpora import split

OPTIONS: dict[str, dict[str, Any]] = {
    "prune-magnitude": {"sparsity": 0.5},
    "prune-layerwise": {"sparsity": 0.5},
    "prune-threshold": {"threshold": 0.05},
    "prune-structured": {"neurons": 0.5},
}
LEVELS = sorted(set(COMPRESSIONS) - {"chain", "distil"})
ON_MODULES = sorted(name for name in LEVELS if {MODULE, PORTABLE} & set(COMPRESSIONS[name].ways) and name != "prune-structured")
"""Those that change any module with Linear layers; taking heads out needs a Transformer."""
CORPUS = split("words", "a few words of text, again and again. " * 200)


class Tied(nn.Module):
    """Embedding, one free layer, a head that shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(40, 32)
        self.between = nn.Linear(32, 32)
        self.head = nn.Linear(32, 40, bias=False)
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
    method: Compression = resolve(COMPRESSIONS[name].target)(options or OPTIONS.get(name, {}), CORPUS, 0)
    return method


@pytest.mark.parametrize("name", ["none", *ON_MODULES])
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
    assert method.sparse == (name.startswith("prune-") and name != "prune-structured")


@pytest.mark.parametrize("name", LEVELS)
def test_unknown_options_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="sparcity"):
        level(name, sparcity=0.5)


def test_int8_leaves_modules_alone_for_engines_that_take_graphs() -> None:
    module = Tied().eval()
    assert changed_by(level("int8-dynamic"), module, "onnx") is module
    assert changed_by(level("prune-magnitude"), module, "onnx") is not module


def test_a_model_is_changed_once_for_the_engine_and_for_what_it_is_compared_with() -> None:
    method = level("prune-magnitude")
    first: Any = Around(Tied().eval())
    other: Any = Around(Tied().eval())
    changed = method.on_model(first, MODULE)
    assert method.on_model(first, PORTABLE) is changed
    assert method.on_model(other, MODULE) is not changed


@pytest.mark.parametrize("name", ["none", "prune-magnitude"])
def test_levels_without_a_way_with_graphs_return_the_file(name: str, tmp_path: Path) -> None:
    assert level(name).on_file(PARENT, tmp_path / "model.onnx", tmp_path, "onnx") == tmp_path / "model.onnx"
