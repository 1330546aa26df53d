"""A plot as data: what the scripts of a page draw, list as a table and offer as CSV, all from the same numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from lmbench.report.scale import Axis

DATE = "date"
"""The unit of an axis of moments: seconds since 1970, UTC."""
DIGITS = 7
Numbers = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A named line, one value per place of the plot, None where there is none. `low` and `high`: a band around it."""

    name: str
    values: Numbers
    low: Numbers = ()
    high: Numbers = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place on the x axis with something to say about it; `kind` is the outcome whose colour it has."""

    x: float
    words: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Curves over one x axis. `columns` are further columns of its table; one that is a text names a column of the page."""

    title: str
    x: Axis
    y: Axis
    at: Numbers | str
    """Places on the x axis, or the name of a column of the page."""
    curves: tuple[Curve, ...]
    columns: Mapping[str, Sequence[Any] | str] = field(default_factory=dict)
    rules: tuple[tuple[str, float], ...] = ()
    """Horizontal lines: name and height."""
    marks: tuple[Mark, ...] = ()
    note: str = ""

    @property
    def drawn(self) -> bool:
        """Whether there is anything to draw."""
        return any(value is not None for curve in self.curves for value in curve.values)

    def to_json(self) -> dict[str, Any]:
        """As the scripts read it."""
        return {
            "title": self.title,
            "x": _axis(self.x),
            "y": _axis(self.y),
            "at": self.at if isinstance(self.at, str) else numbers(self.at),
            "curves": [
                {"name": one.name, "values": numbers(one.values)}
                | ({"low": numbers(one.low), "high": numbers(one.high)} if one.low else {})
                for one in self.curves
            ],
            "columns": {name: values if isinstance(values, str) else list(values) for name, values in self.columns.items()},
            "rules": [[name, height] for name, height in self.rules],
            "marks": [{"x": mark.x, "words": mark.words, "kind": mark.kind} for mark in self.marks],
            "note": self.note,
        }


def numbers(values: Numbers) -> list[float | int | None]:
    """Values for JSON, to seven digits; None for what is not finite."""
    return [None if value is None or not math.isfinite(value) else _short(value) for value in values]


def script_json(data: object) -> Markup:
    """`data` as JSON that may stand inside a script element: no character of it can end the element or open a comment."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - nothing of HTML is left in it


def _short(value: float) -> float | int:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def _axis(axis: Axis) -> dict[str, Any]:
    return {"title": axis.title, "unit": axis.unit, "log": axis.log, "zero": axis.zero}
