"""OpenVINO: the parent's answers in passes and steps, in the precision the level says, from models and from ONNX files."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch

from lmbench.backends import openvino
from lmbench.backends.onnx_export import exported
from lmbench.base.errors import ConfigError, SubjectError, Unavailable
from lmbench.base.seams import FloatArray, IntArray, LanguageModel
from lmbench.compress import openvino_ways as ways
from lmbench.compress.level import Level
from lmbench.compress.none import LOSSLESS
from lmbench.compress.none import build as none

# pytest.importorskip would import them, which is reported to their maker.
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openvino", "nncf")),
    reason="openvino or nncf is not installed; run: pip install 'pytest-lmbench[openvino]'",
)

VOCAB = 61
CALIBRATION = np.random.default_rng(4).integers(0, VOCAB, size=(4, 16))


def level(name: str, way: Any = None, precision: str = "fp32") -> Level:
    files = {} if way is None else {"openvino": way}
    return Level(name=name, lineage={"method": name}, bound=LOSSLESS, files=files, precision=precision)


BF16 = level("bf16", precision="bf16")
# Largest difference from the parent's logits, which reach 61 in the decoder and 0.4 in the recurrent model.
LEVELS: Mapping[str, tuple[Any, Mapping[str, float]]] = {
    "none": (none({}), {"tiny-decoder": 1e-4, "tiny-recurrent": 1e-5}),
    "bf16": (BF16, {"tiny-decoder": 0.5, "tiny-recurrent": 0.01}),
    "int8_weights": (level("int8_weights", ways.int8_weights), {"tiny-decoder": 0.6, "tiny-recurrent": 0.01}),
    "int8_dynamic": (level("int8_dynamic", ways.int8_dynamic), {"tiny-decoder": 0.6, "tiny-recurrent": 0.01}),
    "int4_weights": (
        level("int4_weights", partial(ways.int4_weights, group_size=32)),
        {"tiny-decoder": 2.5, "tiny-recurrent": 0.06},
    ),
    "int8_static": (
        level("int8_static", partial(ways.int8_static, ids=CALIBRATION, method="minmax")),
        {"tiny-decoder": 5, "tiny-recurrent": 0.06},
    ),
}


def some_ids(batch: int, tokens: int) -> IntArray:
    return np.random.default_rng(3).integers(0, VOCAB, size=(batch, tokens))


def parent(model: LanguageModel, ids: IntArray) -> FloatArray:
    with torch.no_grad():
        out = model.module(torch.tensor(ids), torch.arange(ids.shape[1]), *model.empty_state(ids.shape[0]))
    logits: FloatArray = out[0].numpy()
    return logits


@pytest.mark.parametrize("name", LEVELS)
def test_a_pass_and_steps_of_several_lengths_give_the_parents_logits(model: LanguageModel, name: str) -> None:
    method, largest = LEVELS[name]
    engine = openvino.load(model, method, {})
    ids = some_ids(3, 12)
    expected = parent(model, ids)
    full, _ = engine.forward(ids, np.arange(12), engine.empty_state(3))
    assert full.shape == (3, 12, VOCAB)
    assert full.dtype == np.float32
    assert np.abs(full - expected).max() <= largest[model.facts.name]
    state = engine.empty_state(3)
    for start, stop in ((0, 4), (4, 5), (5, 8), (8, 9), (9, 12)):
        step, state = engine.forward(ids[:, start:stop], np.array([stop - start - 1]), state)
        assert step.shape == (3, 1, VOCAB)
        assert np.abs(step[:, 0] - expected[:, stop - 1]).max() <= largest[model.facts.name]
    one, _ = engine.forward(ids[:1, :7], np.array([6, 2]), engine.empty_state(1))
    assert np.abs(one[0] - expected[0, [6, 2]]).max() <= largest[model.facts.name]
    engine.close()


def test_answers_and_states_are_nobody_elses(decoder: LanguageModel) -> None:
    """Neither later steps nor other threads change what was given back, and a state can be gone on from twice."""
    engine = openvino.load(decoder, none({}), {"threads": 1})
    rows = some_ids(6, 8)

    def answer(row: IntArray) -> FloatArray:
        first, state = engine.forward(row[None, :5], np.arange(5), engine.empty_state(1))
        for _ in range(2):
            after, parts = state, [first]
            for place in range(5, 8):
                logits, after = engine.forward(row[None, place : place + 1], np.array([0]), after)
                parts.append(logits)
        gc.collect()
        return np.concatenate(parts, axis=1)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(answer, rows))
    assert np.abs(np.concatenate(together) - parent(decoder, rows)).max() <= 1e-4


def test_the_file_is_fp32_and_bf16_is_how_it_is_computed(decoder: LanguageModel) -> None:
    ids = some_ids(2, 9)
    artifacts = [openvino.export(decoder, method, {}) for method in (none({}), BF16)]
    assert artifacts[0].path == artifacts[1].path
    engines = [openvino.load(decoder, method, {}) for method in (none({}), BF16)]
    full, half = (engine.describe() for engine in engines)
    assert (full["dtype"], half["dtype"]) == ("float32", "bfloat16")
    assert full["disk_bytes"] == half["disk_bytes"] == artifacts[0].disk_bytes
    assert number(half["weight_bytes"]) == pytest.approx(number(full["weight_bytes"]) / 2, rel=0.01)
    answers = [engine.forward(ids, np.arange(9), engine.empty_state(2))[0] for engine in engines]
    assert np.abs(answers[1] - answers[0]).max() > 100 * np.abs(answers[0] - parent(decoder, ids)).max()


def test_another_precision_than_the_level_says_cannot_be_had_here(tmp_path: Path) -> None:
    """Told that the CPU has no fp16, OpenVINO would compute in bf16 without a word; and nothing is reported to its maker."""
    simple_file(tmp_path / "simple.onnx", np.ones((VOCAB, 64), dtype=np.float32))
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as Some\n"
        "from lmbench.backends import openvino\n"
        "facts = Some(name='m', family='f', max_tokens=8, details={'simple': True}, weights_digest='w', code_digest=None)\n"
        "model = Some(facts=facts, form='onnx', module=Path(sys.argv[1]), empty_state=lambda batch: ())\n"
        "level = Some(name='half', lineage={}, precision='fp16', on_file=lambda model, path, folder, weights: path)\n"
        "try: openvino.load(model, level, {})\n"
        "except openvino.Unavailable as lack: print(lack)\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry.')]"
    )
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2]), "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    command = [sys.executable, "-c", code, str(tmp_path / "simple.onnx")]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert shown.stdout.startswith("OpenVINO computes in bf16 on this CPU, not in f16 as level 'half' says; use level none")
    assert not (tmp_path / "intel").exists()


def test_activations_that_would_stay_as_they_are_cannot_be_had_here(
    decoder: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    dynamic = LEVELS["int8_dynamic"][0]
    assert openvino.load(decoder, dynamic, {}).describe()["activation_group_size"] == 32
    monkeypatch.setattr(openvino, "_quantizes_activations", lambda: False)
    with pytest.raises(Unavailable, match="does not quantize activations on this CPU"):
        openvino.load(decoder, dynamic, {})
    openvino.load(decoder, none({}), {})


def test_a_file_is_made_once(decoder: LanguageModel) -> None:
    once = level("once", ways.int8_weights)
    first, again = (openvino.export(decoder, once, {}) for _ in range(2))
    assert (first.built, again.built) == (True, False)
    assert first.path == again.path
    assert again.disk_bytes == sum(file.stat().st_size for file in again.path.parent.glob("model.*"))
    assert again.facts["bytes"] < 0.4 * openvino.export(decoder, none({}), {}).facts["bytes"]


def test_weights_are_counted_as_they_lie_in_the_file(recurrent: LanguageModel) -> None:
    facts = openvino.export(recurrent, none({}), {}).facts
    assert facts["bytes_by_type"]["f32"] == 4 * recurrent.facts.parameters
    assert sum(facts["bytes_by_type"].values()) == facts["bytes"]
    small = openvino.load(recurrent, LEVELS["int8_weights"][0], {}).describe()["weight_bytes_by_type"]
    assert isinstance(small, dict)
    assert small["i8"] == 2 * VOCAB * 32  # embedding and head
    assert small["f32"] == facts["bytes_by_type"]["f32"] - 4 * small["i8"]


def test_threads_and_wrong_options(decoder: LanguageModel) -> None:
    assert openvino.load(decoder, none({}), {"threads": 1}).describe()["threads"] == 1
    for options in ({"thread": 2}, {"threads": 0}):
        with pytest.raises(ConfigError, match="thread"):
            openvino.load(decoder, none({}), options)


def test_the_wrong_size_of_input_is_a_subject_error(decoder: LanguageModel) -> None:
    engine = openvino.load(decoder, none({}), {})
    ids = np.zeros((1, 2), dtype=np.int64)
    with pytest.raises(SubjectError, match="failed on 'tiny-decoder'"):
        engine.forward(ids, np.array([5]), engine.empty_state(3))


def as_file(model: Any, path: Path, *, simple: bool) -> Any:
    """A user's own ONNX file as a model, its state as numpy arrays."""
    facts = dataclasses.replace(model.facts, weights_digest=f"file-{path.name}", details={"simple": simple})
    zeros = model.state
    state = (lambda _: ()) if simple else (lambda batch: tuple(np.asarray(part) for part in zeros(batch)))
    return dataclasses.replace(model, facts=facts, form="onnx", module=path, state=state)


