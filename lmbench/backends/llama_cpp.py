"""llama.cpp on the CPU: GGUF files of Llama-shaped models, through its C interface."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count as numbers
from typing import Any

import llama_cpp

from lmbench.backends.artifact import Artifact
from lmbench.backends.gguf_export import prepare
from lmbench.backends.llama_context import KEPT_BYTES, PADDING, Context, Settings, Weights
from lmbench.backends.options import compute_threads, count, only
from lmbench.base.errors import SubjectError
from lmbench.base.seams import Compression, Engine, FloatArray, IntArray, LanguageModel, State

NAME = "llama-cpp"
MAX_TOKENS = 1024
"""Longest sequence unless told otherwise: the memory of its keys and values is taken in full, whatever of it is used."""
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def export(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Artifact:
    """The GGUF file that is loaded."""
    del options
    return prepare(model, method)


def load(model: LanguageModel, method: Compression, options: Mapping[str, Any]) -> Engine:
    """The model at this level in llama.cpp.

    Options: `threads` (a count; default: see `compute_threads`), `max_tokens` (the longest sequence there is memory for;
    default: the model's context, up to 1024).
    """
    only(NAME, options, ["max_tokens", "threads"])
    settings = Settings(
        threads=compute_threads(NAME, options),
        max_tokens=min(count(NAME, options, "max_tokens") or MAX_TOKENS, model.facts.max_tokens),
        precision=method.precision,
        vocab=model.facts.vocab_size,
    )
    artifact = prepare(model, method)
    return LlamaCppEngine(artifact=artifact, weights=Weights(artifact.path), settings=settings)


class Turn:
    """One use of a context: from an empty state until nobody holds a state that came of it."""

    def __init__(self, context: Context) -> None:
        context.forget(0)
        self.context = context
        self._numbers = numbers()
        self._valid = [next(self._numbers)]
        """Numbers of the states that can be gone on from, the latest last."""

    def empty(self, batch: int, token_bytes: int) -> Held:
        """The state to begin with."""
        return Held(turn=self, number=self._valid[0], batch=batch, length=0, token_bytes=token_bytes)

    def forward(self, held: Held, ids: IntArray, positions: IntArray) -> tuple[FloatArray, Held]:
        """Logits and the state after more tokens; states that came of `held` before are overwritten."""
        if held.number != self._valid[-1]:
            self._go_back(held)
        logits = self.context.decode(ids, positions, held.length)
        self._valid.append(next(self._numbers))
        return logits, replace(held, number=self._valid[-1], length=held.length + ids.shape[1])

    def _go_back(self, held: Held) -> None:
        if held.number not in self._valid:
            found = f"found a state of {held.length} tokens that {NAME} has overwritten: an earlier one was gone on from since"
            raise SubjectError(f"{found}; expected the latest state or one it came of; begin again from an empty one")
        self.context.forget(held.length)
        del self._valid[self._valid.index(held.number) + 1 :]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Held:
    """The state of `batch` sequences after `length` tokens each; what it stands for lies in the context of its turn."""

    turn: Turn
    number: int
    batch: int
    length: int
    token_bytes: int

    @property
    def nbytes(self) -> int:
        """Bytes of the keys and values in use."""
        return self.batch * self.length * self.token_bytes


class LlamaCppEngine:
    """Contexts over the same weights, one for each batch whose state somebody holds; free ones are used again.

    Their memory is that of the largest batch so far, and of those that are decoded at the same time by several threads.
    """

    def __init__(self, *, artifact: Artifact, weights: Weights, settings: Settings) -> None:
        self._artifact = artifact
        self._weights: Any = weights
        self._settings = settings
        self._free: list[Context] = []
        self._lock = threading.Lock()
        self._token_bytes = weights.numbers_per_token * KEPT_BYTES[settings.precision]
        self._repacked = weights.repacked

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`. An earlier state may be gone on from again, which ends the states that came of it.

        SubjectError for a state that ended so, and for more tokens than a sequence has memory for.
        """
        (held,) = state
        logits, after = held.turn.forward(held, ids, positions)
        return logits, (after,)

    def empty_state(self, batch: int) -> State:
        """An empty context of at least `batch` sequences, which it keeps until the last state that comes of it is gone."""
        context = self._context(batch)
        turn = Turn(context)
        weakref.finalize(turn, self._free.append, context)
        return (turn.empty(batch, self._token_bytes),)

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `types`: tensors per storage type; `state_reserved_bytes`: for each sequence, of `max_tokens`."""
        dtype = DTYPES[self._settings.precision]
        return {
            "engine": NAME,
            "version": f"{llama_cpp.__version__} (llama.cpp {llama_cpp.llama_version().decode()})",
            "device": "cpu",
            "threads": self._settings.threads,
            "dtype": dtype,
            "state_dtype": dtype,
            **self._artifact.facts,
            "disk_bytes": self._artifact.disk_bytes,
            "max_tokens": self._settings.max_tokens,
            "state_reserved_bytes": -(-self._settings.max_tokens // PADDING) * PADDING * self._token_bytes,
            "repacked": self._repacked,
            "built_for": llama_cpp.llama_print_system_info().decode().strip(),
            "artifact": "built" if self._artifact.built else "cached",
        }

    def close(self) -> None:
        """Let go of the free contexts and the weights; a state that is still held keeps its own."""
        self._free = []
        self._weights = None

    def _context(self, batch: int) -> Context:
        with self._lock:
            fitting = [context for context in self._free if context.batch >= batch]
            if fitting:
                smallest = min(fitting, key=lambda context: context.batch)
                self._free.remove(smallest)
                return smallest
            self._free.clear()  # too small for this batch, and the new one will do for theirs
        return Context(self._weights, batch, self._settings)
