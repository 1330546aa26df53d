"""A Transformer encoder trained to fill in hidden tokens: pre-norm, GELU, full attention, learned or sinusoidal positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.seams import MASKED
from lmbench.data import tokenizers
from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble
from lmbench.models.built import BuiltModel, FlopRule, no_state
from lmbench.models.decoder import SIZES
from lmbench.models.flops import DecoderSizes, decoder_rule
from lmbench.models.options import at_least_one, one_of, refuse, sized

_DEFAULTS: Mapping[str, Any] = {
    "size": "mini",
    "layers": 0,
    "hidden": 0,
    "heads": 0,
    "mlp": 0,
    "positions": "learned",
    "max_tokens": 512,
    "train_steps": 0,
    "tokenizer": None,
}
_CHOICES = {"positions": ("learned", "sinusoidal")}
TRAIN_TOKENS = 128
"""As long as the windows of its perplexity: a place it was never trained at means nothing to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The hyper-parameters of an encoder."""

    vocab: int
    layers: int
    hidden: int
    heads: int
    mlp: int
    positions: str
    max_tokens: int


class Attention(nn.Module):
    """Every token attends to every token. Four separate Linear layers, where compression methods look for weights
    (torch.nn.MultiheadAttention keeps three of them in one parameter).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query, self.key, self.value, self.output = (nn.Linear(shape.hidden, shape.hidden) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention and MLP, each behind a norm and added to the residual stream; without dropout."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(shape.hidden), Attention(shape)
        self.mlp_norm = nn.LayerNorm(shape.hidden)
        self.up, self.down = nn.Linear(shape.hidden, shape.mlp), nn.Linear(shape.mlp, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(functional.gelu(self.up(self.mlp_norm(x))))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """forward(ids int64 [B, T], positions int64 [K]) -> (logits [B, K, V],): predictions of the tokens at `positions`.

    The id V hides a token: it has an embedding and no logit (Devlin et al. 2019, arXiv:1810.04805). Sinusoids are
    computed from the length in every call, in fp32, so that export keeps it free and a cast of the weights does not blur
    them; beside them embeddings count sqrt(hidden) times (Vaswani et al. 2017, arXiv:1706.03762, section 3.4).
    """

    state_shapes = staticmethod(no_state)

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab + 1, shape.hidden)
        self.places = nn.Embedding(shape.max_tokens, shape.hidden) if shape.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.hidden)
        self.head = nn.Linear(shape.hidden, shape.vocab)
        self._initialize()

    def forward(self, ids: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        x = self.embedding(ids)
        place = torch.arange(ids.shape[1], device=ids.device)
        if self.places is not None:
            x = x + self.places(place)
        else:
            x = x * self.shape.hidden**0.5 + sinusoids(place, self.shape.hidden).to(x.dtype)
        for block in self.blocks:
            x = block(x)
        return (self.head(self.norm(x.index_select(1, positions))),)

    def empty_state(self, batch: int) -> tuple[Tensor, ...]:
        """Nothing: each pass needs the whole text."""
        del batch
        return ()

    def _initialize(self) -> None:
        """Blocks as torch.nn.Transformer's (Glorot and Bengio 2010): BERT's deviation of 0.02 is little for narrow ones. The
        head and embeddings have it, but for embeddings that are scaled to stand beside sinusoids; biases are 0.
        """
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight)
                nn.init.zeros_(part.bias)
            elif isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=0.02 if self.places is not None else self.shape.hidden**-0.5)
        nn.init.normal_(self.head.weight, std=0.02)


def sinusoids(place: Tensor, hidden: int) -> Tensor:
    """Encodings [T, hidden] of places [T]: sines and cosines by turns, wavelengths from 2 pi to 10000 * 2 pi.

    (Vaswani et al. 2017, section 3.5.)
    """
    exponents = torch.arange(0, hidden, 2, device=place.device, dtype=torch.float32) / -hidden
    angles = place.to(torch.float32)[:, None] * torch.pow(10000.0, exponents)[None, :]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """An encoder of a named size (nano, mini, small, base), every hyper-parameter open to options.

    layers, hidden, heads, mlp (width; 0: 4 hidden), positions (learned, sinusoidal), max_tokens (context), train_steps,
    tokenizer (bpe by default, bytes for nano). Its objective is 'masked', the mask id comes right after the vocabulary.
    """
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("layers", "hidden", "heads", "max_tokens"))
    one_of(name, chosen, _CHOICES)
    tokenizer = tokenizers.build(chosen["tokenizer"] or "bpe", corpus)
    shape = _shape(name, chosen, tokenizer.vocab_size)
    train_tokens = min(TRAIN_TOKENS, shape.max_tokens)
    design = Design(
        name=name,
        family="encoder",
        hyper={**asdict(shape), "train_tokens": train_tokens},
        make=lambda: Encoder(shape),
        flop_rule=_flop_rule(shape),
        tokenizer=tokenizer,
        max_tokens=shape.max_tokens,
        train_steps=chosen["train_steps"],
        train_tokens=train_tokens,
        objective=MASKED,
        mask_id=shape.vocab,
    )
    return assemble(design, corpus, seed)


def _shape(name: str, chosen: Mapping[str, Any], vocab: int) -> Shape:
    hidden, heads, positions = chosen["hidden"], chosen["heads"], chosen["positions"]
    if hidden % heads:
        raise refuse(name, "hidden", hidden, f"a multiple of {heads} (heads)")
    if positions == "sinusoidal" and hidden % 2:
        raise refuse(name, "hidden", hidden, "an even number: sinusoidal positions come in pairs")
    kept = ("layers", "hidden", "heads", "positions", "max_tokens")
    return Shape(vocab=vocab, mlp=chosen["mlp"] or 4 * hidden, **{key: chosen[key] for key in kept})


def _flop_rule(shape: Shape) -> FlopRule:
    """That of a decoder with as many heads and a plain MLP: its masked scores are computed too."""
    sizes = DecoderSizes(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.heads,
        head_size=shape.hidden // shape.heads,
        mlp=shape.mlp,
        mlp_products=2,
        vocab=shape.vocab,
    )
    return decoder_rule(sizes)
