"""OpenVINO files of fewer bits: what becomes of the weights, what is asked of the activations, what stays as it was."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import IntArray
from lmbench.compress import openvino_ways as ways

# pytest.importorskip would import them, which is reported to their maker.
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openvino", "nncf")),
    reason="openvino or nncf is not installed; run: pip install 'pytest-lmbench[openvino]'",
)

VOCAB, WIDTH, HIDDEN = 40, 64, 48
ACTIVATIONS = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Facts:
    details: Mapping[str, object]
    name: str = "m"


@dataclass(frozen=True)
class Parent:
    """As much of a model as the ways ask for: a state of an empty cache and of what a recurrent cell carries."""

    facts: Facts = Facts(details={})

    def empty_state(self, batch: int) -> tuple[Array, ...]:
        return (np.zeros((batch, 1, 0, WIDTH), dtype=np.float32), np.zeros((batch, HIDDEN), dtype=np.float32))


PARENT: Any = Parent()
IDS: IntArray = np.random.default_rng(1).integers(0, VOCAB, size=(8, 12))
rng = np.random.default_rng(0)
SHAPES = {"tokens": (VOCAB, WIDTH), "grow": (HIDDEN, WIDTH), "again": (HIDDEN, HIDDEN), "head": (VOCAB, HIDDEN)}
WEIGHTS: dict[str, Array] = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
WAYS: dict[str, Any] = {
    "int8_weights": ways.int8_weights,
    "int4_weights": partial(ways.int4_weights, group_size=32),
    "int8_dynamic": ways.int8_dynamic,
    "int8_static": partial(ways.int8_static, ids=IDS, method="minmax"),
}


def hidden(ids: IntArray, before: Array, weights: Mapping[str, Array] = WEIGHTS) -> Array:
    """What the model below carries on from `before` [B, HIDDEN], at every one of ids [B, T]."""
    y: Array = np.tanh(weights["tokens"][ids] @ weights["grow"].T + (before @ weights["again"].T)[:, None])
    return y


def plain(ids: IntArray, weights: Mapping[str, Array] = WEIGHTS) -> Array:
    """Its logits [B, T, V] from the empty state."""
    logits: Array = hidden(ids, PARENT.empty_state(len(ids))[1], weights) @ weights["head"].T
    return logits


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file by the model contract: a cache, a hidden state that the next call goes on from, layers of 64 and 48 inputs."""
    library = openvino()
    ops = library.opset13
    ids, positions = ops.parameter([-1, -1], np.int64), ops.parameter([-1], np.int64)
    past = [ops.parameter(shape, np.float32) for shape in ([-1, 1, -1, WIDTH], [-1, HIDDEN])]
    weights = {name: ops.constant(array) for name, array in WEIGHTS.items()}
    x = ops.gather(weights["tokens"], ids, ops.constant(0))
    carried = ops.unsqueeze(ops.matmul(past[1], weights["again"], False, True), ops.constant(1))
    y = ops.tanh(ops.add(ops.matmul(x, weights["grow"], False, True), carried))
    logits = ops.gather(ops.matmul(y, weights["head"], False, True), positions, ops.constant(1))
    present = [ops.concat([past[0], ops.unsqueeze(x, ops.constant(1))], 2), ops.gather(y, ops.constant(-1), ops.constant(1))]
    inputs = {"ids": ids, "positions": positions, "past_0": past[0], "past_1": past[1]}
    outputs = {"logits": logits, "present_0": present[0], "present_1": present[1]}
    for name, node in {**inputs, **outputs}.items():
        node.output(0).set_names({name})
    path = tmp_path_factory.mktemp("fp32") / "model.xml"
    graph = library.Model([ops.result(node) for node in outputs.values()], list(inputs.values()), "m")
    library.save_model(graph, path, compress_to_fp16=False)
    return path


@pytest.fixture(scope="module")
def files(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each way makes of it."""
    return {name: way(PARENT, source, tmp_path_factory.mktemp(name)) for name, way in WAYS.items()}


def openvino() -> Any:
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino as library

    return library


def constants(path: Path) -> set[tuple[str, tuple[int, ...]]]:
    """Element types and shapes of a file's constants."""
    nodes = [node for node in openvino().Core().read_model(path).get_ops() if node.get_type_name() == "Constant"]
    return {(node.get_element_type().get_type_name(), tuple(node.shape)) for node in nodes}


def int8_times_scale(path: Path) -> dict[str, Array]:
    """The weights a file of int8 weights stands for: integers, converted, times a scale for each row."""
    found: dict[str, Array] = {}
    for node in openvino().Core().read_model(path).get_ops():
        parts = [value.get_node() for value in node.input_values()] if node.get_type_name() == "Multiply" else []
        if [part.get_type_name() for part in parts] == ["Convert", "Constant"]:
            product = parts[0].input_value(0).get_node().data * parts[1].data.astype(np.float32)
            found |= {name: product for name, shape in SHAPES.items() if shape == product.shape}
    return found


def compiled(path: Path) -> Any:
    return openvino().Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})


def feed(ids: IntArray, state: tuple[Array, ...]) -> dict[str, Array]:
    return {"ids": ids, "positions": np.arange(ids.shape[1]), "past_0": state[0], "past_1": state[1]}


def answered(path: Path, ids: IntArray = IDS) -> Array:
    """Logits of a file for ids from the empty state."""
    logits: Array = compiled(path)(feed(ids, PARENT.empty_state(len(ids))))["logits"]
    return logits


@pytest.mark.parametrize(
    ("name", "largest"), [("int8_weights", 0.04), ("int4_weights", 0.5), ("int8_dynamic", 0.08), ("int8_static", 0.08)]
)
def test_answers_are_near_the_plain_ones(files: dict[str, Path], name: str, largest: float) -> None:
    assert 0 < np.abs(answered(files[name]) - plain(IDS)).max() < largest * np.abs(plain(IDS)).max()


