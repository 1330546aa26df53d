"""Pre-training of small models on the corpus, once per recipe and cached, so that their perplexity means something."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.cache import build_once
from lmbench.base.losses import UNKNOWN, Losses
from lmbench.base.seams import IntArray

logger = logging.getLogger("lmbench.models")

STEP_TOKENS = 1024
LEARNING_RATE = 3e-3
WARMUP_STEPS = 20
_FILE = "model.safetensors"
_RECIPE = 2
"""Raise it whenever anything in this file changes the weights that come out."""

Examples = Iterator[tuple[IntArray, IntArray]]
"""Inputs and targets, each int64 [B, T]."""


def pretrained_state(
    module: nn.Module, draws: Callable[[int], Examples], steps: int, key: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Weights of `module` after `steps` optimizer steps, from the cache when it has them.

    `module` follows the contract of lmbench.base.seams and offers empty_state(batch); its present weights are the start.
    `draws` starts batches of so many tokens, `key` must hold what determines both. AdamW (0.9, 0.95), weight decay 0.1,
    STEP_TOKENS tokens a step, learning rate raised linearly over WARMUP_STEPS, gradients clipped at norm 1. It runs on one
    thread, so that the weights do not depend on the number of cores; another CPU model may still differ in the last digits.
    Progress goes to the logger 'lmbench.models'.
    """
    from safetensors.torch import load_file

    def train(folder: Path) -> None:
        with _one_thread():
            _train(module, draws(STEP_TOKENS), steps, folder / _FILE)

    folder = build_once("model", {**key, "steps": steps, "recipe": _RECIPE}, train)
    weights: dict[str, Tensor] = load_file(folder / _FILE)
    return weights


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(module: nn.Module, draws: Examples, steps: int, path: Path) -> None:
    from safetensors.torch import save_file

    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS))
    every = max(1, steps // 10)
    module.train()
    losses = Losses(UNKNOWN, steps=steps)  # a fresh model's first loss is about ln(vocabulary)
    for step in range(1, steps + 1):
        inputs, targets = next(draws)
        loss = next_token_loss(module, torch.from_numpy(inputs), torch.from_numpy(targets))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        losses.add(loss.item(), norm.item())
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            logger.info("pre-training: step %d of %d, loss %.3f nats per token", step, steps, loss.item())
    losses.judge()
    module.eval()
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)


def next_token_loss(module: Any, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of targets int64 [B, T] given inputs int64 [B, T], as a scalar tensor.

    Targets that are data.prompts.IGNORED do not count.
    """
    positions = torch.arange(inputs.shape[1])
    logits = module(inputs, positions, *module.empty_state(inputs.shape[0]))[0]
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
