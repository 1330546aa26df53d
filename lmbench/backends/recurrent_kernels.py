"""How torch exports GRU and LSTM: as loops of free length, from kernels that are looked up anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def fresh() -> Iterator[None]:
    """Make torch look up its GRU and LSTM kernels anew, before and after.

    An exporter swaps them for loops without clearing what was looked up before, so that from the second export of a process
    on, the length would be fixed (torch.export._patches, seen in torch 2.13).
    """
    kernels = (torch.ops.aten.gru.input, torch.ops.aten.lstm.input)
    try:
        for kernel in kernels:
            kernel._dispatch_cache.clear()
        yield
    finally:
        for kernel in kernels:
            kernel._dispatch_cache.clear()


@contextmanager
def as_loops() -> Iterator[None]:
    """Let torch trace recurrent cells as loops; by itself it writes them out once per token, which fixes the length.

    For export and compilation alike: an exported program still has the cell in one piece. torch.onnx does the same on its own.
    Where torch is too old to know how, the export fails and says so.
    """
    with fresh(), ExitStack() as patches:
        try:
            from torch.export._patches import register_gru_while_loop_decomposition, register_lstm_while_loop_decomposition
        except ImportError:
            yield
            return
        patches.enter_context(register_gru_while_loop_decomposition())
        patches.enter_context(register_lstm_while_loop_decomposition())
        yield
