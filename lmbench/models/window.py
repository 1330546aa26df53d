"""Models that look back over a fixed number of tokens: their state is the last ids themselves, int64 at every precision."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial

import torch
from torch import Tensor, nn

from lmbench.models.built import BuiltModel, Shapes

ID_BYTES = 8


class WindowModule(nn.Module):
    """The state of such a model, int64 [B, width]: the ids the next one is predicted from, oldest first.

    Before the first token it holds the begin marker, an id of its own behind the vocabulary: `vocab`.
    """

    def __init__(self, *, width: int, vocab: int) -> None:
        super().__init__()
        self.width, self.vocab = width, vocab

    def look_back(self, ids: Tensor, positions: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [B, T] after a state [B, width] -> the contexts that end at `positions` [B, K, width], and the state after."""
        seen = torch.cat([past, ids], dim=1)
        places = positions[:, None] + torch.arange(1, self.width + 1, device=ids.device)
        contexts = seen.index_select(1, places.flatten()).view(ids.shape[0], positions.shape[0], self.width)
        return contexts, seen[:, ids.shape[1] :]

    def state_shapes(self, batch: int, tokens: int) -> Shapes:
        """Shape of the state; it does not grow with `tokens`."""
        del tokens
        return ((batch, self.width),)

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """Begin markers alone."""
        return tuple(torch.full(shape, self.vocab) for shape in self.state_shapes(batch, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowModel(BuiltModel):
    """A built model around a WindowModule."""

    def state_bytes(self, *, batch: int, tokens: int, element_bytes: int = 4) -> int:
        """Size of the state in bytes, whatever `element_bytes` other numbers take."""
        del element_bytes
        return BuiltModel.state_bytes(self, batch=batch, tokens=tokens, element_bytes=ID_BYTES)


def with_window_state(model: BuiltModel) -> WindowModel:
    """`model`, the module of which is a WindowModule, with a state of ids instead of float zeros."""
    known = {field.name: getattr(model, field.name) for field in fields(model)}
    return WindowModel(**known | {"zeros": partial(torch.full, fill_value=model.facts.vocab_size)})