@pytest.mark.parametrize("name", WAYS)
def test_inputs_and_outputs_keep_their_names_and_free_sizes(files: dict[str, Path], name: str) -> None:
    model = compiled(files[name])
    assert [value.any_name for value in model.inputs] == ["ids", "positions", "past_0", "past_1"]
    assert [value.any_name for value in model.outputs] == ["logits", "present_0", "present_1"]
    assert answered(files[name], IDS[:3, :1]).shape == (3, 1, VOCAB)


@pytest.mark.parametrize("name", WAYS)
def test_only_int8_dynamic_asks_for_activations_as_they_come(files: dict[str, Path], name: str) -> None:
    assert compiled(files[name]).get_property(ACTIVATIONS) == (32 if name == "int8_dynamic" else 0)


def test_weights_are_rounded_to_the_nearest_step(files: dict[str, Path]) -> None:
    found = int8_times_scale(files["int8_weights"])
    assert found.keys() == WEIGHTS.keys()
    for name, weight in WEIGHTS.items():
        steps = np.abs(found[name] - weight) / (np.abs(weight).max(axis=1, keepdims=True) / 127)
        # The step itself is kept in fp16, to one part in 2048. What would round to 128 is cut to 127.
        assert steps.max() <= 1
        assert np.quantile(steps, 0.99) <= 0.5 + 128 / 2048


def test_weights_only_means_that_activations_are_not_rounded(files: dict[str, Path]) -> None:
    expected = plain(IDS, int8_times_scale(files["int8_weights"]))
    weights_only, dynamic = (np.abs(answered(files[name]) - expected).max() for name in ("int8_weights", "int8_dynamic"))
    assert weights_only < 1e-3
    assert dynamic > 0.05


@pytest.mark.parametrize("group", [16, 32, 64])
def test_embedding_head_and_what_no_group_divides_stay_int8(source: Path, tmp_path: Path, group: int) -> None:
    found = constants(ways.int4_weights(PARENT, source, tmp_path, group))
    assert ("u4", (HIDDEN, WIDTH // group, group)) in found
    assert {("i8", SHAPES[name]) for name in ("tokens", "head")} <= found
    assert (("i8", SHAPES["again"]) in found) == (HIDDEN % group > 0)


def test_a_model_of_embedding_and_head_alone_becomes_int4(tmp_path: Path) -> None:
    library = openvino()
    ops = library.opset13
    ids = ops.parameter([-1, -1], np.int64, name="ids")
    x = ops.gather(ops.constant(WEIGHTS["tokens"]), ids, ops.constant(0))
    logits = ops.result(ops.matmul(x, ops.constant(WEIGHTS["tokens"] + 1), False, True))
    (tmp_path / "small").mkdir()
    library.save_model(library.Model([logits], [ids], "m"), tmp_path / "model.xml", compress_to_fp16=False)
    found = constants(ways.int4_weights(PARENT, tmp_path / "model.xml", tmp_path / "small", 32))
    assert ("u4", (VOCAB, WIDTH // 32, 32)) in found
    assert not {kind for kind, shape in found if shape == SHAPES["tokens"]}


def test_a_group_wider_than_every_layer_is_an_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SubjectError, match="no layer of model 'm' that NNCF could turn into i4 or u4"):
        ways.int4_weights(PARENT, source, tmp_path, 128)
    assert list(tmp_path.iterdir()) == []


def test_static_makes_integers_of_all_weights_and_ranges_of_what_enters_them(files: dict[str, Path]) -> None:
    found = constants(files["int8_static"])
    assert {("i8", shape) for shape in SHAPES.values()} <= found
    assert not {("f32", shape) for shape in SHAPES.values()} & found
    kinds = [node.get_type_name() for node in openvino().Core().read_model(files["int8_static"]).get_ops()]
    assert kinds.count("FakeQuantize") == 3  # what enters `grow`, `again` and `head`


def test_ranges_are_those_of_the_calibration(source: Path, tmp_path: Path) -> None:
    """Tokens seen are answered better than those whose values are larger than all seen."""
    by_size = np.abs(WEIGHTS["tokens"]).max(axis=1).argsort()
    seen, unseen = by_size[: VOCAB // 4][None], by_size[-VOCAB // 4 :][None]
    path = ways.int8_static(PARENT, source, tmp_path, np.repeat(seen, 4, axis=0), "minmax")
    errors = [np.abs(answered(path, ids) - plain(ids)).mean() for ids in (seen, unseen)]
    assert errors[1] > 1.2 * errors[0]


def test_states_are_part_of_the_calibration(files: dict[str, Path]) -> None:
    """From the empty state alone, what the hidden state is multiplied by would be cut to nothing."""
    model = compiled(files["int8_static"])
    first, second = IDS[:, :6], IDS[:, 6:]
    after = model(feed(first, PARENT.empty_state(8)))
    found = model(feed(second, (after["present_0"], after["present_1"])))["logits"]
    expected = hidden(second, hidden(first, PARENT.empty_state(8)[1])[:, -1]) @ WEIGHTS["head"].T
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()


def test_static_has_no_entropy_calibration(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method: found 'entropy'; expected minmax with openvino"):
        ways.int8_static(PARENT, source, tmp_path, IDS, "entropy")


def test_the_source_stays_as_it_was_and_nothing_is_said(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = [source.read_bytes(), source.with_suffix(".bin").read_bytes()]
    ways.int8_static(PARENT, source, tmp_path, IDS, "minmax")
    assert [source.read_bytes(), source.with_suffix(".bin").read_bytes()] == before
    assert capfd.readouterr() == ("", "")
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
