"""ONNX files of the user's own: by the contract, and with a single input of ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from lmbench.backends import onnx_runtime
from lmbench.backends.onnx_export import export_module
from lmbench.base.errors import SubjectError
from lmbench.compress.none import build as none
from lmbench.compress.quantize import build_int8_dynamic


class IdsOnly(nn.Module):
    """ids [B, T] -> logits [B, T, V], the signature of a plain ONNX file."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(61, 16)
        self.head = nn.Linear(16, 61)

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.tokens(ids).cumsum(1))
        return logits


def as_file(model: Any, path: Path, details: Mapping[str, object]) -> Any:
    """`model` as a model of form 'onnx', its state as numpy arrays."""
    facts = replace(model.facts, weights_digest=f"file-{path.name}", details=details)
    state = model.state
    return replace(model, facts=facts, form="onnx", module=path, state=lambda batch: tuple(np.asarray(p) for p in state(batch)))


def test_a_file_by_the_contract_decodes_from_an_empty_past(decoder: Any, tmp_path: Path) -> None:
    export_module(decoder, tmp_path / "own.onnx")
    model = as_file(decoder, tmp_path / "own.onnx", {"simple": False})
    engine = onnx_runtime.load(model, none({}), {})
    ids = np.random.default_rng(1).integers(0, 61, size=(2, 6))
    full, _ = engine.forward(ids, np.arange(6), engine.empty_state(2))
    state = engine.empty_state(2)
    assert [part.nbytes for part in state] == [0] * 4
    for place in range(6):
        step, state = engine.forward(ids[:, place : place + 1], np.array([0]), state)
        assert np.abs(step[:, 0] - full[:, place]).max() <= 1e-4
    assert engine.describe()["disk_bytes"] == (tmp_path / "own.onnx").stat().st_size
    engine.close()
    small = onnx_runtime.load(model, build_int8_dynamic({}), {}).describe()
    weight_bytes = small["weight_bytes"]
    assert isinstance(weight_bytes, int)
    assert weight_bytes < 4 * decoder.facts.parameters


def test_a_file_of_ids_alone_has_its_positions_picked(decoder: Any, tmp_path: Path) -> None:
    torch.manual_seed(4)
    module = IdsOnly().eval()
    free = {0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("tokens", min=1, max=64)}
    program = torch.onnx.export(
        module, (torch.zeros(2, 5, dtype=torch.int64),), dynamo=True, verbose=False, dynamic_shapes=(free,)
    )
    assert program is not None
    program.save(tmp_path / "simple.onnx")
    model = replace(as_file(decoder, tmp_path / "simple.onnx", {"simple": True}), state=lambda _: ())
    engine = onnx_runtime.load(model, none({}), {})
    ids = np.random.default_rng(1).integers(0, 61, size=(3, 9))
    logits, state = engine.forward(ids, np.array([8, 2]), engine.empty_state(3))
    assert state == ()
    assert logits.shape == (3, 2, 61)
    with torch.no_grad():
        assert np.abs(logits - module(torch.tensor(ids))[:, [8, 2]].numpy()).max() <= 1e-5


def test_a_length_the_exporter_fixed_is_an_error(decoder: Any, tmp_path: Path) -> None:
    class OneLength(nn.Module):
        """Only works for the number of tokens it was traced with."""

        def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor]:
            return ((ids + torch.zeros(1, 5))[:, :, None].expand(-1, -1, 61).index_select(1, positions),)

    model = replace(decoder, state=lambda _: ())
    with pytest.raises(SubjectError, match=r"fixed|cannot export"):
        export_module(replace(model, module=OneLength().eval()), tmp_path / "fixed.onnx")


def test_the_wrong_size_of_input_is_a_subject_error(decoder: Any) -> None:
    engine = onnx_runtime.load(decoder, none({}), {})
    other = (np.zeros((1, 3, 0, 16), dtype=np.float32),) * 4
    state = tuple(onnx_runtime.Held(onnxruntime.OrtValue.ortvalue_from_numpy(part)) for part in other)
    with pytest.raises(SubjectError, match="failed on 'tiny-decoder'"):
        engine.forward(np.zeros((1, 2), dtype=np.int64), np.array([0]), state)
