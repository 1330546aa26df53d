"""What a number may be, wherever one is written: finite, no boolean, within a range that can be carried out."""

from __future__ import annotations

import math

from lmbench.base.errors import Unreadable

MOST_COUNT = 10**9
"""Of tokens, rounds, requests, processes: whatever is counted."""
MOST_SEED = 2**53
LARGEST = 1e15
LONGEST_S = 1e6
"""Eleven days: the kernel's timers take no more than 24."""
SMALLEST = 1e-9
"""Of what must be above 0, as a rate or a factor: its inverse is a number, too."""


def number(text: str, *, low: float = 0.0, high: float = LARGEST, above: bool = False) -> float:
    """The number that `text` says, from `low` (`above`: beyond it) to `high`; raises Unreadable for anything else."""
    expected = f"a number {'above' if above else 'from'} {low:g} up to {high:g}"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if len(text) > MOST_CHARS or not math.isfinite(value) or not (low < value if above else low <= value) or value > high:
        raise Unreadable(shown(text), expected)
    return value


def whole(text: str, *, low: int = 0, high: int = MOST_COUNT) -> int:
    """The whole number that `text` says, from `low` to `high`; raises Unreadable for anything else."""
    try:
        value = int(text) if len(text) <= MOST_CHARS else None
    except ValueError:
        value = None
    if value is None or not low <= value <= high:
        raise Unreadable(shown(text), f"a whole number from {low} to {high}")
    return value


def share(text: str, *, most: float = 1.0) -> float:
    """'5%' or '0.05' as 0.05, above 0 and below `most`; raises Unreadable for anything else."""
    plain = text.strip()
    try:
        value = float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        value = math.nan
    if len(plain) > MOST_CHARS or not 0 < value < most:
        raise Unreadable(shown(text), "a percentage such as 5%")
    return value


MOST_CHARS = 40


def shown(text: str, most: int = MOST_CHARS) -> str:
    """`text` in quotes, as much of it as a message has room for."""
    return repr(text) if len(text) <= most else f"{text[: most // 2]!r} and {len(text) - most // 2} characters more"
