"""The decoder with adaptive embedding and softmax: the vocabulary in bands by frequency, rare tokens in fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.seams import IntArray, Tokenizer
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import assemble
from lmbench.models.built import BuiltModel, FlopRule
from lmbench.models.decoder import DEFAULTS, SIZES, Decoder, Shape, design, flop_sizes
from lmbench.models.flops import DecoderSizes, decoder_rule
from lmbench.models.options import at_least_one, refuse, sized

_DEFAULTS: Mapping[str, Any] = {**DEFAULTS, "cutoffs": None, "factor": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Ranks by frequency from edge to edge, the first edge 0 and the last the vocabulary; one width for each band."""

    edges: tuple[int, ...]
    factor: int
    hidden: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in pairwise(self.edges))

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(self.hidden // self.factor**number for number in range(len(self.edges) - 1))


class Ends(nn.Module):
    """Both ends of a language model over bands: `forward` from ids, `log_prob` to all tokens.

    The input is Baevski and Auli 2019 (arXiv:1809.10853): band n has embeddings of hidden / factor^n dimensions and a matrix
    that lifts them to hidden; the first needs none. The output is Grave et al. 2017 (arXiv:1609.04309): one softmax over
    the first band and a token for each other band, and one within each of those. `tied` takes the input's tables and
    matrices for it, which torch.nn.AdaptiveLogSoftmaxWithLoss, equal otherwise, cannot. `rank` [vocab] is each id's place by
    frequency.
    """

    rank: Tensor

    def __init__(self, bands: Bands, rank: IntArray, *, tied: bool) -> None:
        super().__init__()
        self.bands, self.tied = bands, tied
        self.register_buffer("rank", torch.from_numpy(rank))
        shapes = list(zip(bands.sizes, bands.widths, strict=True))
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size, width in shapes)
        self.lifts = nn.ParameterList(torch.empty(bands.hidden, width) for _, width in shapes[1:])
        self.clusters = nn.Linear(bands.hidden, len(shapes) - 1, bias=False)
        own = [] if tied else shapes
        self.words = nn.ModuleList(nn.Linear(width, size, bias=False) for size, width in own)
        self.narrow = nn.ModuleList(nn.Linear(bands.hidden, width, bias=False) for _, width in own[1:])

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [B, T, hidden] of ids [B, T]. Every band is computed for every token: shapes do not depend on data."""
        rank = self.rank[ids]
        parts = []
        for number, (first, end) in enumerate(pairwise(self.bands.edges)):
            inside = (rank >= first) & (rank < end)
            rows = self.tables[number](torch.where(inside, rank - first, 0))
            lifted = functional.linear(rows, self.lifts[number - 1]) if number else rows
            parts.append(torch.where(inside[..., None], lifted, 0))
        return torch.stack(parts).sum(0)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probabilities [B, K, vocab] by id, in nats, of x [B, K, hidden].

        They are float32 for any x: in bfloat16 neighbours near -8 are 1/16 apart, more than many tokens are.
        """
        head = torch.cat([self._scores(0, x), self.clusters(x)], dim=-1).float().log_softmax(-1)
        common = self.bands.sizes[0]
        parts = [head[..., :common]]
        for number in range(1, len(self.tables)):
            within = self._scores(number, x).float().log_softmax(-1)
            parts.append(head[..., common + number - 1, None] + within)
        return torch.cat(parts, dim=-1).index_select(-1, self.rank)

    def keep_scale(self) -> None:
        """Draw what leads to and from narrow bands so that all embeddings, and all logits, start out equally large."""
        for matrix in [*self.lifts, *(layer.weight for layer in self.narrow)]:
            nn.init.normal_(matrix, std=min(matrix.shape) ** -0.5)

    def _scores(self, number: int, x: Tensor) -> Tensor:
        """Unnormalised scores [B, K, size] of the tokens of one band, by rank."""
        if self.tied:
            table: Any = self.tables[number]
            return functional.linear(x @ self.lifts[number - 1] if number else x, table.weight)
        scores: Tensor = self.words[number](self.narrow[number - 1](x) if number else x)
        return scores


