"""Which prompt request k sends: a pure function of k, the text and a seed, so that order and threads do not matter.

| line | prompts |
|---|---|
| `unique` | no two share their first 32 tokens, so that no prefix cache is measured by accident |
| `shared-prefix 512` | 512 tokens that are the same in all prompts, then a unique part of the length drawn |
| `shared-prefix 50%` | half of every prompt is the same text, the rest unique |
| `sessions 2..8 turns, 16 at once` | conversations: a turn's prompt is the one before it, and as many new tokens as drawn |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from lmbench.base.digest import digest, digest_bytes
from lmbench.base.errors import LmbenchError
from lmbench.base.seams import IntArray, Tokenizer
from lmbench.load import forms
from lmbench.load.forms import Form, made_of
from lmbench.load.lengths import ENDS, PROMPT, Distribution, Fixed, Lengths, Uniform, uniform
from lmbench.load.passages import Passages, passages

TURNS = 2
"""The stream that numbers of turns are drawn from, after those of the two lengths."""
CYCLE = 1024
"""Conversations whose turns are laid out ahead; the layout repeats after them, with other text."""
TRIES = 16
"""Ends tried for a prompt whose text must have an exact number of tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """No two prompts share their beginning."""

    word: ClassVar[str] = "unique"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefix:
    """The same text at the start of all prompts: `tokens` in front of the length drawn, or a `share` of that length."""

    tokens: int | None = None
    share: float | None = None
    word: ClassVar[str] = "shared-prefix"

    def __post_init__(self) -> None:
        of_tokens = self.share is None and self.tokens is not None and self.tokens >= 1
        of_share = self.tokens is None and self.share is not None and 0 < self.share < 1
        if not (of_tokens or of_share):
            raise ValueError(f"found {self}; expected either tokens >= 1 or a share between 0 and 1")

    def of(self, tokens: int) -> int:
        """Shared tokens of a prompt for which `tokens` were drawn."""
        return self.tokens if self.tokens is not None else math.floor((self.share or 0.0) * tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Conversations of so many turns, `at_once` of them taking turns; an ended one makes room for the next.

    A turn's prompt is the prompt before it, continued. Answers are no part of it: they are not known ahead.
    """

    turns: Distribution
    at_once: int
    word: ClassVar[str] = "sessions"


Mode = Unique | SharedPrefix | Sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The requests of CYCLE conversations in order of sending: [n] conversations, [n] turns, and each one's requests."""

    session: IntArray
    turn: IntArray
    requests: tuple[IntArray, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskText:
    """A prompt as text. `tokens` is what encoding it gives; it was to be `asked`, and is, unless no end of it fits."""

    text: str
    tokens: int
    asked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPlan:
    """The prompts of a run; what holds for all of them is in `description`."""

    passages: Passages = field(repr=False)
    lengths: Lengths
    mode: Mode
    seed: int
    common: IntArray = field(repr=False, compare=False)
    """The text that prompts share, cyclic; empty unless the mode shares some."""
    layout: Layout | None = field(default=None, repr=False, compare=False)

    def at(self, index: int) -> IntArray:
        """The prompt of request `index`, int64 [T]. Raises LmbenchError when the text cannot provide a new one."""
        shared, tokens = self._size(index)
        return self._prompt(index, shared, tokens)

    def tokens(self, index: int) -> int:
        """The length T of the prompt of request `index`."""
        return self._size(index)[1]

    def session(self, index: int) -> tuple[int, int] | None:
        """The conversation and turn of request `index`, both from 0; None when the mode has no conversations."""
        if self.layout is None:
            return None
        cycle, place = divmod(index, len(self.layout.session))
        return int(self.layout.session[place]) + cycle * CYCLE, int(self.layout.turn[place])

    def text_at(self, index: int, tokenizer: Tokenizer) -> AskText:
        """The prompt of request `index` as text that encodes to exactly T tokens where an end near its own allows it.

        Text cut out of a longer one does not always encode to the tokens it was cut from: a merge may be broken or made at
        its ends, half a character is replaced. The start stays, since it is what makes prompts differ; the end moves.
        """
        shared, asked = self._size(index)
        length = asked
        tried: dict[int, AskText] = {}
        while len(tried) < TRIES:
            text, tokens = as_text(self._prompt(index, shared, length), tokenizer)
            tried[length] = AskText(text=text, tokens=tokens, asked=asked)
            if tokens == asked:
                return tried[length]
            length = _untried(max(length + asked - tokens, shared + 1), shared + 1, tried)
        return min(tried.values(), key=lambda one: abs(one.tokens - asked))

    def description(self) -> dict[str, object]:
        """For the record: mode, lengths, how far natural text reaches, and a digest of all that makes the prompts."""
        turns = {"turns": str(self.mode.turns), "at_once": self.mode.at_once} if isinstance(self.mode, Sessions) else {}
        shared = {"tokens": self.mode.tokens, "share": self.mode.share} if isinstance(self.mode, SharedPrefix) else {}
        facts = {
            "mode": self.mode.word,
            **turns,
            **shared,
            "seed": self.seed,
            "lengths": self.lengths.description(),
            "corpus_tokens": len(self.passages.ids),
            "corpus_digest": digest_bytes(self.passages.ids.astype("<i8").tobytes()),
            "differ_within": self.passages.head,
            "natural": len(self.passages.starts),
            "capacity": self.passages.capacity,
        }
        return {**facts, "digest": digest(facts)}

    def _size(self, index: int) -> tuple[int, int]:
        """How many tokens the prompt of request `index` shares with all others, and how many it has."""
        if self.layout is not None:
            cycle, place = divmod(index, len(self.layout.session))
            session, turn = self.layout.session[place], self.layout.turn[place]
            so_far = self.layout.requests[session][: turn + 1] + cycle * len(self.layout.session)
            return 0, int(self.lengths.of(so_far)[:, PROMPT].sum())
        drawn = int(self.lengths.of(np.array([index]))[0, PROMPT])
        if not isinstance(self.mode, SharedPrefix):
            return 0, drawn
        shared = self.mode.of(drawn)
        return shared, drawn if self.mode.tokens is None else shared + drawn

    def _prompt(self, index: int, shared: int, tokens: int) -> IntArray:
        """The prompt of request `index`, ended after `tokens`."""
        place = self.session(index)
        unique = self.passages.at(index if place is None else place[0], tokens - shared)
        return np.concatenate([self.common[:shared], unique]) if shared else unique


def prompt_plan(ids: IntArray, lengths: Lengths, mode: Mode, *, seed: int, tokenizer: Tokenizer | None = None) -> PromptPlan:
    """A plan over the text ids [n].

    With `tokenizer`, for prompts that are sent as text, prompts start only where a character does. Raises LmbenchError when
    the text is shorter than the longest prompt there can be, so that no request fails for it in the middle of a run.
    """
    shortest, longest = lengths.prompt_ends
    most = longest * int(mode.turns.quantile(ENDS)[1]) if isinstance(mode, Sessions) else longest
    if most > len(ids):
        raise LmbenchError(
            f"found {len(ids)} tokens of text; expected at least {most}, the longest prompt that may be drawn. "
            "Use a longer corpus, or lengths with a lower max"
        )
    common = np.empty(0, dtype=np.int64)
    if isinstance(mode, SharedPrefix):
        shared = mode.of(longest)
        if shared > len(ids):
            raise LmbenchError(f"found {len(ids)} tokens of text; expected at least {shared} for the shared prefix")
        start = int(np.random.default_rng([seed, len(ids)]).integers(len(ids)))
        common = np.asarray(ids)[(start + np.arange(shared)) % len(ids)].astype(np.int64)
        if mode.share is not None:
            shortest, longest = (tokens - mode.of(tokens) for tokens in (shortest, longest))
    return PromptPlan(
        passages=passages(ids, shortest=shortest, longest=longest, seed=seed, tokenizer=tokenizer),
        lengths=lengths,
        mode=mode,
        seed=seed,
        common=common,
        layout=_layout(mode, seed) if isinstance(mode, Sessions) else None,
    )


def as_text(ids: IntArray, tokenizer: Tokenizer) -> tuple[str, int]:
    """ids [T] as text, and the number of tokens when that text is encoded again, which may differ from T."""
    text = tokenizer.decode(ids.tolist())
    return text, len(tokenizer.encode(text))


def parse(text: str) -> Mode:
    """The mode that a line declares, see the table above; raises ConfigError with a caret under what is wrong."""
    return forms.read(MODES, text, key="prompts")


def line_of(mode: Mode) -> str:
    """The line that `parse` turns into `mode`; raises ValueError for one that a line cannot say."""
    return forms.write(MODES, mode)


def _untried(length: int, least: int, tried: Mapping[int, AskText]) -> int:
    """The length nearest to `length`, and not below `least`, that has not been tried; the longer of two."""
    near = (one for away in range(TRIES + 1) for one in (length + away, length - away))
    return next(one for one in near if one >= least and one not in tried)


def _layout(mode: Sessions, seed: int) -> Layout:
    turns = mode.turns.quantile(uniform(seed, TURNS, np.arange(CYCLE))).tolist()
    order: list[tuple[int, int]] = []
    waiting = iter(range(CYCLE))
    talking = [(session, 0) for session in (next(waiting, None) for _ in range(mode.at_once)) if session is not None]
    while talking:
        order += talking
        after = [(session, turn + 1) if turn + 1 < turns[session] else (next(waiting, None), 0) for session, turn in talking]
        talking = [(session, turn) for session, turn in after if session is not None]
    session, turn = np.array(order, dtype=np.int64).T
    by_session = np.argsort(session, kind="stable")
    requests = np.split(by_session, np.cumsum(turns)[:-1])
    return Layout(session=session, turn=turn, requests=tuple(requests))


def _sessions(*, turns: tuple[int, int], at_once: int) -> Sessions:
    low, high = turns
    return Sessions(turns=Fixed(tokens=low) if low == high else Uniform(low=low, high=high), at_once=at_once)


def _of_sessions(mode: Any) -> Mapping[str, Any] | None:
    turns = mode.turns if isinstance(mode, Sessions) else None
    if isinstance(turns, Fixed):
        return {"turns": (turns.tokens, turns.tokens), "at_once": mode.at_once}
    return {"turns": (turns.low, turns.high), "at_once": mode.at_once} if isinstance(turns, Uniform) else None


def _of_prefix(which: str) -> Any:
    def given(mode: Any) -> Mapping[str, Any] | None:
        value = getattr(mode, which, None) if isinstance(mode, SharedPrefix) else None
        return None if value is None else {which: value}

    return given


MODES: tuple[Form[Mode], ...] = (
    Form(word="unique", template="", make=Unique, given=made_of(Unique)),
    Form(word="shared-prefix", template="{tokens:count}", make=SharedPrefix, given=_of_prefix("tokens")),
    Form(word="shared-prefix", template="{share:share}", make=SharedPrefix, given=_of_prefix("share")),
    Form(word="sessions", template="{turns:range} turns, {at_once:count} at once", make=_sessions, given=_of_sessions),
)
