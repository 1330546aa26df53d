"""What every torch model of this room must do, asked of one model."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lmbench.models.built import BuiltModel


def some_ids(model: BuiltModel, batch: int, tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, model.facts.vocab_size, (batch, tokens), generator=generator)


def check_cached_decode(model: BuiltModel) -> None:
    """Prefill of three tokens, a chunk of two, then single tokens: the logits of one full pass."""
    ids = some_ids(model, 2, 9)
    with torch.no_grad():
        full, *after = model.module(ids, torch.arange(9), *model.empty_state(2))
        parts, state, done = [], list(model.empty_state(2)), 0
        for size in (3, 2, 1, 1, 1, 1):
            logits, *state = model.module(ids[:, done : done + size], torch.arange(size), *state)
            parts.append(logits)
            done += size
    assert full.shape == (2, 9, model.facts.vocab_size)
    torch.testing.assert_close(torch.cat(parts, dim=1), full, atol=2e-5, rtol=1e-4)
    for ours, whole in zip(state, after, strict=True):
        torch.testing.assert_close(ours, whole, atol=2e-5, rtol=1e-4)


def check_positions(model: BuiltModel) -> None:
    ids = some_ids(model, 1, 6)
    with torch.no_grad():
        full = model.module(ids, torch.arange(6), *model.empty_state(1))[0]
        two = model.module(ids, torch.tensor([5, 2]), *model.empty_state(1))[0]
    torch.testing.assert_close(two, full[:, [5, 2]], atol=2e-5, rtol=1e-4)


def check_causal(model: BuiltModel) -> None:
    """A later token changes nothing before it."""
    ids = some_ids(model, 1, 6)
    other = ids.clone()
    other[0, 4] = (other[0, 4] + 1) % model.facts.vocab_size
    with torch.no_grad():
        one = model.module(ids, torch.arange(6), *model.empty_state(1))[0]
        two = model.module(other, torch.arange(6), *model.empty_state(1))[0]
    torch.testing.assert_close(one[:, :4], two[:, :4])
    assert not torch.allclose(one[:, 4], two[:, 4])


def check_state_bytes(model: BuiltModel) -> None:
    ids = some_ids(model, 3, 7)
    with torch.no_grad():
        after = model.module(ids, torch.tensor([6]), *model.empty_state(3))[1:]
    assert model.state_bytes(batch=3, tokens=7) == sum(tensor.nbytes for tensor in after)
    assert model.state_bytes(batch=3, tokens=7, element_bytes=2) * 2 == model.state_bytes(batch=3, tokens=7)


def counted_flops(model: BuiltModel, batch: int, tokens: int, past: int, kept: int) -> int:
    state = model.empty_state(batch)
    with torch.no_grad():
        if past:
            state = model.module(some_ids(model, batch, past), torch.tensor([0]), *state)[1:]
        # the fused CPU kernel is unknown to the counter; the plain one is made of products it counts
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model.module(some_ids(model, batch, tokens), torch.arange(kept), *state)
    return int(counter.get_total_flops())


def check_flops(model: BuiltModel) -> None:
    for batch, tokens, past, kept in ((1, 5, 0, 5), (2, 6, 0, 1), (3, 1, 4, 1), (2, 3, 5, 2)):
        counted = counted_flops(model, batch, tokens, past, kept)
        assert model.flops(batch=batch, tokens=tokens, past=past, kept=kept) == counted
    assert model.flops(batch=2, tokens=4) == model.flops(batch=2, tokens=4, past=0, kept=4)
