"""Integers in modules and in ONNX files: what is stored, what it costs, and that scales come from what was really seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lmbench.base.entry import MODULE
from lmbench.base.errors import ConfigError, LmbenchError, SubjectError
from lmbench.base.seams import Compression, FloatArray, IntArray, ModelFacts
from lmbench.compress import executorch_ways, onnx_ways, quantize, static, weight_only
from lmbench.compress.calibration import calibration_ids
from lmbench.data.corpora import split
from lmbench.data.prompts import HIDDEN_EVERY
from lmbench.data.tokenizers import ByteTokenizer

INSTALL = "is not installed; run: pip install 'pytest-lmbench[onnx]'"
onnx = pytest.importorskip("onnx", reason=f"onnx {INSTALL}")
onnxruntime = pytest.importorskip("onnxruntime", reason=f"onnxruntime {INSTALL}")

WIDTH, VOCAB = 64, 256
BYTES = ByteTokenizer()
CORPUS = split("numbers", "\n".join(f"line {number} of {number * number} lines" for number in range(400)))
FACTS = ModelFacts(
    name="m",
    family="tests",
    parameters=1,
    vocab_size=VOCAB,
    max_tokens=48,
    carries_state=False,
    weights_digest="w",
    code_digest="c",
)
INTEGERS = (onnx.TensorProto.UINT8, onnx.TensorProto.INT8)


@dataclass(frozen=True)
class Around:
    """A module or a file as the parent that levels get."""

    module: Any
    facts: ModelFacts = FACTS
    form: str = "module"
    tokenizer: Any = BYTES
    state: tuple[FloatArray, ...] = ()

    def empty_state(self, batch: int) -> tuple[FloatArray, ...]:
        return tuple(np.repeat(part, batch, axis=0) for part in self.state)


class Tied(nn.Module):
    """Embedding, one free layer, a head that shares the embedding's weight."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tokens = nn.Embedding(48, width)
        self.between = nn.Linear(width, width)
        self.head = nn.Linear(width, 48, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.between(self.tokens(ids)))
        return logits


def changed_by(level: Compression, module: Any) -> Any:
    """What the level makes of a module for torch engines."""
    parent: Any = Around(module)
    return level.on_model(parent, MODULE).module


def relative_error(changed: Any, module: Any) -> float:
    """Largest difference of a logit, over the largest logit."""
    ids = torch.arange(12).reshape(2, 6)
    with torch.inference_mode():
        plain, answer = module(ids), changed(ids)
        return float((answer - plain).abs().max() / plain.abs().max())


@pytest.mark.parametrize(
    ("level", "limit"),
    [(quantize.build_int8_dynamic({}), 0.05), (weight_only.build_int8({}), 0.02), (weight_only.build_int4({}), 0.25)],
)
def test_modules_get_a_head_of_their_own_and_keep_the_embedding(level: Compression, limit: float) -> None:
    module: Any = Tied().eval()
    changed = changed_by(level, module)
    assert changed.head.weight is not changed.tokens.weight
    assert module.head.weight is module.tokens.weight
    assert torch.equal(changed.tokens.weight, module.tokens.weight.to(changed.tokens.weight.dtype))
    assert 0 < relative_error(changed, module) < limit


@pytest.mark.parametrize("build", [quantize.build_int8_dynamic, weight_only.build_int8])
def test_int8_weights_of_modules_are_within_half_a_step(build: Callable[..., Compression]) -> None:
    module: Any = Tied().eval()
    quantized = changed_by(build({}), module).between.weight
    assert quantized.qdata.dtype == torch.int8
    step = module.between.weight.abs().amax(dim=1, keepdim=True) / 127
    error = (quantized.dequantize() - module.between.weight).abs()
    assert bool((error <= 0.51 * step).all())
    assert bool((quantized.qdata.int().abs().amax(dim=1) >= 127).all())


