"""The noun of this room: a built model, its weights in place, with what is known about it before an engine loads it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from lmbench.base.digest import DIGEST_CHARS, digest_bytes
from lmbench.base.seams import ModelFacts, State, Tokenizer

SOURCES = sorted(Path(__file__).parent.glob("*.py"))

Shapes = tuple[tuple[int, ...], ...]
StateShapes = Callable[[int, int], Shapes]
"""(batch, tokens seen) -> shape of each state tensor."""


class FlopRule(Protocol):
    """Multiply-adds x 2 of a forward of `tokens` new tokens after `past`, with logits at `kept` of them."""

    def __call__(self, *, batch: int, tokens: int, past: int, kept: int) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """A language model as the seams describe it (see lmbench.base.seams.LanguageModel)."""

    facts: ModelFacts
    form: str
    module: Any
    tokenizer: Tokenizer
    state_shapes: StateShapes
    zeros: Callable[[tuple[int, ...]], Any]
    """Makes one state tensor of a shape, in the type of the form."""
    flop_rule: FlopRule | None = None

    def empty_state(self, batch: int) -> State:
        """State before the first token; caches have length 0, recurrent states are zero."""
        return tuple(self.zeros(shape) for shape in self.state_shapes(batch, 0))

    def flops(self, *, batch: int, tokens: int, past: int = 0, kept: int | None = None) -> int | None:
        """Multiply-adds x 2 of matrix products in one forward; element-wise work and look-ups are not counted.

        Masked attention scores count, since they are computed. Logits are counted at `kept` positions: all `tokens`
        unless told otherwise (a prefill that keeps only the last position has `kept` = 1).
        """
        if self.flop_rule is None:
            return None
        return self.flop_rule(batch=batch, tokens=tokens, past=past, kept=tokens if kept is None else kept)

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """Size of the state after `tokens` tokens, in bytes."""
        return element_bytes * sum(math.prod(shape) for shape in self.state_shapes(batch, tokens))


def no_state(batch: int, tokens: int) -> Shapes:
    """The state shapes of a model that carries none."""
    del batch, tokens
    return ()


def torch_zeros(shape: tuple[int, ...]) -> Any:
    """A float32 torch tensor of zeros."""
    import torch

    return torch.zeros(shape)


def count_parameters(module: Any) -> int:
    """Parameters of a torch module; a tensor shared by two layers (tied weights) counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def weights_digest(state: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 over names, types, shapes and bytes of a torch state dict, by sorted name."""
    import torch

    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        total.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return total.hexdigest()[:DIGEST_CHARS]


@cache
def code_digest() -> str:
    """Of the sources of this room: what computes with the weights of every family but a user's own."""
    return digest_bytes(b"".join(path.read_bytes() for path in SOURCES))
