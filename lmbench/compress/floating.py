"""Modules around a module that compute in another floating type than the one they are fed with."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Autocast(nn.Module):
    """`inner` by torch's list of operators for bfloat16; its fp32 weights are cast anew in every call.

    The shapes are the inner module's. Its state comes in whatever type torch's list leads to: keys and values may differ.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.train(inner.training)

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(ids.device.type, dtype=torch.bfloat16):
            answer: tuple[Tensor, ...] = self.inner(ids, positions, *state)
        return answer


class HalfInside(nn.Module):
    """A copy of `inner` in float16 that takes and gives fp32, for files whose state has to be fp32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(inner).half()
        self.train(inner.training)

    def forward(self, ids: Tensor, positions: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        answer = self.inner(ids, positions, *(part.half() if part.is_floating_point() else part for part in state))
        return tuple(part.float() if part.is_floating_point() else part for part in answer)
