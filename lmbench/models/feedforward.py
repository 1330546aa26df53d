"""The neural probabilistic language model: a window of embeddings through one tanh layer (Bengio et al. 2003, JMLR 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble
from lmbench.models.built import BuiltModel
from lmbench.models.flops import feedforward_rule
from lmbench.models.options import at_least_one, sized
from lmbench.models.window import WindowModule, with_window_state

SIZES: Mapping[str, Mapping[str, int]] = {
    "tiny": {"window": 3, "embedding": 32, "hidden": 64},
    "mini": {"window": 5, "embedding": 64, "hidden": 256},
    "small": {"window": 8, "embedding": 128, "hidden": 512},
}
_DEFAULTS: Mapping[str, Any] = {
    "size": "mini",
    "window": 0,
    "embedding": 0,
    "hidden": 0,
    "direct": False,
    "max_tokens": 1 << 16,
    "train_steps": 0,
    "tokenizer": None,
}


class FeedForward(WindowModule):
    """forward(ids int64 [B, T], positions int64 [K], *state) -> (logits [B, K, V], *state).

    The state is the last `window` ids. The begin marker has an embedding of its own. `direct` adds the paper's
    connections from the embeddings to the logits.
    """

    def __init__(self, *, vocab: int, window: int, embedding: int, hidden: int, direct: bool) -> None:
        super().__init__(width=window, vocab=vocab)
        self.embedding = nn.Embedding(vocab + 1, embedding)
        self.hidden = nn.Linear(window * embedding, hidden)
        self.head = nn.Linear(hidden, vocab)
        self.direct = nn.Linear(window * embedding, vocab, bias=False) if direct else None

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        contexts, after = self.look_back(ids, positions, state[0])
        seen = self.embedding(contexts).flatten(2)
        logits = self.head(torch.tanh(self.hidden(seen)))
        return (logits if self.direct is None else logits + self.direct(seen)), after


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A feed-forward language model of a named size (tiny, mini, small), every hyper-parameter open to options.

    window (tokens the next one is predicted from: the paper's n - 1), embedding, hidden, direct, max_tokens, train_steps,
    tokenizer (bpe by default). There is no context limit; max_tokens is what the suite may ask of it.
    """
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("window", "embedding", "hidden", "max_tokens"))
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bpe", corpus)
    shape = {"vocab": tokenizer.vocab_size} | {key: chosen[key] for key in ("window", "embedding", "hidden", "direct")}
    design = Design(
        name=name,
        family="feed-forward",
        hyper=shape,
        make=lambda: FeedForward(**shape),
        flop_rule=feedforward_rule(**shape),
        tokenizer=tokenizer,
        max_tokens=chosen["max_tokens"],
        train_steps=chosen["train_steps"],
    )
    return with_window_state(assemble(design, corpus, seed))
