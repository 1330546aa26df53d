"""A bidirectional LSTM language model: every token predicted from all others, a whole text in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.seams import MASKED
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble
from lmbench.models.built import BuiltModel, FlopRule, no_state
from lmbench.models.flops import recurrent_rule
from lmbench.models.options import at_least_one, sized
from lmbench.models.recurrent import SIZES

_DEFAULTS: Mapping[str, Any] = {
    "size": "mini",
    "layers": 0,
    "embedding": 0,
    "hidden": 0,
    "max_tokens": 1 << 16,
    "train_steps": 0,
    "tokenizer": None,
}


class Bidirectional(nn.Module):
    """forward(ids int64 [B, T], positions int64 [K]) -> (logits [B, K, V],): predictions of the tokens at `positions`.

    One stack reads the text from its beginning, the other from its end. Token t is predicted from the state of the first
    after t - 1 and of the second after t + 1, side by side before one softmax; a state that has read nothing is zero
    (Arisoy et al. 2015, "Bidirectional recurrent neural network language models for automatic speech recognition"). As in
    ELMo (Peters et al. 2018, arXiv:1802.05365) the stacks do not meet below: a second layer over outputs of both directions
    would have read token t before predicting it.
    """

    state_shapes = staticmethod(no_state)

    def __init__(self, *, vocab: int, layers: int, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, embedding)
        self.left = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.right = nn.LSTM(embedding, hidden, layers, batch_first=True)
        self.head = nn.Linear(2 * hidden, vocab)

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        embedded = self.embedding(ids)
        before = _states(self.left, embedded).index_select(1, positions)
        after = _states(self.right, embedded.flip(1)).index_select(1, ids.shape[1] - 1 - positions)
        return (self.head(torch.cat([before, after], dim=-1)),)

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """Nothing: each pass needs the whole text."""
        del batch
        return ()


def _states(stack: nn.LSTM, x: Tensor) -> Tensor:
    """The top states [B, T + 1, hidden] of a stack before each of T inputs [B, T, embedding], and after the last."""
    return functional.pad(stack(x)[0], (0, 0, 1, 0))


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A bidirectional LSTM language model; sizes and options of lmbench.models.recurrent.build_lstm, for each direction.

    It is trained to predict every token of a text, none of which it sees where it is predicted (objective 'masked', no
    mask id).
    """
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("layers", "embedding", "hidden", "max_tokens"))
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bpe", corpus)
    sizes = {key: int(chosen[key]) for key in ("layers", "embedding", "hidden")} | {"vocab": tokenizer.vocab_size}
    design = Design(
        name=name,
        family="bilstm",
        hyper=sizes,
        make=lambda: Bidirectional(**sizes),
        flop_rule=bidirectional_rule(**sizes),
        tokenizer=tokenizer,
        max_tokens=chosen["max_tokens"],
        train_steps=chosen["train_steps"],
        objective=MASKED,
    )
    return assemble(design, corpus, seed)


def bidirectional_rule(*, layers: int, embedding: int, hidden: int, vocab: int) -> FlopRule:
    """The rule for `Bidirectional`: twice that of one LSTM, since the head's product is one for each direction, added."""
    one = recurrent_rule(gates=4, layers=layers, embedding=embedding, hidden=hidden, vocab=vocab)

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        return 2 * one(batch=batch, tokens=tokens, past=past, kept=kept)

    return count
