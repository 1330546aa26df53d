"""Interpolated n-gram models counted on the training text, as sorted tables that answer a whole batch of contexts at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from lmbench.base.cache import build_once
from lmbench.base.errors import SubjectError
from lmbench.base.seams import ModelFacts, Tokenizer
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel, code_digest, count_parameters, weights_digest
from lmbench.models.options import at_least_one, one_of, refuse, settings
from lmbench.models.window import WindowModule, with_window_state

MAX_ORDER = 5
_DEFAULTS: Mapping[str, Any] = {"order": 3, "smoothing": "kneser-ney", "max_tokens": 1 << 16, "tokenizer": None}
_CHOICES = {"smoothing": ("kneser-ney", "witten-bell")}
_FILE = "tables.safetensors"
_RECIPE = 1
"""Raise it whenever anything in this file changes the tables that come out."""
_TABLE = ("keys", "starts", "following", "share", "rest")
_NO_KEY = torch.iinfo(torch.int64).max
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
"""What KenLM takes when asked for a fallback, where the text has too few n-grams to estimate discounts from."""


class Table(nn.Module):
    """What follows every context of one length, in compressed rows: one row per context seen, a last one for all others.

    A context is found by the row of the context one id shorter and its oldest id. `keys` holds row * (V + 1) + id of each,
    sorted, so that no key grows with the order. Row r continues with `following[starts[r]:starts[r + 1]]`, each of which
    gets its `share`; the lower order gets what is left, `rest[r]`: everything in the last row, which is empty.
    """

    def __init__(self, vocab: int, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.vocab = vocab
        self.keys, self.starts, self.following = (nn.Buffer(tensors[name]) for name in ("keys", "starts", "following"))
        self.share, self.rest = (nn.Parameter(tensors[name], requires_grad=False) for name in ("share", "rest"))

    def forward(self, lower: Tensor, shorter: Tensor, oldest: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities [N, V] of this order from those of the lower one (overwritten), and the rows [N] of the contexts.

        The contexts are given by the rows [N] of those one id shorter and the ids [N] in front of them.
        """
        key = shorter * (self.vocab + 1) + oldest
        place = torch.searchsorted(self.keys, key)
        row = torch.where(self.keys[place] == key, place, self.keys.shape[0] - 1)
        line, entry = self._entries(row)
        lower *= self.rest[row][:, None]
        lower.view(-1).index_add_(0, line * self.vocab + self.following[entry], self.share[entry])
        return lower, row

    def _entries(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """All continuations of all rows [N]: which of the N, and which entry of the table."""
        first = self.starts[row]
        lengths = self.starts[row + 1] - first
        line = torch.repeat_interleave(torch.arange(row.shape[0], device=row.device), lengths)
        # where each row's stretch begins in the table, less where it begins among all stretches laid end to end
        shift = first - (lengths.cumsum(0) - lengths)
        return line, torch.arange(line.shape[0], device=row.device) + shift[line]


class NGram(WindowModule):
    """forward(ids int64 [B, T], positions int64 [K], *state) -> (log-probabilities [B, K, V], *state).

    The state is the last n - 1 ids. The begin marker occurs in no table, so that a context which reaches back before the
    first token is unseen, and the order falls to as many tokens as there are. What is stored as floating point are the
    model's parameters; they are counted, so that training raises SubjectError.
    """

    def __init__(self, order: int, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(width=order - 1, vocab=tensors["unigram"].shape[0])
        self.unigram = nn.Parameter(tensors["unigram"], requires_grad=False)
        parts = [{name: tensors[f"tables.{number}.{name}"] for name in _TABLE} for number in range(order - 1)]
        self.tables = nn.ModuleList(Table(self.vocab, part) for part in parts)

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        contexts, after = self.look_back(ids, positions, state[0])
        contexts = contexts.flatten(0, 1)
        probability = self.unigram.repeat(contexts.shape[0], 1)
        row = contexts.new_zeros(contexts.shape[0])
        for back, table in enumerate(self.tables, start=1):
            probability, row = table(probability, row, contexts[:, -back])
        return probability.log().view(ids.shape[0], positions.shape[0], self.vocab), after

    def train(self, mode: bool = True) -> Self:
        """Leave training mode; SubjectError when asked to enter it."""
        if mode:
            found = "found an n-gram model, which is counted; expected one with gradients to train"
            raise SubjectError(f"{found}; leave it out of training workloads")
        return super().train(mode)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """An n-gram model of the training text; options: order n (1 to 5), smoothing, max_tokens, tokenizer (bpe by default).

    Smoothing is 'kneser-ney' (interpolated, with the modified discounts) or 'witten-bell'. No weight depends on the seed.
    An n-gram model has no context limit; max_tokens is what the suite may ask of it. `parameters` counts the stored
    probabilities and what each context leaves to the lower order; the keys that find them are not among them. FLOPs are
    None: there is no matrix product, so that the count would be 0 and MFU would show a machine at rest.
    """
    del seed
    chosen = settings(name, options, _DEFAULTS)
    at_least_one(name, chosen, ("order", "max_tokens"))
    one_of(name, chosen, _CHOICES)
    order, smoothing = chosen["order"], chosen["smoothing"]
    if order > MAX_ORDER:
        raise refuse(name, "order", order, f"at most {MAX_ORDER}")
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bpe", corpus)
    module = NGram(order, _counted(order, smoothing, tokenizer, corpus)).eval()
    facts = ModelFacts(
        name=name,
        family="n-gram",
        parameters=count_parameters(module),
        vocab_size=tokenizer.vocab_size,
        max_tokens=chosen["max_tokens"],
        carries_state=True,
        weights_digest=weights_digest(module.state_dict()),
        code_digest=code_digest(),
        reads_all_weights=False,
        details={"order": order, "smoothing": smoothing, "tokenizer_digest": tokenizer.digest},
    )
    model = BuiltModel(
        facts=facts, form="module", module=module, tokenizer=tokenizer, state_shapes=module.state_shapes, zeros=torch.zeros
    )
    return with_window_state(model)


def _counted(order: int, smoothing: str, tokenizer: Tokenizer, corpus: Corpus) -> dict[str, Tensor]:
    """The tensors of the model, from the cache when it has them."""
    from safetensors.torch import load_file, save_file

    key = {"order": order, "smoothing": smoothing, "corpus": corpus.digest, "tokenizer": tokenizer.digest, "recipe": _RECIPE}

    def count(folder: Path) -> None:
        ids = torch.tensor(tokenizer.encode(corpus.train_text))
        save_file(estimate(ids, order=order, vocab=tokenizer.vocab_size, smoothing=smoothing), folder / _FILE)

    tensors: dict[str, Tensor] = load_file(build_once("ngram", key, count) / _FILE)
    return tensors


def estimate(ids: Tensor, *, order: int, vocab: int, smoothing: str) -> dict[str, Tensor]:
    """The tensors of an NGram, by their names in its state dict, from training ids int64 [L].

    Orders below the highest count, for Kneser-Ney, the different ids in front of an n-gram instead of its occurrences
    (Kneser and Ney 1995); the beginning of the text counts as one. The lowest order is interpolated with 1 / V, so that
    every id is possible in every context. Raises SubjectError when the text is shorter than one n-gram.
    """
    if len(ids) < order:
        raise SubjectError(f"found {len(ids)} tokens of training text; expected at least the {order} of one n-gram")
    row = torch.zeros_like(ids)
    tensors: dict[str, Tensor] = {}
    for back in range(order):
        keys = row.new_zeros(1)
        if back:
            keys, row = torch.unique(row[1:] * (vocab + 1) + ids[:-back], return_inverse=True)
        grams, gram, counts = torch.unique(row * vocab + ids[back:], return_inverse=True, return_counts=True)
        if smoothing == "kneser-ney" and back + 1 < order:
            before = torch.cat([ids.new_tensor([vocab]), ids[: len(ids) - back - 1]])
            counts = torch.bincount(torch.unique(gram * (vocab + 1) + before) // (vocab + 1))
        rows, following = grams // vocab, grams % vocab
        share, rest = _interpolation(counts, rows, smoothing)
        if back:
            tensors |= _table(back - 1, keys=keys, rows=rows, following=following, share=share, rest=rest)
        else:
            unigram = (rest / vocab).repeat(vocab).index_add_(0, following, share)
            tensors["unigram"] = unigram.float()
    return tensors


def _interpolation(counts: Tensor, rows: Tensor, smoothing: str) -> tuple[Tensor, Tensor]:
    """The share of each n-gram and the rest of each context, float64, from counts and contexts' rows of all n-grams.

    Kneser-Ney: (c - D(c)) / sum of c, the rest is what the discounts took (Chen and Goodman 1999).
    Witten-Bell: c / (sum of c + T), T different ids follow the context; the rest is T / (sum of c + T) (Witten and Bell 1991).
    """
    total = torch.bincount(rows, weights=counts.double())
    if smoothing == "witten-bell":
        kinds = torch.bincount(rows)
        return counts / (total + kinds)[rows], kinds / (total + kinds)
    discounts = _discounts(counts)
    return (counts - discounts) / total[rows], torch.bincount(rows, weights=discounts) / total


def _discounts(counts: Tensor) -> Tensor:
    """Modified Kneser-Ney discounts, one each for counts of 1, 2 and more (Chen and Goodman 1999), per n-gram."""
    one, two, three, four = ((counts == value).sum().item() for value in (1, 2, 3, 4))
    discounts = _FALLBACK_DISCOUNTS
    if one and two and three:
        share = one / (one + 2 * two)
        estimated = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
        discounts = estimated if min(estimated) > 0 else _FALLBACK_DISCOUNTS
    return torch.tensor(discounts, dtype=torch.float64)[counts.clamp(max=3) - 1]


def _table(number: int, *, keys: Tensor, rows: Tensor, following: Tensor, share: Tensor, rest: Tensor) -> dict[str, Tensor]:
    """The tensors of one Table, with the row of contexts never seen behind the others."""
    tensors = {
        "keys": torch.cat([keys, keys.new_tensor([_NO_KEY])]),
        "starts": torch.searchsorted(rows, torch.arange(len(keys) + 2)),
        "following": following,
        "share": share.float(),
        "rest": torch.cat([rest, rest.new_ones(1)]).float(),
    }
    return {f"tables.{number}.{name}": tensor for name, tensor in tensors.items()}
