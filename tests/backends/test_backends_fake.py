"""The fake engine: deterministic, wrong or broken on request, and without torch."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lmbench.backends import fake
from lmbench.base.errors import ConfigError
from lmbench.compress.none import build as none


def counting(ids: Any, positions: Any, *state: Any) -> Any:
    """Logits that depend on the token alone; the state is the ids seen so far."""
    seen = np.concatenate([state[0], ids], axis=1)
    return np.eye(61, dtype=np.float32)[ids[:, positions]], seen


@pytest.fixture
def numpy_model(decoder: Any) -> Any:
    return replace(decoder, form="fake", module=counting, state=lambda batch: (np.zeros((batch, 0), dtype=np.int64),))


def test_it_answers_with_the_function_and_carries_the_state(numpy_model: Any) -> None:
    engine = fake.load(numpy_model, none({}), {})
    ids = np.array([[3, 4, 5]])
    logits, state = engine.forward(ids, np.array([2]), engine.empty_state(1))
    assert logits.argmax(-1).tolist() == [[5]]
    _, state = engine.forward(np.array([[7]]), np.array([0]), state)
    assert state[0].tolist() == [[3, 4, 5, 7]]
    assert engine.describe()["weight_bytes"] == 4 * numpy_model.facts.parameters


def test_noise_is_the_same_on_every_run(numpy_model: Any) -> None:
    ids = np.array([[3, 4]])
    runs = []
    for options in ({}, {"perturb": 0.5}, {"perturb": 0.5}):
        engine = fake.load(numpy_model, none({}), options)
        runs.append(engine.forward(ids, np.array([0, 1]), engine.empty_state(1))[0])
    assert np.array_equal(runs[1], runs[2])
    assert 0.3 < (runs[1] - runs[0]).std() < 0.7


def test_it_raises_on_request(numpy_model: Any) -> None:
    engine = fake.load(numpy_model, none({}), {"crash": "exception"})
    with pytest.raises(RuntimeError, match="crash"):
        engine.forward(np.array([[1]]), np.array([0]), engine.empty_state(1))


def test_it_dies_by_a_real_signal_and_needs_no_torch() -> None:
    code = (
        "import sys; from lmbench.backends import fake; "
        "assert not {'torch', 'onnxruntime'} & set(sys.modules); fake._fail('segfault')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGSEGV


@pytest.mark.parametrize("options", [{"crash": "explode"}, {"perturb": -1}, {"perturb": True}, {"noise": 1}])
def test_wrong_options_are_faults_of_configuration(numpy_model: Any, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        fake.load(numpy_model, none({}), options)
