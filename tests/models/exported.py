"""What an engine must give back of a model of this room: its logits, in a full pass and in steps of several lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lmbench.base.registry import BACKENDS, COMPRESSIONS, resolve
from lmbench.base.seams import Engine
from lmbench.models.built import BuiltModel
from tests.models import contract

ONNX = ("onnx", "onnxscript", "onnxruntime")


def loaded(model: BuiltModel, backend: str, level: str = "none") -> Engine:
    """The model on an engine; skips the test where ONNX is asked for and not installed."""
    if backend == "onnxruntime":
        for module in ONNX:
            pytest.importorskip(module, reason=f"{module} is not installed; run: pip install 'pytest-lmbench[onnx]'")
    method: Any = resolve(COMPRESSIONS[level].target)({})
    entry = BACKENDS[backend]
    engine: Engine = resolve(entry.target)(method.on_model(model, entry.weights), method, {"threads": 1})
    return engine


def check_engine(engine: Engine, model: BuiltModel, *, atol: float) -> None:
    """Three sequences of nine tokens, in one pass and in steps, are within `atol` of the module's own logits."""
    ids = contract.some_ids(model, 3, 9)
    with torch.no_grad():
        full = model.module(ids, torch.arange(9), *model.empty_state(3))[0].numpy()
    logits, _ = engine.forward(ids.numpy(), np.arange(9), engine.empty_state(3))
    np.testing.assert_allclose(logits, full, atol=atol, rtol=0)
    state = engine.empty_state(3)
    for start, stop in ((0, 4), (4, 5), (5, 7), (7, 8), (8, 9)):
        logits, state = engine.forward(ids[:, start:stop].numpy(), np.array([stop - start - 1]), state)
        np.testing.assert_allclose(logits[:, 0], full[:, stop - 1], atol=atol, rtol=0)
    assert sum(part.nbytes for part in state) == model.state_bytes(batch=3, tokens=9)
