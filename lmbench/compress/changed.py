"""Models with another module in their place: what a level makes of a model, known by the digest of its lineage."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lmbench.base.digest import digest, digest_bytes
from lmbench.base.seams import LanguageModel, ModelFacts, State, Tokenizer

SOURCES = sorted(Path(__file__).parent.glob("*.py"))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChangedModel:
    """`parent` with other weights in modules of the same shapes: everything but `module` and `facts` is the parent's."""

    parent: LanguageModel
    facts: ModelFacts
    module: Any

    @property
    def form(self) -> str:
        return self.parent.form

    @property
    def tokenizer(self) -> Tokenizer:
        return self.parent.tokenizer

    def empty_state(self, batch: int) -> State:
        """As the parent's."""
        return self.parent.empty_state(batch)

    def flops(self, *, batch: int, tokens: int, past: int = 0, kept: int | None = None) -> int | None:
        """As the parent's: the same products are computed, of zeros or of fewer bits."""
        return self.parent.flops(batch=batch, tokens=tokens, past=past, kept=kept)

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """As the parent's."""
        return self.parent.state_bytes(batch=batch, tokens=tokens, element_bytes=element_bytes)


def with_module(model: LanguageModel, module: Any, lineage: Mapping[str, object]) -> ChangedModel:
    """`model` computing by `module` of the same shapes."""
    return ChangedModel(parent=model, module=module, facts=changed_facts(model.facts, lineage))


def changed_facts(facts: ModelFacts, lineage: Mapping[str, object], **other: Any) -> ModelFacts:
    """`facts` of a parent as those of what a level of this lineage makes of it: digests of its own, and what else differs."""
    code = None if facts.code_digest is None else digest([facts.code_digest, code_digest()])
    weights = digest({"parent": facts.weights_digest, "lineage": dict(lineage)})
    return dataclasses.replace(facts, weights_digest=weights, code_digest=code, **other)


def by_module(change: Callable[[Any], Any], lineage: Mapping[str, object]) -> Callable[[LanguageModel], LanguageModel]:
    """A change of modules that keeps their shapes, as a change of models."""
    return lambda model: with_module(model, change(model.module), lineage)


@cache
def code_digest() -> str:
    """Of the sources of this room."""
    return digest_bytes(b"".join(path.read_bytes() for path in SOURCES))
