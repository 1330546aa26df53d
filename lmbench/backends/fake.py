"""A deterministic engine of numpy alone, which can be told to be wrong, to crash or to hang; for tests."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from lmbench import __version__
from lmbench.backends.options import choice, only, problem
from lmbench.base.errors import ConfigError
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = "fake"
HANG_S = 24 * 3600.0


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """An engine around the numpy callable of a model of form 'fake'.

    Options: `perturb`, standard deviation of a fixed noise added to all logits; `crash`, what each forward does
    ('no', 'exception', 'segfault' or 'hang').
    """
    del method
    only(NAME, options, ["crash", "perturb"])
    perturb = options.get("perturb", 0.0)
    if isinstance(perturb, bool) or not isinstance(perturb, int | float) or perturb < 0:
        raise ConfigError([problem(NAME, "perturb", repr(perturb), "a number of at least 0")])
    crash = choice(NAME, options, "crash", ("no", "exception", "segfault", "hang"))
    return FakeEngine(model=model, function=model.module, perturb=float(perturb), crash=crash)


class FakeEngine:
    """Calls the model's function; the noise depends on the vocabulary alone, so that every run is equally wrong."""

    def __init__(self, *, model: LanguageModel, function: Any, perturb: float, crash: str) -> None:
        self._model = model
        self._function = function
        self._crash = crash
        noise = np.random.default_rng(0).normal(scale=perturb, size=model.facts.vocab_size)
        self._noise = noise.astype(np.float32)

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`, or what the option `crash` asks for."""
        if self._crash != "no":
            _fail(self._crash)
        logits, *after = self._function(ids, positions, *state)
        return np.asarray(logits, dtype=np.float32) + self._noise, tuple(after)

    def empty_state(self, batch: int) -> State:
        """The model's own empty state, numpy arrays."""
        return self._model.empty_state(batch)

    def describe(self) -> Mapping[str, object]:
        """JSON facts; the weights are counted as if stored in fp32, and no file exists."""
        return {
            "engine": NAME,
            "version": __version__,
            "device": "cpu",
            "threads": 1,
            "dtype": "float32",
            "state_dtype": "float32",
            "weight_bytes": 4 * self._model.facts.parameters,
            "disk_bytes": None,
        }

    def close(self) -> None:
        """Nothing is held."""


def _fail(how: str) -> None:
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hang":
        time.sleep(HANG_S)
    raise RuntimeError("the fake backend raises on every forward because its option crash is 'exception'")
