"""A stand-in for a language model: deterministic logits out of a hash, in numpy, as slow and as fat as it is told to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lmbench.base.digest import digest
from lmbench.base.seams import FloatArray, IntArray, ModelFacts
from lmbench.data.corpora import Corpus
from lmbench.models.built import BuiltModel, Shapes, code_digest, no_state
from lmbench.models.options import at_least_one, settings

_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 64,
    "max_tokens": 4096,
    "work": 20,
    "ballast_bytes": 0,
    "carries_state": True,
    "parameters": 4096,
    "perturb": 0.0,
}
_REMEMBERED = 3
"""The logits at a position depend on this many ids, the position's own included."""
_PAGE_BYTES = 4096
_MASK = (1 << 32) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModule:
    """(ids int64 [B, T], positions int64 [K], *state) -> (logits float32 [B, K, V], *state), in numpy.

    The state, if carried, is one float32 tensor [B, 1, P, 1] of all ids seen: it grows like a cache and makes cached
    decoding equal to the full forward pass.
    """

    seed: int
    vocab_size: int
    work: int
    """Steps of a counting loop per new token."""
    carries_state: bool
    perturb: float
    """Standard deviation of a fixed noise added to the logits."""
    ballast: npt.NDArray[np.uint8]

    def __call__(self, ids: IntArray, positions: IntArray, *state: FloatArray) -> tuple[FloatArray, ...]:
        self._toil(ids.size)
        seen = np.concatenate([state[0][:, 0, :, 0].astype(np.int64), ids], axis=1) if state else ids
        first = seen.shape[1] - ids.shape[1]
        logits = self._logits(seen, np.asarray(positions) + first)
        return (logits, seen.astype(np.float32)[:, None, :, None]) if self.carries_state else (logits,)

    def state_shapes(self, batch: int, tokens: int) -> Shapes:
        """Shape of the ids remembered after `tokens` tokens."""
        return ((batch, 1, tokens, 1),)

    def _logits(self, seen: IntArray, places: IntArray) -> FloatArray:
        """Between -4 and 4, by the finalizer of MurmurHash3 over the last ids, the seed and the vocabulary entry."""
        padded: IntArray = np.pad(seen, ((0, 0), (_REMEMBERED - 1, 0)), constant_values=self.vocab_size)
        hashed: npt.NDArray[np.uint32] = np.full((seen.shape[0], len(places)), self.seed & _MASK, dtype=np.uint32)
        for back in range(_REMEMBERED):
            hashed = _mix(hashed ^ padded[:, places + back].astype(np.uint32))
        numbers: npt.NDArray[np.uint32] = np.arange(self.vocab_size).astype(np.uint32)
        entries = _mix(np.bitwise_xor(hashed[:, :, None], numbers))
        logits = entries.astype(np.float32) / np.float32(1 << 29) - np.float32(4)
        if self.perturb:
            noise = np.random.default_rng(self.seed).normal(scale=self.perturb, size=self.vocab_size)
            logits = logits + noise.astype(np.float32)
        return logits

    def _toil(self, tokens: int) -> int:
        """A linear congruential generator stepped `work` times per token: arithmetic nobody can skip."""
        value = self.seed
        for _ in range(self.work * tokens):
            value = (value * 1664525 + 1013904223) & _MASK
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldedBytes:
    """UTF-8 bytes folded into `vocab_size` ids; decoding gives printable characters, not the text back."""

    vocab_size: int

    @property
    def digest(self) -> str:
        return digest({"tokenizer": "folded-bytes", "vocab_size": self.vocab_size})

    def encode(self, text: str) -> list[int]:
        return [byte % self.vocab_size for byte in text.encode("utf-8")]

    def decode(self, ids: Sequence[int]) -> str:
        """One printable character per id."""
        return "".join(chr(ord("!") + number) for number in ids)


def build(name: str, options: Mapping[str, Any], corpus: Corpus, seed: int) -> BuiltModel:
    """A fake model. Options: vocab_size, max_tokens, work (loop steps per token), ballast_bytes (allocated and touched),
    carries_state, parameters (claimed, and 2 FLOPs each per token), perturb (noise on the logits).
    """
    del corpus
    chosen = settings(name, options, _DEFAULTS)
    at_least_one(name, chosen, ("vocab_size", "max_tokens"))
    ballast = np.zeros(chosen["ballast_bytes"], dtype=np.uint8)
    ballast[::_PAGE_BYTES] = 1  # untouched pages would cost nothing
    behaviour = {key: chosen[key] for key in ("vocab_size", "work", "carries_state", "perturb")}
    module = FakeModule(seed=seed, ballast=ballast, **behaviour)
    facts = ModelFacts(
        name=name,
        family="fake",
        parameters=chosen["parameters"],
        vocab_size=chosen["vocab_size"],
        max_tokens=chosen["max_tokens"],
        carries_state=chosen["carries_state"],
        weights_digest=digest({"family": "fake", "seed": seed, **behaviour}),
        code_digest=code_digest(),
        details=chosen,
    )

    def flops(*, batch: int, tokens: int, past: int, kept: int) -> int:
        del past, kept
        return 2 * facts.parameters * batch * tokens

    return BuiltModel(
        facts=facts,
        form="fake",
        module=module,
        tokenizer=FoldedBytes(vocab_size=facts.vocab_size),
        state_shapes=module.state_shapes if facts.carries_state else no_state,
        zeros=lambda shape: np.zeros(shape, dtype=np.float32),
        flop_rule=flops,
    )


def _mix(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The 32-bit finalizer of MurmurHash3 (Appleby, public domain)."""
    values = values ^ (values >> np.uint32(16))
    values = values * np.uint32(0x85EBCA6B)
    values = values ^ (values >> np.uint32(13))
    values = values * np.uint32(0xC2B2AE35)
    return values ^ (values >> np.uint32(16))
