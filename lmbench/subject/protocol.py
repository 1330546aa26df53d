"""The noun of this room: a subject, one engine holding one compressed model, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lmbench.base.seams import Engine, FloatArray, IntArray, LanguageModel, State, Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How close a subject is to its fp32 parent, by metric name (perplexity, kl_divergence, top1_agreement ...).

    A value that is not known is None, and `reasons` says why.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """model x compression x backend, loaded and answering. Ids are int64 on the host, logits float on the host.

    A model that carries no state is given all tokens again at each step; `repeats_full_forward` says so.
    """

    model: LanguageModel
    engine: Engine
    description: Mapping[str, Any]
    """Plain JSON: 'facts' of the model, 'lineage' of the compression, 'engine' as it describes itself."""
    fidelity: Fidelity = Fidelity()
    """Empty while unchecked."""

    @property
    def repeats_full_forward(self) -> bool:
        return not self.model.facts.carries_state

    def prefill(self, ids: IntArray) -> tuple[FloatArray, State]:
        """Prompt ids [B, T] -> logits [B, V] of the next token, and the state."""
        last = np.array([ids.shape[1] - 1])
        logits, state = self.engine.forward(ids, last, self.engine.empty_state(ids.shape[0]))
        return logits[:, 0], (ids,) if self.repeats_full_forward else state

    def decode(self, ids: IntArray, state: State) -> tuple[FloatArray, State]:
        """One more token per sequence [B] after `state` -> logits [B, V] of the next one, and the new state."""
        if self.repeats_full_forward:
            return self.prefill(np.concatenate([state[0], ids[:, None]], axis=1))
        logits, state = self.engine.forward(ids[:, None], np.array([0]), state)
        return logits[:, 0], state

    def logits(self, ids: IntArray) -> FloatArray:
        """Ids [B, T] -> logits [B, T, V]: a full forward pass."""
        everywhere = np.arange(ids.shape[1])
        return self.engine.forward(ids, everywhere, self.engine.empty_state(ids.shape[0]))[0]

    def close(self) -> None:
        self.engine.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSubject:
    """A model on an engine that trains it."""

    model: LanguageModel
    trainer: Trainer
    description: Mapping[str, Any]

    def close(self) -> None:
        self.trainer.close()
