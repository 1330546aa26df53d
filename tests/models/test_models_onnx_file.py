"""ONNX files of the user's own: signatures read, sizes counted, anything else refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.data.corpora import Corpus
from lmbench.models.onnx_file import build

VOCAB = 256


def value(name: str, kind: int, *dims: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, list(dims))


def write(path: Path, inputs: list[Any], outputs: list[Any], nodes: list[Any]) -> str:
    table = numpy_helper.from_array(np.ones((VOCAB, VOCAB), dtype=np.float32), "table")
    index = numpy_helper.from_array(np.array([1], dtype=np.int64), "index")
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", inputs, outputs, [table, index])), str(path))
    return str(path)


IDS = value("ids", TensorProto.INT64, "batch", "tokens")
LOGITS = value("logits", TensorProto.FLOAT, "batch", "tokens", VOCAB)
GATHER = helper.make_node("Gather", ["table", "ids"], ["logits"])


def with_state(path: Path, past_dims: tuple[Any, ...] = ("batch", 2, "past", 8), past: str = "past_0") -> str:
    inputs = [IDS, value("positions", TensorProto.INT64, "kept"), value(past, TensorProto.FLOAT, *past_dims)]
    outputs = [
        value("logits", TensorProto.FLOAT, "batch", "kept", VOCAB),
        value("present_0", TensorProto.FLOAT, "batch", 2, "total", 8),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["all"]),
        helper.make_node("Gather", ["all", "positions"], ["logits"], axis=1),
        helper.make_node("Identity", [past], ["present_0"]),
    ]
    return write(path, inputs, outputs, nodes)


def test_the_simple_form(tmp_path: Path, corpus: Corpus) -> None:
    path = write(tmp_path / "m.onnx", [IDS], [LOGITS], [GATHER])
    model = build("mine", {"path": path, "max_tokens": 99}, corpus, 0)
    assert (model.form, model.module) == ("onnx", Path(path))
    assert model.facts.parameters == VOCAB * VOCAB  # the index is not a weight
    assert (model.facts.vocab_size, model.facts.max_tokens, model.facts.carries_state) == (VOCAB, 99, False)
    assert model.facts.details == {"simple": True, "inputs": ["ids"], "outputs": ["logits"]}
    assert (model.empty_state(3), model.state_bytes(batch=3, tokens=5), model.flops(batch=1, tokens=1)) == ((), 0, None)


def test_the_full_contract(tmp_path: Path, corpus: Corpus) -> None:
    model = build("mine", {"path": with_state(tmp_path / "m.onnx")}, corpus, 0)
    assert model.facts.carries_state
    assert model.facts.details["simple"] is False
    assert model.facts.details["inputs"] == ["ids", "positions", "past_0"]
    (empty,) = model.empty_state(3)
    assert (empty.shape, empty.dtype) == ((3, 2, 0, 8), np.float32)
    assert model.state_bytes(batch=3, tokens=5) == 4 * 3 * 2 * 5 * 8


def test_a_state_without_length(tmp_path: Path, corpus: Corpus) -> None:
    model = build("mine", {"path": with_state(tmp_path / "m.onnx", ("batch", 2, 8))}, corpus, 0)
    assert model.empty_state(4)[0].shape == (4, 2, 8)


def test_external_weights_are_part_of_the_digest(tmp_path: Path, corpus: Corpus) -> None:
    path = tmp_path / "m.onnx"
    write(path, [IDS], [LOGITS], [GATHER])
    inside = build("mine", {"path": str(path)}, corpus, 0)
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="m.data", size_threshold=0)
    outside = build("mine", {"path": str(path)}, corpus, 0)
    assert outside.facts.parameters == inside.facts.parameters
    data = bytearray((tmp_path / "m.data").read_bytes())
    data[0] ^= 1
    (tmp_path / "m.data").write_bytes(data)
    assert build("mine", {"path": str(path)}, corpus, 0).facts.weights_digest != outside.facts.weights_digest
    (tmp_path / "m.data").unlink()
    with pytest.raises(SubjectError, match=r"m\.data', which is not there"):
        build("mine", {"path": str(path)}, corpus, 0)


def test_other_signatures_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    fixed = value("ids", TensorProto.INT64, 1, "tokens")
    floats = value("ids", TensorProto.FLOAT, "batch", "tokens")
    flat = value("logits", TensorProto.FLOAT, "batch", VOCAB)
    for number, (inputs, outputs, words) in enumerate(
        [
            ([fixed], [LOGITS], "not int64 with free batch and tokens"),
            ([floats], [LOGITS], "not int64"),
            ([IDS], [flat], "not float32 of three dimensions"),
        ]
    ):
        path = write(tmp_path / f"{number}.onnx", inputs, outputs, [GATHER])
        with pytest.raises(SubjectError) as caught:
            build("mine", {"path": path}, corpus, 0)
        assert words in str(caught.value)
        assert "expected either ids int64" in str(caught.value)
    with pytest.raises(SubjectError, match="the names are not ids, positions, past_0"):
        build("mine", {"path": with_state(tmp_path / "n.onnx", past="cache")}, corpus, 0)
    with pytest.raises(SubjectError, match="a free size other than batch and length"):
        build("mine", {"path": with_state(tmp_path / "f.onnx", ("batch", "heads", "past", 8))}, corpus, 0)


def test_wrong_options_and_files_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(ConfigError, match="expected an ONNX file"):
        build("mine", {"path": str(tmp_path / "none.onnx")}, corpus, 0)
    (tmp_path / "text.onnx").write_text("no graph at all")
    with pytest.raises(SubjectError, match=r"cannot be read as ONNX|holds no ONNX graph"):
        build("mine", {"path": str(tmp_path / "text.onnx")}, corpus, 0)
    free = value("logits", TensorProto.FLOAT, "batch", "tokens", "vocabulary")
    path = write(tmp_path / "free.onnx", [IDS], [free], [GATHER])
    with pytest.raises(ConfigError, match="vocab_size"):
        build("mine", {"path": path}, corpus, 0)
    assert build("mine", {"path": path, "vocab_size": 300}, corpus, 0).facts.vocab_size == 300
    with pytest.raises(ConfigError, match="at most the 40"):
        build("mine", {"path": path, "vocab_size": 40}, corpus, 0)


def test_weights_outside_the_folder_are_refused(tmp_path: Path, corpus: Corpus) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write(folder / "m.onnx", [IDS], [LOGITS], [GATHER])
    onnx.save(
        onnx.load(str(folder / "m.onnx")), str(folder / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0
    )
    (folder / "m.data").rename(tmp_path / "m.data")
    (folder / "m.data").symlink_to(tmp_path / "m.data")
    for location in ("m.data", "../m.data", str(tmp_path / "m.data")):
        graph = onnx.load(str(folder / "m.onnx"), load_external_data=False)
        for tensor in graph.graph.initializer:
            next(entry for entry in tensor.external_data if entry.key == "location").value = location
        (folder / "n.onnx").write_bytes(graph.SerializeToString())
        with pytest.raises(SubjectError, match=r"keeps weights elsewhere.*expected (the name of )?a file in"):
            build("mine", {"path": str(folder / "n.onnx")}, corpus, 0)
