"""Chains of levels: each step gets what the one before it made, files included; impossible orders are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmbench.base.entry import MODULE, PORTABLE
from lmbench.base.errors import ConfigError
from lmbench.base.registry import COMPRESSIONS, resolve
from lmbench.base.seams import Compression, LanguageModel, ModelFacts
from lmbench.compress.chain import Chain, build
from lmbench.compress.changed import by_module
from lmbench.compress.level import FileChange, Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.precision import BF16
from lmbench.compress.quantize import INT8

PRUNE = {"compression": "prune-magnitude", "sparsity": 0.5}
INT8_STEP, BF16_STEP = {"compression": "int8-dynamic"}, {"compression": "bf16"}
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


def around() -> Any:
    torch.manual_seed(0)
    return Around(nn.Sequential(nn.Linear(16, 32), nn.Linear(32, 16)).eval())


def chain(*steps: dict[str, Any]) -> Compression:
    return build({"steps": [*steps]})


def single(step: dict[str, Any]) -> Compression:
    options = {key: value for key, value in step.items() if key != "compression"}
    level: Compression = resolve(COMPRESSIONS[step["compression"]].target)(options)
    return level


def test_models_pass_through_every_step() -> None:
    model = around()
    changed = chain(PRUNE, BF16_STEP).on_model(model, MODULE)
    by_hand = single(BF16_STEP).on_model(single(PRUNE).on_model(model, MODULE), MODULE)
    assert changed.facts == by_hand.facts
    for found, expected in zip(changed.module.parameters(), by_hand.module.parameters(), strict=True):
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, expected)
    weights = torch.cat([layer.weight.flatten() for layer in changed.module])
    assert (weights == 0).float().mean() == pytest.approx(0.5)
    assert (model.module[0].weight != 0).all()


def test_the_plain_model_is_that_of_the_steps_for_every_engine() -> None:
    model = around()
    plain = chain(PRUNE, INT8_STEP).on_model(model, PORTABLE)
    assert plain.facts == single(PRUNE).on_model(model, PORTABLE).facts
    assert chain(INT8_STEP).on_model(model, PORTABLE) is model


def test_a_chain_is_what_its_steps_are() -> None:
    found = chain(PRUNE, BF16_STEP)
    steps = [dict(single(step).lineage) for step in (PRUNE, BF16_STEP)]
    assert found.name == "chain"
    assert found.lineage == {"method": "chain", "steps": steps, "weights": "bf16"}
    assert (found.precision, found.sparse, found.bound) == ("bf16", True, BF16)
    alone = chain(PRUNE)
    assert alone.lineage == {"method": "chain", "steps": steps[:1]}
    assert (alone.precision, alone.bound) == ("fp32", LOSSLESS)
    assert (chain(INT8_STEP).sparse, chain(INT8_STEP).bound) == (False, INT8)


def test_the_bounds_of_steps_for_one_engine_add_up() -> None:
    bound = chain(PRUNE, BF16_STEP, INT8_STEP).bound
    assert bound.kl_max == pytest.approx(BF16.kl_max + INT8.kl_max)
    assert 1 - bound.top1_min == pytest.approx(2 - BF16.top1_min - INT8.top1_min)
    assert bound.perplexity_ratio_max == pytest.approx(BF16.perplexity_ratio_max * INT8.perplexity_ratio_max)
    assert 0 <= chain(*[INT8_STEP] * 9).bound.top1_min < 1e-9


def test_a_pruned_model_keeps_its_zeros_in_a_quantized_graph(tmp_path: Path) -> None:
    level = chain(PRUNE, INT8_STEP)
    changed = level.on_model(around(), "onnx")
    source = tmp_path / "model.onnx"
    onnx.save(graph_of([layer.weight.detach().numpy().T for layer in changed.module]), source)
    folder = tmp_path / "made"
    folder.mkdir()
    path = level.on_file(changed, source, folder, "onnx")
    assert path == folder / "model.onnx"
    assert [*folder.iterdir()] == [path]
    graph = onnx.load(path).graph
    assert [node.op_type for node in graph.node].count("MatMulInteger") == 1
    (integers,) = [w for w in graph.initializer if w.data_type == onnx.TensorProto.UINT8 and len(w.dims) == 2]
    (zeros,) = [w for w in graph.initializer if w.data_type == onnx.TensorProto.UINT8 and len(w.dims) < 2]
    stored = onnx.numpy_helper.to_array(integers) == onnx.numpy_helper.to_array(zeros)
    assert stored[changed.module[0].weight.detach().numpy().T == 0].all()


def graph_of(weights: list[Any]) -> Any:
    """An ONNX model that multiplies its input by each weight in turn."""
    names = ["x", *(f"after_{number}" for number in range(len(weights)))]
    initializers = [onnx.numpy_helper.from_array(np.ascontiguousarray(w), f"w{number}") for number, w in enumerate(weights)]
    nodes = [
        onnx.helper.make_node("MatMul", [names[number], f"w{number}"], [names[number + 1]], name=f"by_w{number}")
        for number in range(len(weights))
    ]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 16]) for name in (names[0], names[-1])]
    graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def writing(letter: str) -> FileChange:
    """A change that adds a letter to the file and to the one beside it."""

    def change(model: LanguageModel, path: Path, folder: Path) -> Path:
        del model
        for old in (path, path.with_suffix(".data")):
            (folder / old.name).write_text(old.read_text() + letter)
        return folder / path.name

    return change


def level(name: str, **how: Any) -> Level:
    return Level(name=name, lineage={"method": name}, bound=LOSSLESS, **how)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=6))
def test_files_pass_through_every_step_that_changes_them(tmp_path_factory: pytest.TempPathFactory, letters: list[str]) -> None:
    folder, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("made")
    source = folder / "model.bin"
    for path in (source, source.with_suffix(".data")):
        path.write_text(">")
    (made / "facts.json").write_text("{}")
    steps = [level(str(letter), files={"bin": writing(letter)} if letter else {}) for letter in letters]
    path = Chain(steps=tuple(steps), bound=LOSSLESS).on_file(PARENT, source, made, "bin")
    expected = "".join(filter(None, letters))
    assert path == (made / "model.bin" if expected else source)
    for file in (path, path.with_suffix(".data")):
        assert file.read_text() == ">" + expected
    assert source.read_text() == ">"
    names = {file.name for file in made.iterdir()}
    assert names == {"facts.json"} | ({"model.bin", "model.data"} if expected else set())


def test_the_model_cannot_change_once_its_file_has() -> None:
    model = around()
    graph = level("graph", files={"onnx": writing("a")})
    cast = level("cast", models={"onnx": by_module(lambda module: nn.Sequential(*module), {})})
    with pytest.raises(ConfigError, match="cast, which changes the model, after graph, which changes the onnx file"):
        Chain(steps=(graph, cast), bound=LOSSLESS).on_model(model, "onnx")
    assert Chain(steps=(cast, graph), bound=LOSSLESS).on_model(model, "onnx") is not model
    assert Chain(steps=(graph, cast), bound=LOSSLESS).on_model(model, MODULE) is model


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([INT8_STEP, PRUNE], r"steps\[1\]: found prune-magnitude, which makes a model for every engine, after int8-dynamic"),
        ([PRUNE, BF16_STEP, INT8_STEP, PRUNE], r"steps\[3\]: .* after bf16"),
        ([{"compression": "chain", "steps": [PRUNE]}], r"steps\[0\]: found the step 'chain'; expected .*int8-dynamic"),
        ([PRUNE, {"compression": "none"}], r"steps\[1\]: found the step 'none'"),
        ([{"compression": "int8-dynamik"}], "Did you mean 'int8-dynamic'"),
        ([{"sparsity": 0.5}], r"steps\[0\]: found \{'sparsity': 0.5\}; expected a mapping with compression"),
        (["bf16"], r"steps\[0\]: found 'bf16'"),
        ([], r"steps: found \[\]; expected a list"),
        ("bf16", "steps: found 'bf16'; expected a list"),
        (None, "steps: found nothing"),
        ([{**PRUNE, "sparsity": 2}], "compression prune-magnitude: sparsity: found 2"),
        ([{**BF16_STEP, "bits": 8}], "compression bf16: bits"),
    ],
)
def test_impossible_chains_are_refused(steps: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build({"steps": steps})


def test_every_fault_of_a_kind_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        chain({"compression": "chain"}, PRUNE, {"compression": "nothing"})
    assert len(caught.value.problems) == 2


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"step: .*Did you mean 'steps'"):
        build({"step": []})
