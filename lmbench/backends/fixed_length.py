"""Models as full passes of a few fixed lengths, for engines whose files have no free sizes: traced, chosen, padded."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lmbench.backends.artifact import Artifact
from lmbench.backends.options import problem
from lmbench.backends.quiet import quiet
from lmbench.base.errors import ConfigError, SubjectError
from lmbench.base.seams import CAUSAL, FloatArray, IntArray, LanguageModel, ModelFacts, State

PADDING = 0
DEFAULT_LENGTHS = (32, 128)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pass:
    """One signature of a file: its name, and example inputs by their names, whose shapes are those it takes."""

    name: str
    inputs: Mapping[str, Tensor]


Call = Callable[[str, Mapping[str, IntArray]], FloatArray]
"""Runs the signature of that name on inputs int64: -> logits float32 [1, T, V], or [1, 1, V] where a position is an input."""


class FullPass(nn.Module):
    """`model` from its empty state: ids [1, T] -> logits [1, T, V], or with a position [1] those at that position, [1, 1, V]."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.module: nn.Module = copy.deepcopy(model.module).eval() if model.module.training else model.module
        self.training = False
        self.names = [f"state_{number}" for number, _ in enumerate(model.empty_state(1))]
        for name, part in zip(self.names, model.empty_state(1), strict=True):
            self.register_buffer(name, part, persistent=False)

    def forward(self, ids: Tensor, position: Tensor | None = None) -> Tensor:
        kept = torch.arange(ids.shape[1]) if position is None else position
        logits: Tensor = self.module(ids, kept, *(getattr(self, name) for name in self.names))[0]
        return logits


def read_lengths(backend: str, options: Mapping[str, Any], facts: ModelFacts) -> tuple[int, ...]:
    """The option `lengths`, rising: token counts to build, by default 32 and 128, or what the model can take of them."""
    given = options.get("lengths")
    if given is None:
        return tuple(sorted({min(length, facts.max_tokens) for length in DEFAULT_LENGTHS}))
    counts = given if isinstance(given, list | tuple) else [None]
    if not counts or not all(type(length) is int and 1 <= length <= facts.max_tokens for length in counts):
        expected = f"a list of token counts from 1 to the model's max_tokens, {facts.max_tokens}"
        raise ConfigError([problem(backend, "lengths", repr(given), expected)])
    return tuple(sorted(set(counts)))


def passes(facts: ModelFacts, lengths: Sequence[int]) -> list[Pass]:
    """The signatures of a file: per length one that answers everywhere, and one that answers at a single position.

    Scoring needs the first. The second keeps generation from paying for a projection to the vocabulary at every padded place.
    """
    found: list[Pass] = []
    for length in lengths:
        ids = (torch.arange(length) % facts.vocab_size)[None]
        found.append(Pass(name=_everywhere(length), inputs={"ids": ids}))
        found.append(Pass(name=_at_one(length), inputs={"ids": ids, "position": torch.tensor([length - 1])}))
    return found


class FullPassEngine:
    """An engine over a file of full passes: rows of a batch run one after another, and no state is carried."""

    def __init__(self, *, facts: ModelFacts, lengths: Sequence[int], call: Call, description: Mapping[str, object]) -> None:
        self._facts = facts
        self._lengths = lengths
        self._call = call
        self._description = description

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        """As `Engine.forward`, from the empty state whatever `state` holds, by the shortest pass that is long enough.

        The places after the tokens hold id 0: what a causal model says before them does not depend on them. SubjectError when
        no pass is long enough, or when the model is not causal and none has exactly as many tokens.
        """
        del state
        length = self._fitting(ids.shape[1])
        padded = np.full((ids.shape[0], length), PADDING, dtype=np.int64)
        padded[:, : ids.shape[1]] = ids
        return np.concatenate([self._row(row[None], positions) for row in padded]), ()

    def empty_state(self, batch: int) -> State:
        """Nothing."""
        del batch
        return ()

    def describe(self) -> Mapping[str, object]:
        """JSON facts; `lengths` are those it was built for."""
        return {"device": "cpu", "dtype": "float32", "state_dtype": None, "lengths": list(self._lengths), **self._description}

    def close(self) -> None:
        """Let go of what runs the passes; some runtimes print as they end."""
        with quiet():
            self._call = _closed

    def _row(self, ids: IntArray, positions: IntArray) -> FloatArray:
        if len(positions) == 1:
            return self._call(_at_one(ids.shape[1]), {"ids": ids, "position": positions})
        return self._call(_everywhere(ids.shape[1]), {"ids": ids})[:, positions]

    def _fitting(self, tokens: int) -> int:
        found = f"found {tokens} tokens; {self._facts.name!r} was built for lengths {', '.join(map(str, self._lengths))}"
        length = min((length for length in self._lengths if length >= tokens), default=None)
        if length is None:
            remedy = f"set the backend's option `lengths` to a list with one of at least {tokens}, or ask for less"
            raise SubjectError(f"{found}; {remedy}")
        if self._facts.objective != CAUSAL and length != tokens:
            reads = "and, not being causal, would read the padding"
            raise SubjectError(f"{found} {reads}; set the backend's option `lengths` to a list with {tokens}")
        return length


def weight_facts(artifact: Artifact) -> dict[str, object]:
    """What a file says of its weights, for `describe`: weight_bytes, disk_bytes, zero_share, and whether it was built now."""
    kept = {name: artifact.facts[name] for name in ("weight_bytes", "zero_share")}
    return {**kept, "disk_bytes": artifact.disk_bytes, "artifact": "built" if artifact.built else "cached"}


def _closed(name: str, inputs: Mapping[str, IntArray]) -> FloatArray:
    del inputs
    raise RuntimeError(f"pass {name!r} was called on an engine that is closed")


def _everywhere(length: int) -> str:
    return f"all_{length}"


def _at_one(length: int) -> str:
    return f"one_{length}"
