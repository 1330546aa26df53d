"""Windows of token ids: prompts that differ from the start, examples to train on, evaluation windows. Arithmetic on ids only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lmbench.base.errors import LmbenchError
from lmbench.base.seams import CAUSAL, IntArray

PREFIX_TOKENS = 32
"""Prompts differ within their first PREFIX_TOKENS tokens, so that no cache of shared prefixes is measured by accident."""
IGNORED = -100
"""A target that is not scored; torch's cross-entropy leaves it out unless told otherwise."""
HIDDEN_SHARE, MASKED_SHARE, REPLACED_SHARE = 0.15, 0.8, 0.1
HIDDEN_EVERY = 8
"""An evaluation hides every eighth token of a text at once: enough left around each, and eight passes for all."""


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


def batches(
    ids: IntArray, *, batch: int, tokens: int, seed: int, objective: str = CAUSAL, mask_id: int | None = None
) -> Iterator[tuple[IntArray, IntArray]]:
    """Endless (inputs, targets), each int64 [batch, tokens], of windows with uniform starts: see `examples`.

    Raises LmbenchError when ids [n] is shorter than tokens + 1.
    """
    if len(ids) <= tokens:
        raise LmbenchError(f"found {len(ids)} tokens of text; expected at least {tokens + 1} for sequences of {tokens}")
    rows = _rows(ids, batch, tokens, np.random.default_rng(seed))
    hiding = np.random.default_rng((seed, 1))  # its own stream: the windows are the same whatever the objective
    return (examples(some, objective=objective, mask_id=mask_id, generator=hiding) for some in rows)


def _rows(ids: IntArray, batch: int, tokens: int, generator: np.random.Generator) -> Iterator[IntArray]:
    offsets = np.arange(tokens + 1)
    while True:
        yield ids[generator.integers(0, len(ids) - tokens, size=batch)[:, None] + offsets].astype(np.int64)


def examples(rows: IntArray, *, objective: str, mask_id: int | None, generator: np.random.Generator) -> tuple[IntArray, IntArray]:
    """What a model of this objective is trained on: inputs and targets int64 [B, T] out of ids [B, T + 1].

    causal: each target is the token after its input. masked: it is the token itself, and all are scored when the model does
    the hiding (`mask_id` None). With a mask id, 15 % of each row (at least one) are scored and all other targets are
    IGNORED; of those 80 % become `mask_id` in the input, 10 % a token drawn from the batch, 10 % stay (Devlin et al. 2019,
    arXiv:1810.04805, section 3.1). Every row has equally many scored targets, so that slices of a batch weigh the same.
    """
    tokens = np.ascontiguousarray(rows[:, :-1])
    if objective == CAUSAL:
        return tokens, np.ascontiguousarray(rows[:, 1:])
    if mask_id is None:
        return tokens, tokens
    first = np.arange(tokens.shape[1]) < max(1, round(HIDDEN_SHARE * tokens.shape[1]))
    scored = generator.permuted(np.broadcast_to(first, tokens.shape), axis=1)
    lot = generator.random(tokens.shape)
    changed = np.where(lot < MASKED_SHARE, mask_id, generator.choice(tokens.ravel(), size=tokens.shape))
    inputs = np.where(scored & (lot < MASKED_SHARE + REPLACED_SHARE), changed, tokens)
    return inputs, np.where(scored, tokens, IGNORED)


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
