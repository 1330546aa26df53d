"""A Transformer decoder with a KV cache: pre-norm, rotary or learned positions, grouped-query attention if asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble, counted
from lmbench.models.built import BuiltModel, Shapes
from lmbench.models.flops import DecoderSizes, decoder_rule
from lmbench.models.options import at_least_one, one_of, refuse, sized

SIZES: Mapping[str, Mapping[str, Any]] = {
    "nano": {"layers": 2, "hidden": 32, "heads": 4, "tokenizer": "bytes"},
    "mini": {"layers": 4, "hidden": 128, "heads": 4},
    "small": {"layers": 6, "hidden": 256, "heads": 8},
    "base": {"layers": 12, "hidden": 512, "heads": 8},
}
DEFAULTS: Mapping[str, Any] = {
    "size": "mini",
    "layers": 0,
    "hidden": 0,
    "heads": 0,
    "kv_heads": 0,
    "mlp": 0,
    "activation": "swiglu",
    "norm": "rms",
    "positions": "rotary",
    "rotary_base": 10000.0,
    "tied": False,
    "bias": False,
    "max_tokens": 512,
    "train_steps": 0,
    "tokenizer": None,
}
_CHOICES = {"activation": ("swiglu", "gelu"), "norm": ("rms", "layer"), "positions": ("rotary", "learned")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The hyper-parameters of a decoder."""

    vocab: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    mlp: int
    activation: str
    norm: str
    positions: str
    rotary_base: float
    tied: bool
    bias: bool
    max_tokens: int


Make = Callable[[Shape], nn.Module]
"""Makes one part of a block."""


