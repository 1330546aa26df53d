"""What the models that predict hidden tokens must do beside the contract, and what an engine must give back of them."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lmbench.models.built import BuiltModel
from tests.models import contract, exported


def logits(model: BuiltModel, ids: torch.Tensor) -> torch.Tensor:
    """Logits [B, T, V] of one pass over ids [B, T]."""
    with torch.no_grad():
        found: torch.Tensor = model.module(ids, torch.arange(ids.shape[1]))[0]
    return found


def check_without_state(model: BuiltModel) -> None:
    """No state at any length, logits of the vocabulary alone, and facts that say so."""
    ids = contract.some_ids(model, 2, 7)
    outputs = model.module(ids, torch.tensor([3]), *model.empty_state(2))
    assert [tuple(part.shape) for part in outputs] == [(2, 1, model.facts.vocab_size)]
    assert model.module.empty_state(2) == model.empty_state(2) == ()
    assert model.state_bytes(batch=2, tokens=7) == 0
    assert (model.facts.objective, model.facts.carries_state) == ("masked", False)


def check_flops(model: BuiltModel) -> None:
    for batch, tokens, kept in ((1, 5, 5), (2, 6, 1), (3, 1, 1)):
        # fused kernels (attention, oneDNN's LSTM) are unknown to the counter; the plain ones are made of products it counts
        with warnings.catch_warnings(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            warnings.simplefilter("ignore")  # about Intel GPUs
            with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
                model.module(contract.some_ids(model, batch, tokens), torch.arange(kept))
        assert model.flops(batch=batch, tokens=tokens, kept=kept) == counter.get_total_flops()
    assert model.flops(batch=2, tokens=4) == model.flops(batch=2, tokens=4, kept=4)


def check_engine(model: BuiltModel, backend: str, level: str = "none", *, atol: float) -> None:
    """Batches and lengths of several sizes, and single positions, are within `atol` of the module's own logits."""
    engine = exported.loaded(model, backend, level)
    for batch, tokens in ((3, 9), (1, 1), (2, 4)):
        ids = contract.some_ids(model, batch, tokens)
        found, state = engine.forward(ids.numpy(), np.arange(tokens), engine.empty_state(batch))
        np.testing.assert_allclose(found, logits(model, ids).numpy(), atol=atol, rtol=0)
        assert state == ()
        one, _ = engine.forward(ids.numpy(), np.array([tokens - 1]), engine.empty_state(batch))
        np.testing.assert_allclose(one[:, 0], found[:, -1], atol=atol, rtol=0)
    engine.close()