def test_a_file_by_the_contract(decoder: LanguageModel, tmp_path: Path) -> None:
    shutil.copy(exported(decoder), tmp_path / "own.onnx")
    model = as_file(decoder, tmp_path / "own.onnx", simple=False)
    engine = openvino.load(model, none({}), {})
    ids = some_ids(2, 6)
    state = engine.empty_state(2)
    assert [part.nbytes for part in state] == [0] * 4
    for place in range(6):
        step, state = engine.forward(ids[:, place : place + 1], np.array([0]), state)
        assert np.abs(step[:, 0] - parent(decoder, ids)[:, place]).max() <= 1e-4
    assert [part.nbytes for part in state] == [2 * 2 * 6 * 16 * 4] * 4
    small = openvino.load(model, LEVELS["int8_static"][0], {}).describe()
    assert number(small["weight_bytes"]) < 0.5 * number(engine.describe()["weight_bytes"])


def simple_file(path: Path, tokens: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Write ids [B, T] -> logits: embeddings times int8 weights that the file itself turns into floats. Returns those."""
    integers = np.random.default_rng(0).integers(-127, 128, size=(64, VOCAB)).astype(np.int8)
    weights = {"tokens": tokens, "integers": integers, "scale": np.array(0.01, dtype=np.float32)}
    nodes = [
        onnx.helper.make_node("Gather", ["tokens", "ids"], ["x"]),
        onnx.helper.make_node("DequantizeLinear", ["integers", "scale"], ["weights"]),
        onnx.helper.make_node("MatMul", ["x", "weights"], ["logits"]),
    ]
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    onnx.save(own_graph(nodes, initializers), path)
    return integers * np.float32(0.01)


def own_graph(nodes: list[Any], initializers: list[Any]) -> Any:
    ids = onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["b", "t"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["b", "t", VOCAB])
    graph = onnx.helper.make_graph(nodes, "own", [ids], [logits], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])


def test_integer_weights_of_a_file_do_not_quantize_its_activations(decoder: LanguageModel, tmp_path: Path) -> None:
    tokens = np.random.default_rng(1).normal(size=(VOCAB, 64)).astype(np.float32)
    tokens[:, 48:] = 0
    weights = simple_file(tmp_path / "simple.onnx", tokens)
    model = as_file(decoder, tmp_path / "simple.onnx", simple=True)
    engine = openvino.load(model, none({}), {})
    asked = some_ids(3, 9)
    found, state = engine.forward(asked, np.array([8, 2]), engine.empty_state(3))
    assert state == ()
    assert found.shape == (3, 2, VOCAB)
    expected = tokens[asked[:, [8, 2]]] @ weights
    assert np.abs(found - expected).max() <= 1e-4
    assert engine.describe()["zero_share"] == pytest.approx(0.25, abs=0.001)
    calibrated = level("simple-static", partial(ways.int8_static, ids=CALIBRATION, method="minmax"))
    small = openvino.load(model, calibrated, {}).forward(asked, np.array([8, 2]), ())[0]
    assert 0 < np.abs(small - expected).max() < 0.2 * np.abs(expected).max()


def test_a_file_openvino_cannot_read_is_a_subject_error(decoder: LanguageModel, tmp_path: Path) -> None:
    unheard = onnx.helper.make_node("Unheard", ["ids"], ["logits"], domain="elsewhere")
    onnx.save(own_graph([unheard], []), tmp_path / "strange.onnx")
    with pytest.raises(SubjectError, match=r"(?s)cannot read the ONNX file of 'tiny-decoder'.*Unheard"):
        openvino.load(as_file(decoder, tmp_path / "strange.onnx", simple=True), none({}), {})


def number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
