"""Passages of a text that differ from their beginning on, more of them than a run can ask for, each found by its number."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lmbench.base.errors import LmbenchError
from lmbench.base.seams import IntArray, Tokenizer
from lmbench.data.prompts import PREFIX_TOKENS

Hashes = npt.NDArray[np.uint64]
SHORTEST_HEAD = 8
"""Fewer tokens than this cannot tell many passages apart, and a cache saves next to nothing with them: of lengths that vary,
passages shorter than this may recur."""
SPLICES = 4
"""Splices set apart for every number, of which the first that the text itself does not contain is taken."""
_FACTOR = np.uint64(0xD1342543DE82EF95)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Passages:
    """Passage number k for k < capacity: two differ within their first `head` tokens, if both are that long.

    The first len(starts) are stretches of the text. Those after them are spliced: half a head from one place, the rest from
    another. All run on at the text's beginning when they reach its end.
    """

    ids: IntArray = field(repr=False)
    head: int
    starts: IntArray = field(repr=False)
    """Places in the text, no two with the same head, shuffled."""
    halves: IntArray = field(repr=False)
    """Places, no two with the same first half of a head, shuffled."""
    known: Hashes = field(repr=False)
    """Of every stretch of `head` tokens, sorted."""

    @property
    def capacity(self) -> int:
        return len(self.starts) + (len(self.halves) ** 2 // SPLICES if self.head > 1 else 0)

    def at(self, number: int, tokens: int) -> IntArray:
        """Passage `number` as int64 [tokens], the same beginning for all lengths. Raises LmbenchError beyond the text."""
        if tokens > len(self.ids):
            raise LmbenchError(f"found {len(self.ids)} tokens of text; expected at least {tokens} for a prompt of that length")
        if number < len(self.starts):
            return self._stretch(int(self.starts[number]), tokens)
        if number >= self.capacity:
            raise self._exhausted(number)
        first, second = self._splice(number)
        half = self.head // 2
        return np.concatenate([self._stretch(first, half), self._stretch(second, max(tokens, self.head) - half)])[:tokens]

    def _splice(self, number: int) -> tuple[int, int]:
        """Two places whose joined head is not in the text; different numbers have different pairs."""
        half, count = self.head // 2, len(self.halves)
        for attempt in range(SPLICES):
            pair = (number - len(self.starts)) * SPLICES + attempt
            # Neighbouring numbers differ in their first half too.
            first, second = int(self.halves[pair % count]), int(self.halves[(pair // count + pair) % count])
            joined = np.concatenate([self._stretch(first, half), self._stretch(second, self.head - half)])
            found = hashes(joined, self.head)[0]
            place = int(np.searchsorted(self.known, found))
            if place == len(self.known) or self.known[place] != found:
                return first, second
        raise self._exhausted(number)

    def _stretch(self, start: int, tokens: int) -> IntArray:
        end = start + tokens
        if end <= len(self.ids):
            return self.ids[start:end].copy()
        return np.concatenate([self.ids[start:], self.ids[: end - len(self.ids)]])

    def _exhausted(self, number: int) -> LmbenchError:
        return LmbenchError(
            f"found {min(number, self.capacity)} prompts that differ within {self.head} tokens in {len(self.ids)} tokens of "
            f"text; expected number {number + 1} too. Use a longer or less repetitive corpus, or longer prompts"
        )


def passages(ids: IntArray, *, shortest: int, longest: int, seed: int, tokenizer: Tokenizer | None = None) -> Passages:
    """Passages of the text ids [n] for lengths from `shortest` to `longest` tokens.

    With `tokenizer` they start, and are spliced, only where a token begins that is whole characters by itself. Raises
    LmbenchError when the text is shorter than one head.
    """
    head = min(PREFIX_TOKENS, max(shortest, min(SHORTEST_HEAD, longest)))
    text = np.ascontiguousarray(ids, dtype=np.int64)
    if len(text) < max(head, 1):
        raise LmbenchError(f"found {len(text)} tokens of text; expected at least {head} for prompts that differ within as many")
    whole = np.ones(len(text), dtype=bool) if tokenizer is None else _whole(text, tokenizer)
    rng = np.random.default_rng(seed)
    last = len(text) - head + 1
    heads = hashes(text, head)
    half = head // 2
    joints = np.flatnonzero(whole[:last] & whole[half : half + last])
    return Passages(
        ids=text,
        head=head,
        starts=_different(np.flatnonzero(whole[:last]), heads, rng),
        halves=_different(joints, hashes(text, half) if half else heads, rng),
        known=np.unique(heads),
    )


def hashes(ids: IntArray, width: int) -> Hashes:
    """A polynomial hash, modulo 2^64, of each of the n - width + 1 stretches of ids [n] (Karp & Rabin, IBM J. 31, 1987).

    Equal stretches have equal hashes, so that those with different ones are different for certain.
    """
    values = ids.astype(np.uint64) + np.uint64(1)
    count = len(ids) - width + 1
    found = np.zeros(count, dtype=np.uint64)
    for place in range(width):
        found = found * _FACTOR + values[place : place + count]
    return found


def _different(starts: IntArray, hashed: Hashes, rng: np.random.Generator) -> IntArray:
    """One of `starts` for each hash at them, shuffled."""
    _, first = np.unique(hashed[starts], return_index=True)
    return np.asarray(rng.permutation(starts[first]))


def _whole(ids: IntArray, tokenizer: Tokenizer) -> npt.NDArray[np.bool_]:
    """Whether each token of ids [n] is whole characters by itself."""
    used, places = np.unique(ids, return_inverse=True)
    return np.array(["\N{REPLACEMENT CHARACTER}" not in tokenizer.decode([number]) for number in used.tolist()])[places]