class AdaptiveDecoder(Decoder):
    """A Decoder between adaptive ends. Its logits are log-probabilities: a softmax leaves them as they are."""

    embedding: Ends

    def __init__(self, shape: Shape, bands: Bands, rank: IntArray) -> None:
        # 'tied' asks the decoder for no head of its own
        super().__init__(replace(shape, tied=True), embedding=Ends(bands, rank, tied=shape.tied))

    def _logits(self, x: Tensor) -> Tensor:
        return self.embedding.log_prob(x)

    def _initialize(self) -> None:
        super()._initialize()
        self.embedding.keep_scale()


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A decoder (see lmbench.models.decoder.build for its options) whose vocabulary is split into bands by frequency.

    `cutoffs`: how many of the most frequent tokens lie before each further band (by default an eighth and a half of the
    vocabulary), `factor` (4): how much narrower each band is than the one before, `tied`: the output shares the
    input's tables and matrices. Frequencies are those of the training text.
    """
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("factor",))
    plain = design(name, chosen, corpus)
    shape = Shape(**plain.hyper)
    bands = _bands(name, chosen, shape)
    rank = ranks(plain.tokenizer, corpus.train_text)
    adaptive = replace(
        plain,
        family="adaptive",
        hyper={**plain.hyper, "cutoffs": list(bands.edges[1:-1]), "factor": bands.factor},
        make=lambda: AdaptiveDecoder(shape, bands, rank),
        flop_rule=adaptive_rule(flop_sizes(shape), bands),
    )
    return assemble(adaptive, corpus, seed)


def ranks(tokenizer: Tokenizer, text: str) -> IntArray:
    """Each id's place, int64 [vocab], when ids are ordered from the most to the least frequent in `text`."""
    counts = np.bincount(tokenizer.encode(text), minlength=tokenizer.vocab_size)
    return np.argsort(np.argsort(-counts, kind="stable")).astype(np.int64)


def adaptive_rule(sizes: DecoderSizes, bands: Bands) -> FlopRule:
    """The rule for `AdaptiveDecoder`: the plain decoder's blocks between ends that compute every band.

    Per token 2 * hidden * width for each band but the first. Per kept position 2 * hidden * (size of the first band + other
    bands) for the first softmax, 2 * width * (hidden + size) for each of the others.
    """
    blocks = decoder_rule(replace(sizes, vocab=0))
    rare = list(zip(bands.sizes[1:], bands.widths[1:], strict=True))
    per_token = 2 * bands.hidden * sum(bands.widths[1:])
    per_kept = 2 * bands.hidden * (bands.sizes[0] + len(rare)) + sum(2 * width * (bands.hidden + size) for size, width in rare)

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        return blocks(batch=batch, tokens=tokens, past=past, kept=kept) + batch * (tokens * per_token + kept * per_kept)

    return count


def _bands(name: str, chosen: Mapping[str, Any], shape: Shape) -> Bands:
    cutoffs = chosen["cutoffs"] or [shape.vocab // 8, shape.vocab // 2]
    expected = f"whole numbers, rising, between 1 and {shape.vocab - 1} (the vocabulary is {shape.vocab})"
    if not isinstance(cutoffs, list | tuple) or not all(type(cutoff) is int for cutoff in cutoffs):
        raise refuse(name, "cutoffs", cutoffs, expected)
    edges = (0, *cutoffs, shape.vocab)
    if any(start >= stop for start, stop in pairwise(edges)):
        raise refuse(name, "cutoffs", cutoffs, expected)
    bands = Bands(edges=edges, factor=chosen["factor"], hidden=shape.hidden)
    if bands.widths[-1] < 1:
        raise refuse(name, "factor", bands.factor, f"one that leaves the last of {len(bands.sizes)} bands a width of 1 or more")
    return bands