def test_int4_modules_compute_in_bf16_and_skip_layers_that_cannot_be_packed() -> None:
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow, self.odd = nn.Linear(64, 48), nn.Linear(48, 64), nn.Linear(64, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.odd(self.narrow(self.wide(x)))
            return answer

    changed = changed_by(weight_only.build_int4({"group_size": 64}), Uneven().eval())
    assert {type(layer.weight.data) for layer in (changed.narrow, changed.odd)} == {torch.Tensor}
    assert changed.odd.weight.dtype == changed.wide.bias.dtype == torch.bfloat16
    assert changed.wide.weight.qdata.nbytes == 64 * 48 // 2
    assert changed(torch.ones(2, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("level", "module"),
    [
        (weight_only.build_int8({}), nn.Embedding(4, 4)),
        (weight_only.build_int4({"group_size": 128}), nn.Linear(64, 64)),
        (quantize.build_int8_dynamic({}), nn.GRU(4, 4)),
    ],
)
def test_a_module_in_which_nothing_would_change_is_refused(level: Compression, module: Any) -> None:
    with pytest.raises(SubjectError, match="none of which"):
        changed_by(level, module)


def test_int4_weights_of_executorch_lose_no_more_than_half_a_step_of_the_larger_side() -> None:
    """What is largest above zero is as near as all others: nothing is cut off."""
    torch.manual_seed(3)
    layer = nn.Linear(64, 16, bias=False)
    whole = torch.randint(-8, 8, (16, 64)).float()
    whole[:, ::32] = 7.0
    whole[:, 1::32] = -8.0
    with torch.no_grad():
        layer.weight.copy_(whole * 0.01)
    smaller = executorch_ways.int4_weights(nn.Sequential(layer), group_size=32)[0].weight.dequantize()
    assert torch.allclose(smaller, layer.weight, atol=1e-6)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(16, 64))
    groups = layer.weight.reshape(16, 2, 32)
    step = torch.maximum(groups.amax(-1) / 7, -groups.amin(-1) / 8)[..., None]
    off = (
        executorch_ways.int4_weights(nn.Sequential(layer), group_size=32)[0].weight.dequantize().reshape(16, 2, 32) - groups
    ).abs()
    assert bool((off <= step * 0.501).all())


@pytest.mark.parametrize("group_size", [0, 16, 48, 256, True, "32", 32.5, None])
def test_group_sizes_no_engine_takes_are_refused(group_size: object) -> None:
    with pytest.raises(ConfigError, match="group_size"):
        weight_only.build_int4({"group_size": group_size})


def graph_of(*nodes: Any, inputs: list[Any], outputs: list[Any], weights: dict[str, npt.NDArray[Any]]) -> Any:
    """An ONNX model; weights are told among the inner values too, as torch's exporter does."""
    initializers = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(list(nodes), "graph", inputs, outputs, initializers)
    graph.value_info.extend(
        onnx.helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)) for weight in initializers
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def floats(name: str, *shape: str | int) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)


def integers(name: str, *shape: str | int) -> Any:
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, shape)


def normal(*shape: int) -> FloatArray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def scorer() -> Any:
    """ids [B, T] -> logits [B, T, V]: embedding, a matrix, a Gemm that shares the embedding's weight."""
    make = onnx.helper.make_node
    return graph_of(
        make("Gather", ["table", "ids"], ["x"], name="embed"),
        make("MatMul", ["x", "square"], ["y"], name="square"),
        make("Reshape", ["y", "rows"], ["flat"], name="flatten"),
        make("Gemm", ["flat", "table", "bias"], ["scores"], name="head", transB=1),
        make("Shape", ["ids"], ["sizes"], name="sizes"),
        make("Concat", ["sizes", "last"], ["shape"], name="shape", axis=0),
        make("Reshape", ["scores", "shape"], ["logits"], name="unflatten"),
        inputs=[integers("ids", "batch", "tokens")],
        outputs=[floats("logits", "batch", "tokens", VOCAB)],
        weights={
            "table": normal(VOCAB, WIDTH),
            "square": normal(WIDTH, WIDTH) / 8,
            "bias": normal(VOCAB),
            "rows": np.array([-1, WIDTH]),
            "last": np.array([VOCAB]),
        },
    )


def answers(path: Path, ids: IntArray) -> FloatArray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits: FloatArray = session.run(None, {"ids": ids})[0]
    return logits


def calibrated(options: dict[str, Any]) -> Compression:
    return static.build({"samples": 4, "tokens": 16, **options}, CORPUS, 0)


