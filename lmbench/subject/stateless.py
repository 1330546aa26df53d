"""A model as an engine of fixed lengths runs it: no state is carried, every step is a full forward pass."""

from __future__ import annotations

import dataclasses
from typing import Any

from lmbench.base.seams import LanguageModel, ModelFacts, State, Tokenizer


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stateless:
    """`parent` without its state."""

    parent: LanguageModel
    facts: ModelFacts

    @property
    def form(self) -> str:
        return self.parent.form

    @property
    def module(self) -> Any:
        return self.parent.module

    @property
    def tokenizer(self) -> Tokenizer:
        return self.parent.tokenizer

    def empty_state(self, batch: int) -> State:
        """Nothing."""
        del batch
        return ()

    def flops(self, *, batch: int, tokens: int, past: int = 0, kept: int | None = None) -> int | None:
        """As the parent's of a pass over so many tokens; what an engine pads is not counted."""
        return self.parent.flops(batch=batch, tokens=tokens, past=past, kept=kept)

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """0."""
        del batch, tokens, element_bytes
        return 0


def without_state(model: LanguageModel) -> LanguageModel:
    """`model` as one that carries no state; itself when it carries none."""
    if not model.facts.carries_state:
        return model
    return Stateless(parent=model, facts=dataclasses.replace(model.facts, carries_state=False))
