"""Pre-training of small models on the corpus, once per recipe and cached, so that their perplexity means something."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lmbench.base.cache import build_once
from lmbench.base.seams import Tokenizer
from lmbench.data.corpora import Corpus
from lmbench.data.prompts import batches

logger = logging.getLogger("lmbench.models")

BATCH = 16
TOKENS = 64
LEARNING_RATE = 3e-3
WARMUP_STEPS = 20
_FILE = "model.safetensors"
_RECIPE = 2
"""Raise it whenever anything in this file changes the weights that come out."""


def pretrained_state(
    module: nn.Module, tokenizer: Tokenizer, corpus: Corpus, steps: int, seed: int, key: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Weights of `module` after `steps` optimizer steps on the training text, from the cache when it has them.

    `module` follows the contract of lmbench.base.seams and offers empty_state(batch); its present weights are the start.
    `key` must hold what determines those (family, hyper-parameters). AdamW (0.9, 0.95), weight decay 0.1, BATCH sequences of
    TOKENS tokens, learning rate raised linearly over WARMUP_STEPS, gradients clipped at norm 1. It runs on one thread, so
    that the weights do not depend on the number of cores; another CPU model may still differ in the last digits.
    Progress goes to the logger 'lmbench.models'.
    """
    from safetensors.torch import load_file

    full_key = {**key, "corpus": corpus.digest, "tokenizer": tokenizer.digest, "steps": steps, "seed": seed, "recipe": _RECIPE}

    def train(folder: Path) -> None:
        ids = np.array(tokenizer.encode(corpus.train_text), dtype=np.int64)
        with _one_thread():
            _train(module, ids, steps, seed, folder / _FILE)

    weights: dict[str, Tensor] = load_file(build_once("model", full_key, train) / _FILE)
    return weights


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(module: nn.Module, ids: np.ndarray[Any, np.dtype[np.int64]], steps: int, seed: int, path: Path) -> None:
    from safetensors.torch import save_file

    optimizer = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / WARMUP_STEPS))
    draws = batches(ids, batch=BATCH, tokens=TOKENS, seed=seed)
    every = max(1, steps // 10)
    module.train()
    for step in range(1, steps + 1):
        inputs, targets = next(draws)
        loss = next_token_loss(module, torch.from_numpy(inputs), torch.from_numpy(targets))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % every == 0 or step == steps:
            logger.info("pre-training: step %d of %d, loss %.3f nats per token", step, steps, loss.item())
    module.eval()
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)


def next_token_loss(module: Any, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of targets int64 [B, T] given inputs int64 [B, T], as a scalar tensor."""
    positions = torch.arange(inputs.shape[1])
    logits = module(inputs, positions, *module.empty_state(inputs.shape[0]))[0]
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