FILES: dict[str, tuple[Callable[[], Compression], float]] = {
    "int8-dynamic": (lambda: quantize.build_int8_dynamic({}), 0.03),
    "int8-weight-only": (lambda: weight_only.build_int8({}), 0.02),
    "int4-weight-only": (lambda: weight_only.build_int4({}), 0.2),
    "int8-static": (lambda: calibrated({}), 0.05),
    "int8-static, entropy": (lambda: calibrated({"method": "entropy"}), 0.5),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_quantized_products_of_rows_and_tied_embeddings_included(name: str, tmp_path: Path) -> None:
    build, limit = FILES[name]
    source, folder = tmp_path / "model.onnx", tmp_path / "small"
    onnx.save(scorer(), source)
    folder.mkdir()
    parent: Any = Around(source, replace(FACTS, details={"simple": True}), "onnx")
    level = build()
    assert level.on_model(parent, "onnx") is parent
    target = level.on_file(parent, source, folder, "onnx")
    assert target == folder / "model.onnx"
    graph = onnx.load(target).graph
    matrices = {
        tensor.name: tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1 and "scale" not in tensor.name
    }
    assert [name for name, code in matrices.items() if code not in INTEGERS] == ["table"]
    assert len(matrices) >= 3
    # Only a static file leaves it to the engine to make one product out of a pair of dequantizers and a MatMul.
    assert {node.op_type for node in graph.node} & {"Gemm", "MatMul"} == ({"MatMul"} if "static" in name else set())
    ids = np.array(BYTES.encode(CORPUS.train_text)[:21]).reshape(3, 7)
    plain = answers(source, ids)
    assert 0 < np.abs(answers(target, ids) - plain).max() < limit * np.abs(plain).max()


def test_layers_with_more_inputs_than_outputs_keep_their_activations(tmp_path: Path) -> None:
    shapes = {"grow": (8, 32), "square": (32, 32), "shrink": (32, 8)}
    source = tmp_path / "model.onnx"
    onnx.save(chain(shapes), source)
    assert integer_matrices(source, tmp_path / "small", shapes) == {"grow", "square"}
    onnx.save(chain({"shrink": (8, 4)}), source)
    assert integer_matrices(source, tmp_path / "only", {"shrink": (8, 4)}) == {"shrink"}


def integer_matrices(source: Path, folder: Path, shapes: dict[str, tuple[int, int]]) -> set[str]:
    """Names of the matrices that int8-dynamic stores as integers."""
    folder.mkdir()
    parent: Any = Around(source)
    graph = onnx.load(quantize.build_int8_dynamic({}).on_file(parent, source, folder, "onnx")).graph
    kept = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2}
    codes = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 2} - {onnx.TensorProto.FLOAT}
    assert codes == {onnx.TensorProto.UINT8}
    return set(shapes) - kept


def chain(shapes: dict[str, tuple[int, int]]) -> Any:
    """A model that multiplies its input [n, 8] by a matrix of each shape in turn."""
    names = ["x", *(f"after_{name}" for name in shapes)]
    nodes = [
        onnx.helper.make_node("MatMul", [before, weight], [after], name=f"by_{weight}")
        for before, weight, after in zip(names, shapes, names[1:], strict=False)
    ]
    width = [*shapes.values()][-1][1]
    weights = {name: normal(*shape) for name, shape in shapes.items()}
    return graph_of(*nodes, inputs=[floats("x", "n", 8)], outputs=[floats(names[-1], "n", width)], weights=weights)


def test_a_file_without_constant_matrices_is_refused(tmp_path: Path) -> None:
    square = onnx.helper.make_node("MatMul", ["x", "x"], ["y"], name="square")
    onnx.save(graph_of(square, inputs=[floats("x", 4, 4)], outputs=[floats("y", 4, 4)], weights={}), tmp_path / "model.onnx")
    with pytest.raises(SubjectError, match="no product with a constant matrix"):
        onnx_ways.int8_dynamic(None, tmp_path / "model.onnx", tmp_path)  # type: ignore[arg-type]


def counter() -> Any:
    """A model by the contract whose state [B, 1] counts tokens; its logits are a matrix times (count so far) x (ones)."""
    make = onnx.helper.make_node
    return graph_of(
        make("Cast", ["ids"], ["x"], name="cast", to=onnx.TensorProto.FLOAT),
        make("Mul", ["x", "zero"], ["nothing"], name="nothing"),
        make("Add", ["nothing", "one"], ["ones"], name="ones"),
        make("CumSum", ["ones", "axis"], ["places"], name="places"),
        make("Add", ["places", "past_0"], ["counts"], name="counts"),
        make("Gather", ["counts", "positions"], ["kept"], name="kept", axis=1),
        make("Unsqueeze", ["kept", "end"], ["column"], name="column"),
        make("Mul", ["column", "row"], ["wide"], name="wide"),
        make("MatMul", ["wide", "matrix"], ["logits"], name="head"),
        make("ReduceMax", ["counts", "axis_1"], ["present_0"], name="present", keepdims=1),
        inputs=[integers("ids", "batch", "tokens"), integers("positions", "kept"), floats("past_0", "batch", 1)],
        outputs=[floats("logits", "batch", "kept", VOCAB), floats("present_0", "batch", 1)],
        weights={
            "zero": np.array(0, np.float32),
            "one": np.array(1, np.float32),
            "axis": np.array(1, np.int64),
            "axis_1": np.array([1], np.int64),
            "end": np.array([-1], np.int64),
            "row": np.ones(WIDTH, np.float32),
            "matrix": normal(WIDTH, VOCAB),
        },
    )


