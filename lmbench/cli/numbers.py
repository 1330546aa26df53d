"""Numbers as options of commands: finite, and within a range that can be carried out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from lmbench.base import numbers
from lmbench.base.errors import Unreadable

if TYPE_CHECKING:  # generic only in versions of click above the lowest declared one
    _Base = click.ParamType[float]
else:
    _Base = click.ParamType


class NumberType(_Base):
    """What a function of base/numbers.py reads."""

    def __init__(self, name: str, read: Callable[[str], float]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if not isinstance(value, str):
            return float(value) if self.name == "NUMBER" else int(value)
        try:
            return self._read(value.strip())
        except Unreadable as error:
            self.fail(str(error), param, ctx)


def number(*, low: float = 0.0, high: float = numbers.LARGEST, above: bool = False) -> NumberType:
    """A finite number from `low` (`above`: beyond it) to `high`."""
    return NumberType("NUMBER", partial(numbers.number, low=low, high=high, above=above))


def whole(low: int = 0, high: int = numbers.MOST_COUNT) -> NumberType:
    """A whole number from `low` to `high`."""
    return NumberType("INTEGER", partial(numbers.whole, low=low, high=high))


SEED = whole(0, numbers.MOST_SEED)
POSITIVE = number(low=numbers.SMALLEST)
SECONDS = number(above=True, high=numbers.LONGEST_S)
