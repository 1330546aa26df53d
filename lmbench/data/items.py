"""Questions cut from a text itself, with one right answer each: cloze and multiple choice. Text only, no tokens, no models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lmbench.base.errors import LmbenchError

CONTEXT_WORDS = 50
"""LAMBADA's passages have 4.6 sentences and 75 words on average; small models here hold fewer tokens."""
CONTEXT_LINES = 4
CHOICES = 4
LEAST_LETTERS = 4
"""Of a missing word: most shorter ones are articles and prepositions, which no context is needed for."""
LEAST_LINE = 20
"""Characters of a line to choose from: headings, brackets and bare numbers are no continuation."""
_WORD = re.compile(r"\S+")
_ANSWER = re.compile(rf"([^\W\d_]{{{LEAST_LETTERS},}})[^\w]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloze:
    """A passage without its last word; the passage ends without a space, the word begins with one."""

    context: str
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Lines of text and what may be the next one; `lines[answer]` is, the others stand elsewhere in the text."""

    context: str
    lines: tuple[str, ...]
    """All indented like the right one, so that indentation tells nothing."""
    answer: int


def cloze(text: str, *, count: int, seed: int) -> list[Cloze]:
    """`count` different passages of CONTEXT_WORDS words and the word after them, in the manner of LAMBADA.

    (Paperno et al. 2016, arXiv:1606.06031; there people chose passages whose last word cannot be guessed from its sentence
    alone, here they are drawn.) The word has LEAST_LETTERS letters or more; what punctuation follows is left out. A larger
    `count` with the same seed continues a smaller one. Raises LmbenchError when the text has fewer.
    """
    words = list(_WORD.finditer(text))
    found: dict[Cloze, None] = {}
    for last in np.random.default_rng(seed).permutation(range(CONTEXT_WORDS, len(words))):
        first, before, word = words[last - CONTEXT_WORDS], words[last - 1], words[last]
        answer = _ANSWER.fullmatch(word[0])
        if answer is None or text[before.end() : word.start()] != " ":
            continue
        found[Cloze(context=text[first.start() : before.end()], word=f" {answer[1]}")] = None
        if len(found) == count:
            return list(found)
    raise _too_few(len(found), count, f"cloze passages of {CONTEXT_WORDS} words")


def choices(text: str, *, count: int, seed: int) -> list[Choice]:
    """`count` different multiple-choice items of CHOICES lines, in the format of SWAG and HellaSwag.

    (Zellers et al. 2018, arXiv:1808.05326, and 2019, arXiv:1905.07830; there wrong endings are written by a model and kept
    where they deceive another, here they are lines of the same text.) The context are the CONTEXT_LINES lines before. A
    larger `count` with the same seed continues a smaller one. Raises LmbenchError when the text has fewer.
    """
    lines = [line.rstrip() for line in text.splitlines()]
    long = [number for number, line in enumerate(lines) if len(line.strip()) >= LEAST_LINE]
    found: dict[tuple[str, str], Choice] = {}
    for right in np.random.default_rng(seed).permutation([one for one in long if one >= CONTEXT_LINES and lines[one - 1]]):
        context = "\n".join(lines[right - CONTEXT_LINES : right]).lstrip("\n")
        line = lines[right]
        wrong = list(_elsewhere(lines, long, int(right), np.random.default_rng((seed, int(right)))))
        if len(wrong) < CHOICES - 1:
            continue
        indent = line[: len(line) - len(line.lstrip())]
        answer = int(np.random.default_rng((seed, int(right), 1)).integers(CHOICES))
        offered = [indent + other for other in wrong]
        offered.insert(answer, line)
        found.setdefault((context, line), Choice(context=context, lines=tuple(offered), answer=answer))
        if len(found) == count:
            return list(found.values())
    raise _too_few(len(found), count, f"items of {CHOICES} different lines after {CONTEXT_LINES} others")


def _elsewhere(lines: Sequence[str], long: Sequence[int], right: int, rng: np.random.Generator) -> Iterator[str]:
    """CHOICES - 1 different lines, without indentation, that stand neither in the context nor right after it."""
    seen = {lines[near].strip() for near in range(right - CONTEXT_LINES, right + 1)}
    wanted = len(seen) + CHOICES - 1
    for number in rng.permutation(long):
        other = lines[number].strip()
        if other not in seen:
            seen.add(other)
            yield other
            if len(seen) == wanted:
                return


def _too_few(found: int, count: int, what: str) -> LmbenchError:
    return LmbenchError(f"found {found} {what} in the validation text; expected {count}; lower limit or use a longer corpus")