def activation_range(level: Compression, parent: Any, source: Path, folder: Path) -> float:
    """Width of the values that the 256 steps of the only quantized activation stand for."""
    folder.mkdir()
    graph = onnx.load(level.on_file(parent, source, folder, "onnx")).graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    (scale,) = (weights[node.input[1]] for node in graph.node if node.op_type == "QuantizeLinear")
    return float(255 * scale)


@pytest.mark.parametrize("tokens", [2, 7, 24])
def test_static_ranges_are_those_seen_up_to_the_last_step_after_the_prompt(tokens: int, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    onnx.save(counter(), source)
    facts = replace(FACTS, carries_state=True)
    parent: Any = Around(source, facts, "onnx", state=(np.zeros((1, 1), np.float32),))
    # The widest activation is the count at the last token, which only the step with the prompt's state reaches.
    level = static.build({"samples": 2, "tokens": tokens}, CORPUS, 0)
    assert activation_range(level, parent, source, tmp_path / "small") == pytest.approx(tokens, rel=1e-5)


def test_entropy_never_widens_a_range(tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    onnx.save(counter(), source)
    parent: Any = Around(source, replace(FACTS, carries_state=True), "onnx", state=(np.zeros((1, 1), np.float32),))
    widths = [
        activation_range(calibrated({"method": method}), parent, source, tmp_path / method) for method in ("entropy", "minmax")
    ]
    assert 0 < widths[0] <= widths[1] * (1 + 1e-6)


@given(samples=st.integers(1, 8), tokens=st.integers(1, 100), seed=st.integers(0, 99), masked=st.booleans())
@settings(max_examples=30, deadline=None)
def test_calibration_ids_are_windows_of_the_training_text(samples: int, tokens: int, seed: int, masked: bool) -> None:
    if tokens == 1:
        samples = 1
    parent: Any = Around(None, replace(FACTS, mask_id=0 if masked else None))
    ids = calibration_ids(parent, CORPUS, samples, tokens, seed)
    assert ids.shape == (samples, min(tokens, FACTS.max_tokens))
    assert ids.dtype == np.int64
    assert np.array_equal(ids, calibration_ids(parent, CORPUS, samples, tokens, seed))
    if masked:
        assert (ids[:, ::HIDDEN_EVERY] == 0).all()
        assert (np.delete(ids, np.s_[::HIDDEN_EVERY], axis=1) != 0).all()
    else:
        assert all(BYTES.decode(row) in CORPUS.train_text for row in ids.tolist())
        assert len({row.tobytes() for row in ids}) == samples


def test_calibration_is_in_the_lineage() -> None:
    kept = calibrated({"method": "entropy"}).lineage["calibration"]
    text = {"name": "numbers", "digest": CORPUS.digest}
    assert kept == {"method": "entropy", "corpus": text, "samples": 4, "tokens": 16, "seed": 0}


def test_static_without_a_text_and_with_too_short_a_text_says_so(tmp_path: Path) -> None:
    parent: Any = Around(None)
    with pytest.raises(ConfigError, match="text to calibrate on"):
        static.build({}).on_file(parent, tmp_path / "model.onnx", tmp_path, "onnx")
    with pytest.raises(LmbenchError, match="tokens of text; expected"):
        static.build({}, split("short", "a line\nanother line\n")).on_file(parent, tmp_path / "model.onnx", tmp_path, "onnx")


@pytest.mark.parametrize("options", [{"method": "percentile"}, {"samples": 0}, {"tokens": 1}, {"samples": True}, {"tokens": "8"}])
def test_impossible_calibrations_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        static.build(options, CORPUS, 0)