def _norm(shape: Shape) -> nn.Module:
    return nn.RMSNorm(shape.hidden, eps=1e-6) if shape.norm == "rms" else nn.LayerNorm(shape.hidden)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864) on x [B, heads, T, size]; the pairs are the two halves."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class Attention(nn.Module):
    """Causal attention of T new tokens over P cached and T new ones; `kv_heads` heads of keys and values serve `heads`
    heads of queries (Ainslie et al. 2023, arXiv:2305.13245).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_size = shape.heads, shape.kv_heads, shape.head_size
        self.query = nn.Linear(shape.hidden, shape.heads * shape.head_size, bias=shape.bias)
        self.key = nn.Linear(shape.hidden, shape.kv_heads * shape.head_size, bias=shape.bias)
        self.value = nn.Linear(shape.hidden, shape.kv_heads * shape.head_size, bias=shape.bias)
        self.output = nn.Linear(shape.heads * shape.head_size, shape.hidden, bias=shape.bias)

    def forward(
        self, x: Tensor, visible: Tensor, rotation: tuple[Tensor, Tensor] | None, past: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """X [B, T, hidden], visible bool [T, P + T], past keys and values [B, kv_heads, P, size] -> output, keys, values."""
        query, key, value = self._split(self.query(x)), self._split(self.key(x)), self._split(self.value(x))
        if rotation is not None:
            query, key = rotate(query, *rotation), rotate(key, *rotation)
        key = torch.cat([past[0].to(key.dtype), key], dim=2)
        value = torch.cat([past[1].to(value.dtype), value], dim=2)
        mixed = functional.scaled_dot_product_attention(query, self._repeat(key), self._repeat(value), attn_mask=visible)
        return self.output(mixed.transpose(1, 2).flatten(2)), key, value

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], -1, self.head_size).transpose(1, 2)

    def _repeat(self, x: Tensor) -> Tensor:
        if self.heads == self.kv_heads:
            return x
        return x[:, :, None].expand(-1, -1, self.heads // self.kv_heads, -1, -1).flatten(1, 2)


class Mlp(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202) or a plain GELU layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.hidden, shape.mlp, bias=shape.bias) if shape.activation == "swiglu" else None
        self.up = nn.Linear(shape.hidden, shape.mlp, bias=shape.bias)
        self.down = nn.Linear(shape.mlp, shape.hidden, bias=shape.bias)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.gelu(self.up(x)) if self.gate is None else functional.silu(self.gate(x)) * self.up(x)
        return self.down(inner)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to the residual stream."""

    def __init__(self, shape: Shape, mlp: Make, attention: Make) -> None:
        super().__init__()
        self.attention_norm, self.attention = _norm(shape), attention(shape)
        self.mlp_norm, self.mlp = _norm(shape), mlp(shape)

    def forward(
        self, x: Tensor, visible: Tensor, rotation: tuple[Tensor, Tensor] | None, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        mixed, *state = self.attention(self.attention_norm(x), visible, rotation, past)
        x = x + mixed
        return (x + self.mlp(self.mlp_norm(x)), *state)


class Decoder(nn.Module):
    """forward(ids int64 [B, T], positions int64 [K], *state) -> (logits [B, K, V], *state).

    The state is (keys_0, values_0, keys_1, ...), each [B, kv_heads, P, head size]. The mask and the rotations are
    computed from lengths in every call, in fp32, so that export keeps the lengths free and a cast of the weights
    does not blur positions. `mlp` and `attention` make those parts of each block, `embedding` stands in for the table of
    all tokens; an attention with another state overrides `state_shapes`, another output `_logits`.
    """

    def __init__(self, shape: Shape, mlp: Make = Mlp, attention: Make = Attention, embedding: nn.Module | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden) if embedding is None else embedding
        self.places = nn.Embedding(shape.max_tokens, shape.hidden) if shape.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(shape, mlp, attention) for _ in range(shape.layers))
        self.norm = _norm(shape)
        self.head = None if shape.tied else nn.Linear(shape.hidden, shape.vocab, bias=False)
        self._initialize()

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        past, tokens = state[0].shape[2], ids.shape[1]
        place = torch.arange(past, past + tokens, device=ids.device)
        visible = torch.arange(past + tokens, device=ids.device)[None, :] <= place[:, None]
        x = self.embedding(ids)
        if self.places is not None:
            x = x + self.places(place)
        rotation = None if self.places is not None else self._rotation(place, x.dtype)
        after: list[Tensor] = []
        each = len(state) // len(self.blocks)
        for number, block in enumerate(self.blocks):
            x, *grown = block(x, visible, rotation, state[each * number : each * (number + 1)])
            after += grown
        return (self._logits(self.norm(x.index_select(1, positions))), *after)

    def state_shapes(self, batch: int, tokens: int) -> Shapes:
        """Shapes of the cache after `tokens` tokens."""
        return ((batch, self.shape.kv_heads, tokens, self.shape.head_size),) * (2 * self.shape.layers)

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """A cache of length 0."""
        return tuple(torch.zeros(shape) for shape in self.state_shapes(batch, 0))

    def _logits(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.embedding.weight) if self.head is None else self.head(x)  # type: ignore[arg-type]

    def _rotation(self, place: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        half = self.shape.head_size // 2
        exponents = torch.arange(half, device=place.device, dtype=torch.float32) / -half
        angles = place.to(torch.float32)[:, None] * torch.pow(self.shape.rotary_base, exponents)[None, :]
        return torch.cos(angles).to(dtype), torch.sin(angles).to(dtype)

    def _initialize(self) -> None:
        """As GPT-2: normal weights of deviation 0.02, less with depth where they write to the residual stream; biases 0."""
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                writes = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * self.shape.layers) ** 0.5 if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A decoder of a named size (nano, mini, small, base), every hyper-parameter open to options.

    layers, hidden, heads, kv_heads (0: as heads), mlp (width; 0: 4 hidden, for swiglu 8/3 hidden), activation
    (swiglu, gelu), norm (rms, layer), positions (rotary, learned), rotary_base, tied (the head shares the embedding;
    off by default), bias (of attention and MLP; off by default, a layer norm always has one), max_tokens (context),
    train_steps, tokenizer (bpe by default, bytes for nano).
    """
    return assemble(design(name, sized(name, options, SIZES, DEFAULTS), corpus), corpus, seed)


def parameters(name: str, options: Mapping[str, Any], corpus: Corpus) -> int:
    """Those of `build`, counted without it."""
    return counted(design(name, sized(name, options, SIZES, DEFAULTS), corpus))


def design(name: str, chosen: Mapping[str, Any], corpus: Corpus) -> Design:
    """The plain decoder of complete options, whose `hyper` are the fields of its Shape; its variants start from here."""
    at_least_one(name, chosen, ("layers", "hidden", "heads", "max_tokens"))
    one_of(name, chosen, _CHOICES)
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bpe", corpus)
    shape = _shape(name, chosen, tokenizer.vocab_size)
    return Design(
        name=name,
        family="decoder",
        hyper=asdict(shape),
        make=lambda: Decoder(shape),
        flop_rule=decoder_rule(flop_sizes(shape)),
        tokenizer=tokenizer,
        max_tokens=shape.max_tokens,
        train_steps=chosen["train_steps"],
    )


def flop_sizes(shape: Shape) -> DecoderSizes:
    """What the count of operations needs of a shape."""
    return DecoderSizes(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_size=shape.head_size,
        mlp=shape.mlp,
        mlp_products=3 if shape.activation == "swiglu" else 2,
        vocab=shape.vocab,
    )


def _shape(name: str, chosen: Mapping[str, Any], vocab: int) -> Shape:
    hidden, heads = chosen["hidden"], chosen["heads"]
    kv_heads = chosen["kv_heads"] or heads
    pairs = 2 if chosen["positions"] == "rotary" else 1
    if hidden % (heads * pairs):
        raise refuse(name, "hidden", hidden, f"a multiple of {heads * pairs} ({heads} heads{', in pairs' if pairs == 2 else ''})")
    if heads % kv_heads:
        raise refuse(name, "kv_heads", kv_heads, f"a divisor of heads, which is {heads}")
    # the gated MLP has three matrices, so its width is 2/3 of 4 hidden for the same size, rounded up to 32
    wide = 4 * hidden if chosen["activation"] == "gelu" else -(-8 * hidden // 3 // 32) * 32
    kept = ("layers", "activation", "norm", "positions", "tied", "bias", "max_tokens")
    return Shape(
        vocab=vocab,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_size=hidden // heads,
        mlp=chosen["mlp"] or wide,
        rotary_base=float(chosen["rotary_base"]),
        **{key: chosen[key] for key in kept},
    )
