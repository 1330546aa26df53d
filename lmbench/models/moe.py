"""A decoder whose MLPs are mixtures of experts: each token goes through the few its router chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmbench.data.corpora import Corpus
from lmbench.models.assemble import Design, assemble, counted
from lmbench.models.built import BuiltModel, count_parameters
from lmbench.models.decoder import DEFAULTS, SIZES, Decoder, Mlp, Shape, design, flop_sizes
from lmbench.models.flops import moe_rule
from lmbench.models.options import at_least_one, refuse, sized

_DEFAULTS: Mapping[str, Any] = {**DEFAULTS, "experts": 8, "active": 2}


class Mixture(nn.Module):
    """x [B, T, hidden] -> the outputs of the `active` experts with the highest router scores, weighted, per token.

    The weights are a softmax over the chosen scores alone: Shazeer et al. 2017 (arXiv:1701.06538) without noise, as in
    Mixtral (arXiv:2401.04088). No token is dropped for a full expert, so that every token costs the same.
    """

    def __init__(self, shape: Shape, *, experts: int, active: int) -> None:
        super().__init__()
        self.active = active
        self.router = nn.Linear(shape.hidden, experts, bias=False)
        self.experts = nn.ModuleList(Mlp(shape) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        # one row of all tokens, not a matrix: ONNX Runtime's quantizer fails on the Gemm that a matrix becomes
        tokens = x.flatten(0, 1)[None]
        scores, chosen = self.router(tokens).topk(self.active)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32)
        mixed = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            token, place = torch.where(chosen[0] == number)
            # an exported graph cannot skip an expert; elsewhere an empty input is wasted time, and torchao's int8 fails on it
            if torch.compiler.is_exporting() or token.shape[0]:
                share = weights[:, token, place, None] * expert(tokens[:, token])
                mixed = mixed.index_add(1, token, share.to(mixed.dtype))
        return mixed.view_as(x)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A decoder (see lmbench.models.decoder.build for its options) with `experts` MLPs per block, `active` per token.

    `mlp` is the width of one expert. It is trained on the next token alone, without a loss that balances the experts.
    facts.details hold `active_parameters`: all but those of the experts that a token does not pass through.
    """
    mixture = _mixture(name, options, corpus)
    layers, experts, active = (mixture.hyper[key] for key in ("layers", "experts", "active"))
    model = assemble(mixture, corpus, seed)
    idle = layers * (experts - active) * count_parameters(model.module.blocks[0].mlp.experts[0])
    details = {**model.facts.details, "active_parameters": model.facts.parameters - idle}
    return replace(model, facts=replace(model.facts, details=details, reads_all_weights=active == experts))


def parameters(name: str, options: Mapping[str, Any], corpus: Corpus) -> int:
    """Those of `build`, of all experts, counted without it."""
    return counted(_mixture(name, options, corpus))


def _mixture(name: str, options: Mapping[str, Any], corpus: Corpus) -> Design:
    chosen = sized(name, options, SIZES, _DEFAULTS)
    at_least_one(name, chosen, ("experts", "active"))
    experts, active = chosen["experts"], chosen["active"]
    if active > experts:
        raise refuse(name, "active", active, f"at most the number of experts, which is {experts}")
    plain = design(name, chosen, corpus)
    shape = Shape(**plain.hyper)
    return replace(
        plain,
        family="moe",
        hyper={**plain.hyper, "experts": experts, "active": active},
        make=lambda: Decoder(shape, mlp=partial(Mixture, experts=experts, active=active)),
        flop_rule=moe_rule(flop_sizes(shape), experts=experts, active=active),
    )
