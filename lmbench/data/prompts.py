"""Windows of token ids: prompts that differ from the start, training batches, evaluation windows. Arithmetic on ids only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmbench.base.errors import LmbenchError
from lmbench.base.seams import IntArray

PREFIX_TOKENS = 32
"""Prompts differ within their first PREFIX_TOKENS tokens, so that no cache of shared prefixes is measured by accident."""


def prompts(ids: IntArray, *, count: int, tokens: int, seed: int) -> IntArray:
    """`count` windows of `tokens` ids from ids [n], as int64 [count, tokens]; overlap is allowed, equal prefixes are not.

    Every two prompts differ within their first `min(tokens, PREFIX_TOKENS)` ids; a larger `count` with the same seed
    continues a smaller one. Raises LmbenchError when the text cannot provide them.
    """
    starts = len(ids) - tokens + 1
    if starts < count:
        raise LmbenchError(
            f"found {len(ids)} tokens of text; expected at least {count + tokens - 1} for {count} prompts of {tokens}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(ids, tokens)
    chosen: list[int] = []
    seen: set[bytes] = set()
    for start in np.random.default_rng(seed).permutation(starts):
        prefix = windows[start, :PREFIX_TOKENS].tobytes()
        if prefix not in seen:
            seen.add(prefix)
            chosen.append(int(start))
            if len(chosen) == count:
                return np.ascontiguousarray(windows[chosen], dtype=np.int64)
    raise LmbenchError(
        f"found {len(chosen)} different prompts of {tokens} tokens in {len(ids)} tokens of text; expected {count}. "
        "Use a longer corpus or longer prompts"
    )


def batches(ids: IntArray, *, batch: int, tokens: int, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Endless (inputs, targets), each int64 [batch, tokens], targets one token ahead, starts drawn uniformly.

    Raises LmbenchError when ids [n] is shorter than tokens + 1.
    """
    last = len(ids) - tokens
    if last < 1:
        raise LmbenchError(f"found {len(ids)} tokens of text; expected at least {tokens + 1} for sequences of {tokens}")
    return _batches(ids, last, batch, tokens, seed)


def _batches(ids: IntArray, last: int, batch: int, tokens: int, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    generator = np.random.default_rng(seed)
    offsets = np.arange(tokens + 1)
    while True:
        rows = ids[generator.integers(0, last, size=batch)[:, None] + offsets].astype(np.int64)
        yield np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])


def windows(ids: IntArray, *, tokens: int, limit: int) -> IntArray:
    """Consecutive windows int64 [n, tokens + 1] for evaluation: inputs [:, :-1], targets [:, 1:].

    Neighbours share one id, so that every target is predicted exactly once; n * tokens <= limit. Raises LmbenchError
    when not even one window fits the text or the limit.
    """
    count = min((len(ids) - 1) // tokens, limit // tokens)
    if count < 1:
        raise LmbenchError(f"found {len(ids)} tokens of text and a limit of {limit}; expected room for {tokens + 1} tokens")
    rows = np.arange(count)[:, None] * tokens + np.arange(tokens + 1)
    return np.ascontiguousarray(ids[rows], dtype=np.int64)
