"""torch.compile: right, and compiled once per kind of call rather than once per step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lmbench.backends import torch_compiled, torch_training
from lmbench.base.seams import LanguageModel
from lmbench.compress.none import build as none


def test_decode_steps_share_one_graph(decoder: LanguageModel) -> None:
    engine = torch_compiled.load(decoder, none({}), {})
    ids = np.random.default_rng(5).integers(0, 61, size=(1, 16))
    with torch.no_grad():
        full = decoder.module(torch.tensor(ids), torch.arange(16), *decoder.empty_state(1))[0].numpy()
    logits, state = engine.forward(ids[:, :5], np.array([4]), engine.empty_state(1))
    assert np.abs(logits[:, 0] - full[:, 4]).max() <= 1e-4
    counts = []
    for place in range(5, 16):
        logits, state = engine.forward(ids[:, place : place + 1], np.array([0]), state)
        assert np.abs(logits[:, 0] - full[:, place]).max() <= 1e-4
        counts.append(engine.describe()["graphs"])
    assert counts == [2] * 11  # one for the prefill, one for all decode steps
    engine.forward(ids[:, :9], np.array([8]), engine.empty_state(1))
    for odd in (np.broadcast_to(np.int64(3), (1, 1)), ids[:, 5][:, None], np.asfortranarray(ids[:, 5:6])):
        _, state = engine.forward(odd, np.array([0]), state)  # equal shapes, other strides
    assert engine.describe()["graphs"] == 2
    engine.close()


@pytest.mark.slow
def test_compiled_training_steps_like_eager(decoder: LanguageModel) -> None:
    rng = np.random.default_rng(6)
    ids, targets = rng.integers(0, 61, size=(2, 8)), rng.integers(0, 61, size=(2, 8))
    options = {"learning_rate": 1e-3}
    eager, compiled = (load(decoder, none({}), options) for load in (torch_training.load, torch_training.load_compiled))
    assert abs(compiled.loss(ids, targets) - eager.loss(ids, targets)) <= 1e-4
    for _ in range(2):
        expected, found = eager.step(ids, targets), compiled.step(ids, targets)
        assert np.allclose(found, expected, rtol=1e-3)
    assert compiled.describe()["graphs"] == 1
    compiled.close()
