"""Training inside a level: a module in place, on the corpus, by a loss of the level's own; the same weights for the same seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import clip_grad_norm_

from lmbench.base.errors import SubjectError
from lmbench.base.losses import Losses
from lmbench.base.seams import IntArray, LanguageModel
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import batches

logger = logging.getLogger("lmbench.compress")

STEP_TOKENS, SEQUENCE_TOKENS = 1024, 64
LEARNING_RATE = 3e-4
WARMUP_STEPS = 20
MAX_NORM = 1.0

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [B, T, V], inputs int64 [B, T], targets int64 [B, T]) -> scalar; targets may be data.prompts.IGNORED."""
AfterStep = Callable[[Any], None]
"""Called with the module after each optimizer step, for what must hold in spite of it, such as zeros that stay zero."""


def train(  # noqa: PLR0913 - each is a choice of the level that trains
    module: Any,
    model: LanguageModel,
    corpus: Corpus,
    *,
    steps: int,
    seed: int,
    loss: Loss | None = None,
    after_step: AfterStep | None = None,
    learning_rate: float = LEARNING_RATE,
) -> None:
    """Train `module` in place for `steps` optimizer steps on the training text, and leave it in evaluation mode.

    `model` is what the module belongs to: its tokenizer, objective, context length and empty state are used, its own module
    is not. Parameters that require no gradient stay as they are; without `loss` it is `cross_entropy`. AdamW (0.9, 0.95),
    weight decay 0.1, STEP_TOKENS tokens a step, learning rate raised linearly over WARMUP_STEPS and lowered linearly to zero
    at the end, gradients clipped at norm MAX_NORM. `seed` determines batches and dropout; it runs on one thread, so that the
    weights do not depend on the number of cores; another CPU model may still differ in the last digits. torch's global
    generator is left as it was. Progress goes to the logger 'lmbench.compress'.
    SubjectError when there is nothing to train; Diverged by the rule of base/losses.py.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not trained:
        found = f"{type(module).__name__} of model {model.facts.name!r} without a weight that gradients change"
        raise SubjectError(f"found {found}; expected one to train; use a model that is trained by gradients")
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    draws, losses = _draws(model, corpus, seed), Losses(model.facts.vocab_size, steps=steps)
    with _alone(seed):
        module.train()
        for step in range(1, steps + 1):
            value = _loss(module, model, next(draws), loss or cross_entropy)
            value.backward()  # type: ignore[no-untyped-call]
            norm = clip_grad_norm_(trained, MAX_NORM)
            losses.add(value.item(), norm.item())
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            if after_step is not None:
                after_step(module)
            if step % max(1, steps // 10) == 0 or step == steps:
                logger.info("training %s: step %d of %d, loss %.4f", model.facts.name, step, steps, value.item())
        losses.judge()
        module.eval()


def cross_entropy(logits: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of targets int64 [B, T] by logits [B, T, V]; targets that are IGNORED do not count."""
    del inputs
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _draws(model: LanguageModel, corpus: Corpus, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Endless batches of the training text by the model's objective."""
    facts = model.facts
    ids = np.array(model.tokenizer.encode(corpus.train_text), dtype=np.int64)
    tokens = min(SEQUENCE_TOKENS, facts.max_tokens)
    size = max(1, STEP_TOKENS // tokens)
    return batches(ids, batch=size, tokens=tokens, seed=seed, objective=facts.objective, mask_id=facts.mask_id)


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate at step 0 .. steps - 1: up over the warm-up, at most half of the steps, then down to zero."""
    warmup = max(1, min(WARMUP_STEPS, steps // 2))
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def _loss(module: Any, model: LanguageModel, drawn: tuple[IntArray, IntArray], loss: Loss) -> Tensor:
    inputs, targets = (torch.from_numpy(ids) for ids in drawn)
    logits = module(inputs, torch.arange(inputs.shape[1]), *model.empty_state(inputs.shape[0]))[0]
    return loss(logits, inputs, targets)


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread and a seeded generator, both as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
