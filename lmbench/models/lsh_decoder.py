"""The decoder with attention by locality-sensitive hashing: its cost grows with the length, not with its square."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.data.corpora import Corpus
from lmbench.models.assemble import assemble
from lmbench.models.built import BuiltModel, FlopRule, Shapes
from lmbench.models.decoder import DEFAULTS, SIZES, Decoder, Shape, design, flop_sizes, rotate
from lmbench.models.flops import DecoderSizes
from lmbench.models.options import at_least_one, refuse, sized

MAX_BUCKETS = 256
"""The state holds bucket numbers in the model's floating-point type; bfloat16 has every whole number up to 256."""
_DEFAULTS: Mapping[str, Any] = {
    **{key: value for key, value in DEFAULTS.items() if key != "kv_heads"},
    "max_tokens": 4096,
    "buckets": 16,
    "rounds": 4,
    "chunk": 32,
}
_ITSELF = 1e5
"""Taken from a token's score with itself, so that it counts only where it is alone (Reformer, appendix A)."""
_HIDDEN = torch.finfo(torch.float32).min
"""The score of a pair that must not be; finite, so that a row of nothing else does not become nan."""
_NOWHERE = -9
"""The chunk of an empty seat, next to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """`rounds` independent hashes into `buckets` buckets; within a bucket, chunks of `chunk` tokens."""

    buckets: int
    rounds: int
    chunk: int

    def chunks(self, length: int) -> int:
        """Chunks of one round that are enough for `length` tokens: every bucket may end in one that is not full."""
        return length // self.chunk + self.buckets

    def pairs(self, length: int) -> int:
        """Pairs of seats that all rounds together multiply for `length` tokens."""
        return self.rounds * self.chunks(length) * 2 * self.chunk**2

    def sorts(self, tokens: int, length: int) -> bool:
        """Whether sorting pays for the last `tokens` of `length`; a mask looks at each of their pairs once in every round."""
        return self.rounds * tokens * length > self.pairs(length)


class LshAttention(nn.Module):
    """Causal attention among tokens whose queries fall into one bucket (Reformer: Kitaev et al. 2020, arXiv:2001.04451).

    Queries serve as keys, scaled to one length; the score is q_i . k_j with |k_j| = 1, as in the authors' code. The hash
    is angular: argmax of [x R, -x R] for a random R (Andoni et al. 2015, arXiv:1509.02897), drawn once with the weights.

    Each token sees, in every round, the earlier tokens of its own chunk and of the chunk before it. Unlike the paper,
    which cuts the sorted sequence as a whole, every bucket is cut into chunks from its own first token on. What a token
    sees is then decided by the tokens before it alone: later ones cannot shift it across a border, and decoding
    from a state computes what a full pass computes, up to rounding (where rounding decides a hash, a token may see others).
    """

    directions: Tensor

    def __init__(self, shape: Shape, hashing: Hashing) -> None:
        super().__init__()
        self.hashing, self.head_size = hashing, shape.head_size
        self.query = nn.Linear(shape.hidden, shape.hidden, bias=shape.bias)
        self.value = nn.Linear(shape.hidden, shape.hidden, bias=shape.bias)
        self.output = nn.Linear(shape.hidden, shape.hidden, bias=shape.bias)
        half = hashing.rounds * (hashing.buckets // 2)
        self.register_buffer("directions", torch.randn(shape.heads, half, shape.head_size))

    def forward(
        self, x: Tensor, visible: Tensor, rotation: tuple[Tensor, Tensor] | None, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """X [B, T, hidden], visible bool [T, P + T], past -> output, past grown.

        The past is queries and values [B, heads, P, size] and buckets [B, heads, P, rounds]. Few tokens are compared with all
        before them under a mask, many sorted into chunks (their past with them); a program for export, which has one
        way for all lengths, always sorts.
        """
        query, value = self._split(self.query(x)), self._split(self.value(x))
        if rotation is not None:
            query = rotate(query, *rotation)
        new = (query, value, self._buckets(query.detach()).to(value.dtype))
        query, value, bucket = (torch.cat([old.to(part.dtype), part], dim=2) for old, part in zip(past, new, strict=True))
        tokens, length = visible.shape
        if torch.compiler.is_exporting() or self.hashing.sorts(tokens, length):
            mixed = attend_sorted(query, value, bucket.long(), self.hashing)[:, :, -tokens:]
        else:
            mixed = attend_masked(query, value, bucket.long(), visible, self.hashing)
        return self.output(mixed.transpose(1, 2).flatten(2)), query, value, bucket

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], -1, self.head_size).transpose(1, 2)

    def _buckets(self, query: Tensor) -> Tensor:
        """The hashes [B, heads, T, rounds] of [B, heads, T, size]."""
        batch, heads, tokens, _ = query.shape
        # the constant stands on the left, where quantizers do not look for weights
        projected = self.directions @ query.transpose(-1, -2)
        projected = projected.view(batch, heads, self.hashing.rounds, self.hashing.buckets // 2, tokens)
        if self.hashing.buckets == 1:
            return projected.sum(3).transpose(-1, -2)
        return torch.cat([projected, -projected], dim=3).argmax(3).transpose(-1, -2)


def attend_masked(query: Tensor, value: Tensor, bucket: Tensor, visible: Tensor, hashing: Hashing) -> Tensor:
    """Attention of the last T tokens over all of [B, heads, L, size], whose buckets are int64 [B, heads, L, rounds].

    `visible` bool [T, L] is true up to each token's own place.
    """
    tokens, length = visible.shape
    place = torch.arange(length, device=visible.device)
    hashes = bucket.transpose(2, 3)
    mates = (hashes[..., -tokens:, None] == hashes[..., None, :]) & visible
    rank = mates.cumsum(-1, dtype=torch.int32)
    first = ((rank[..., -1:] - 1).div(hashing.chunk, rounding_mode="floor") - 1) * hashing.chunk
    seen = (mates & (rank > first)).any(2)
    itself = place == place[-tokens:, None]
    score = (query[:, :, -tokens:] @ functional.normalize(query, dim=-1).transpose(-1, -2)).float()
    score = (score - _ITSELF * itself).masked_fill(~seen, _HIDDEN)
    return score.softmax(-1).to(value.dtype) @ value


def attend_sorted(query: Tensor, value: Tensor, bucket: Tensor, hashing: Hashing) -> Tensor:
    """Attention of all tokens of [B, heads, L, size], whose buckets are int64 [B, heads, L, rounds].

    A pair that meets in several rounds counts in the first of them alone, so that the rounds together, weighted by their
    normalisers, are one softmax over all that a token sees. Each token itself joins as one more round that weighs nothing
    beside the others.
    """
    seats = [_seats(bucket[..., number], hashing) for number in range(hashing.rounds)]
    # the number of a chunk plus that of its bucket: 0 or 1 apart means neighbours, and never in different buckets
    chunk = torch.stack([seat.div(hashing.chunk, rounding_mode="floor") for seat in seats], dim=-1) + bucket
    table = [functional.pad(part, (0, 0, 0, 1)) for part in (query, functional.normalize(query, dim=-1), value)]
    table.append(functional.pad(chunk.int(), (0, 0, 0, 1), value=_NOWHERE))
    rounds = [_attend_round(table, seat, number, hashing) for number, seat in enumerate(seats)]
    rounds.append((value, torch.full_like(rounds[0][1], -_ITSELF)))
    weights = torch.stack([normaliser for _, normaliser in rounds]).softmax(0).to(value.dtype)
    return (weights * torch.stack([mixed for mixed, _ in rounds])).sum(0)


def _seats(bucket: Tensor, hashing: Hashing) -> Tensor:
    """A stable sort by bucket, each bucket from a new chunk on: the seat [B, heads, L] of each token of [B, heads, L]."""
    member = functional.one_hot(bucket, hashing.buckets)
    rank = (member.cumsum(2) * member).sum(-1) - 1
    chunks = (member.sum(2) + hashing.chunk - 1).div(hashing.chunk, rounding_mode="floor")
    first = chunks.cumsum(-1) - chunks
    return first.gather(-1, bucket) * hashing.chunk + rank


def _attend_round(table: list[Tensor], seat: Tensor, number: int, hashing: Hashing) -> tuple[Tensor, Tensor]:
    """The outputs [B, heads, L, size] and log normalisers [B, heads, L, 1] of one round, without each token itself.

    `table` holds queries, keys, values and chunks per round, each [B, heads, L + 1, ...]; row L is what empty seats hold.
    """
    batch, heads, length = seat.shape
    size, chunks = hashing.chunk, hashing.chunks(seat.shape[2])
    # one empty chunk stands in front, for the first to look back at
    holder = seat.new_full((batch, heads, (1 + chunks) * size), length)
    holder = holder.scatter(2, seat + size, torch.arange(length, device=seat.device).expand_as(seat))
    query, key, value, chunk = (_take(part, holder.view(batch, heads, 1 + chunks, size)) for part in table)
    score = (query[:, :, 1:] @ _looking_back(key).transpose(-1, -2)).float()
    score = score.masked_fill(~_meeting(chunk, number), _HIDDEN)
    weight = score.softmax(-1)
    # the largest weight is exp(largest score - normaliser); logsumexp would take every exponential once more
    normaliser = score.amax(-1, keepdim=True) - weight.amax(-1, keepdim=True).log()
    mixed = weight.to(value.dtype) @ _looking_back(value)
    return _take(mixed.flatten(2, 3), seat), _take(normaliser.flatten(2, 3), seat)


def _meeting(chunk: Tensor, number: int) -> Tensor:
    """Which of its 2 m neighbours each seat sees in round `number` first: bool [B, heads, chunks, m, 2 m].

    `chunk` [B, heads, 1 + chunks, m, rounds] holds the chunks of the tokens in these seats, by all rounds. The seats of a
    bucket follow positions, so what comes before in the own chunk, and all of the chunk before it in the bucket, is past.
    """
    size = chunk.shape[3]
    first = chunk[..., 0, number]
    continued = (first[:, :, 1:] - first[:, :, :-1] == 1)[..., None, None].expand(-1, -1, -1, size, size)
    earlier = torch.ones(size, size, dtype=torch.bool, device=chunk.device).tril(-1).expand_as(continued)
    meeting = torch.cat([continued, earlier], dim=-1)
    for before in range(number):
        own = chunk[..., before]
        back = own[:, :, 1:, :, None] - _looking_back(own)[..., None, :]
        meeting = meeting & (back != 0) & (back != 1)
    return meeting


def _looking_back(seats: Tensor) -> Tensor:
    """[B, heads, 1 + chunks, m, ...] -> [B, heads, chunks, 2 m, ...]: every chunk behind the one before it."""
    return torch.cat([seats[:, :, :-1], seats[:, :, 1:]], dim=3)


def _take(table: Tensor, rows: Tensor) -> Tensor:
    """Rows [B, heads, ...] of table [B, heads, L, size] -> [B, heads, ..., size]."""
    batch, heads, length, size = table.shape
    start = torch.arange(batch * heads, device=rows.device).mul(length).view(batch, heads, *(1,) * (rows.dim() - 2))
    return table.reshape(-1, size).index_select(0, (rows + start).flatten()).view(*rows.shape, size)


class LshDecoder(Decoder):
    """A Decoder whose state is (queries_0, values_0, buckets_0, queries_1, ...); buckets are [B, heads, P, rounds].

    What remains of the square of the length is the mask all decoders make: one byte per pair, once for all layers.
    """

    def __init__(self, shape: Shape, hashing: Hashing) -> None:
        super().__init__(shape, attention=partial(LshAttention, hashing=hashing))
        self.hashing = hashing

    def state_shapes(self, batch: int, tokens: int) -> Shapes:
        """Shapes of the cache after `tokens` tokens."""
        sizes = (self.shape.head_size, self.shape.head_size, self.hashing.rounds)
        return tuple((batch, self.shape.heads, tokens, size) for size in sizes) * self.shape.layers


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A decoder (see lmbench.models.decoder.build for its options, but for kv_heads) with attention by hashing.

    `buckets` (16; even, or 1 for full attention within the chunks), `rounds` of hashing (4), `chunk` (32 tokens; a token
    sees between one and two chunks of its bucket in each round), max_tokens (4096).
    """
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("buckets", "rounds", "chunk"))
    hashing = Hashing(buckets=chosen["buckets"], rounds=chosen["rounds"], chunk=chosen["chunk"])
    if hashing.buckets > MAX_BUCKETS or (hashing.buckets > 1 and hashing.buckets % 2):
        raise refuse(name, "buckets", hashing.buckets, f"1 or an even number up to {MAX_BUCKETS}")
    plain = design(name, {**chosen, "kv_heads": 0}, corpus)
    shape = Shape(**plain.hyper)
    hashed = replace(
        plain,
        family="lsh-decoder",
        hyper={**plain.hyper, **asdict(hashing)},
        make=lambda: LshDecoder(shape, hashing),
        flop_rule=lsh_rule(flop_sizes(shape), hashing),
    )
    return assemble(hashed, corpus, seed)


def lsh_rule(sizes: DecoderSizes, hashing: Hashing) -> FlopRule:
    """The rule for `LshDecoder` as torch runs it; an exported program sorts at every length, which costs more in short steps.

    Per layer and token: 2 * hidden * hidden * 3 for the three projections, 2 * hidden * rounds * (buckets // 2) for the
    hashes (half of the buckets are directions, the others their opposites), the MLP as in any decoder. Per layer 4 * hidden
    for scores and weighted values of each pair of tokens or, where they are sorted, of seats, hidden and empty ones included.
    """
    projections = 2 * sizes.hidden * (3 * sizes.hidden + hashing.rounds * (hashing.buckets // 2))
    per_token = sizes.layers * (projections + 2 * sizes.mlp_products * sizes.hidden * sizes.mlp)
    per_pair = sizes.layers * 4 * sizes.hidden

    def count(*, batch: int, tokens: int, past: int, kept: int) -> int:
        length = past + tokens
        pairs = hashing.pairs(length) if hashing.sorts(tokens, length) else tokens * length
        return batch * (tokens * per_token + per_pair * pairs + kept * 2 * sizes.hidden * sizes.vocab)

    return count
