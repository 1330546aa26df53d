"""Recurrent language models: a GRU over characters and an LSTM, embedding and output head untied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble
from lmbench.models.built import BuiltModel, Shapes
from lmbench.models.flops import recurrent_rule
from lmbench.models.options import at_least_one, sized

SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"layers": 1, "embedding": 32, "hidden": 64},
    "mini": {"layers": 1, "embedding": 64, "hidden": 192},
    "small": {"layers": 2, "embedding": 128, "hidden": 384},
}
_DEFAULTS: Mapping[str, Any] = {
    "size": "mini",
    "layers": 0,
    "embedding": 0,
    "hidden": 0,
    "max_tokens": 1 << 16,
    "train_steps": 0,
    "tokenizer": None,
}
_GATES = {"gru": 3, "lstm": 4}


class Recurrent(nn.Module):
    """Embedding, stacked GRU or LSTM layers, linear head.

    forward(ids int64 [B, T], positions int64 [K], *state) -> (logits [B, K, V], *state); the state is the hidden
    tensor [B, layers, hidden], for the LSTM followed by the cell tensor of the same shape.
    """

    def __init__(self, cell: str, *, vocab: int, layers: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.is_lstm = cell == "lstm"
        self.layers, self.hidden = layers, hidden
        self.embedding = nn.Embedding(vocab, embedding)
        kind: type[nn.GRU] | type[nn.LSTM] = nn.LSTM if self.is_lstm else nn.GRU
        self.recurrence = kind(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, vocab)

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        embedded = self.embedding(ids)
        # torch keeps layers first; the contract keeps the batch first
        before = [tensor.to(embedded.dtype).transpose(0, 1).contiguous() for tensor in state]
        outputs, after = self.recurrence(embedded, (before[0], before[1]) if self.is_lstm else before[0])
        logits = self.head(outputs.index_select(1, positions))
        tensors = after if self.is_lstm else (after,)
        return (logits, *(tensor.transpose(0, 1).contiguous() for tensor in tensors))

    def state_shapes(self, batch: int, tokens: int) -> Shapes:
        """Shapes of the state; they do not grow with `tokens`."""
        del tokens
        return ((batch, self.layers, self.hidden),) * (2 if self.is_lstm else 1)

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """Zeros, as before the first token."""
        return tuple(torch.zeros(shape) for shape in self.state_shapes(batch, 0))


def build_gru(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A GRU language model; options: size (tiny, mini, small), layers, embedding, hidden, max_tokens, train_steps, tokenizer.

    The tokenizer defaults to the characters of the training text. A recurrent network has no context limit of its
    own; max_tokens is what the suite may ask of it.
    """
    return _build("gru", name, options, corpus, seed)


def build_lstm(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """Like `build_gru` with LSTM layers (Hochreiter and Schmidhuber 1997); the tokenizer defaults to BPE."""
    return _build("lstm", name, options, corpus, seed)


def _build(cell: str, name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("layers", "embedding", "hidden", "max_tokens"))
    default_tokenizer = "bpe" if cell == "lstm" else "characters"
    tokenizer = tokenizers.build(chosen["tokenizer"] or default_tokenizer, corpus)
    sizes = {key: int(chosen[key]) for key in ("layers", "embedding", "hidden")} | {"vocab": tokenizer.vocab_size}
    design = Design(
        name=name,
        family="lstm" if cell == "lstm" else "char-gru",
        hyper=sizes,
        make=lambda: Recurrent(cell, **sizes),
        flop_rule=recurrent_rule(gates=_GATES[cell], **sizes),
        tokenizer=tokenizer,
        max_tokens=chosen["max_tokens"],
        train_steps=chosen["train_steps"],
    )
    return assemble(design, corpus, seed)
