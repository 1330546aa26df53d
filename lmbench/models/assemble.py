"""From a freshly designed torch module to a built model: seeded weights, optional pre-training, facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lmbench.base.seams import CAUSAL, ModelFacts, Tokenizer
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import batches
from lmbench.models.built import BuiltModel, FlopRule, Shapes, code_digest, count_parameters, torch_zeros, weights_digest
from lmbench.models.training import Examples, pretrained_state


class OwnModule(Protocol):
    """What the modules of this room offer beside the forward contract."""

    def empty_state(self, batch: int) -> tuple[Tensor, ...]: ...
    def state_shapes(self, batch: int, tokens: int) -> Shapes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A model that has a shape but no weights yet."""

    name: str
    family: str
    hyper: Mapping[str, Any]
    """Everything `make` depends on, as plain JSON: part of the cache key, kept as details."""
    make: Callable[[], Any]
    """Makes the torch module, which is an OwnModule; its random weights come from torch's generator."""
    flop_rule: FlopRule
    tokenizer: Tokenizer
    max_tokens: int
    train_steps: int
    train_tokens: int = 64
    """Length of the sequences it is pre-trained on."""
    objective: str = CAUSAL
    mask_id: int | None = None


def counted(design: Design) -> int:
    """Parameters of the module a design makes, without memory for them."""
    with torch.device("meta"):
        return count_parameters(design.make())


def assemble(design: Design, corpus: Corpus, seed: int) -> BuiltModel:
    """Make the module with weights drawn from `seed`, pre-train it if the design asks for steps, and describe it.

    torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = design.make().eval()
    if design.train_steps:
        module.load_state_dict(_pretrained(module, design, corpus, seed))
    facts = ModelFacts(
        name=design.name,
        family=design.family,
        parameters=count_parameters(module),
        vocab_size=design.tokenizer.vocab_size,
        max_tokens=design.max_tokens,
        carries_state=bool(module.state_shapes(1, 0)),
        weights_digest=weights_digest(module.state_dict()),
        code_digest=code_digest(),
        details={**design.hyper, "train_steps": design.train_steps, "tokenizer_digest": design.tokenizer.digest},
        objective=design.objective,
        mask_id=design.mask_id,
    )
    return BuiltModel(
        facts=facts,
        form="module",
        module=module,
        tokenizer=design.tokenizer,
        state_shapes=module.state_shapes,
        zeros=torch_zeros,
        flop_rule=design.flop_rule,
    )


def _pretrained(module: nn.Module, design: Design, corpus: Corpus, seed: int) -> dict[str, Tensor]:
    """Weights after the design's steps on the training text by its objective."""

    def draws(step_tokens: int) -> Examples:
        ids = np.array(design.tokenizer.encode(corpus.train_text), dtype=np.int64)
        tokens, objective = design.train_tokens, design.objective
        return batches(ids, batch=step_tokens // tokens, tokens=tokens, seed=seed, objective=objective, mask_id=design.mask_id)

    text = {"corpus": corpus.digest, "tokenizer": design.tokenizer.digest, "seed": seed}
    return pretrained_state(module, draws, design.train_steps, {"family": design.family, **design.hyper, **text})
