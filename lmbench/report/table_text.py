"""A small table in a terminal or as Markdown, and sentences around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from lmbench.report.markdown import escape
from lmbench.report.tables import Table
from lmbench.report.terminal import TIE, clipped, emit, wrapped

GAP = 2
NAMES, SHORTEST = ("option", "what happens", "input", "machine class", "stored run", "case"), 8
"""Columns of names, which may be cut in the middle, and the least that is left of them."""
STAND_INS = {"\u2020": "*"}
"""The dagger of extrapolation, and what is printed where the terminal's encoding has none."""


def show(console: Console, table: Table, lines: Iterable[str] | None = None) -> None:
    """Title, head and rows in columns (or as the `lines` given), notes."""
    say(console, ["", table.title], "bold")
    for line in columns(table, console.width) if lines is None else lines:
        _emit(console, line, "") if len(line) <= console.width else say(console, [line], "")
    say(console, table.notes, "dim")


def columns(table: Table, width: int) -> Iterator[str]:
    """Head and rows in columns. Where it is narrow names give way, down to SHORTEST, then sentences: no figure is ever cut."""
    lines = (table.head, *table.rows)
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.head))]
    names = [place for place, head in enumerate(table.head) if head in NAMES]
    while sum(widths) + GAP * (len(widths) - 1) > width:
        widest = max(names, key=widths.__getitem__, default=None)
        if widest is None or widths[widest] <= SHORTEST:
            yield from (_sentence(table.head, row) for row in table.rows)
            return
        widths[widest] -= 1
    for line in lines:
        cells = (f"{clipped(cell, size):<{size}}" for cell, size in zip(line, widths, strict=True))
        yield (" " * GAP).join(cells).rstrip()


def _sentence(head: Sequence[str], row: Sequence[str]) -> str:
    return f"{row[0]}: {', '.join(f'{name} {cell}' for name, cell in zip(head[1:], row[1:], strict=True))}"


def say(console: Console, texts: Iterable[str], style: str) -> None:
    """Each text wrapped to the width, its further lines indented; an empty one is an empty line."""
    for text in texts:
        for number, line in enumerate([*wrapped(text.replace(" %", TIE + "%"), console.width - GAP, 0)] or [Text("")]):
            _emit(console, " " * (GAP if number else 0) + line.plain, style)


def _emit(console: Console, line: str, style: str) -> None:
    for sign, plain in STAND_INS.items():
        try:
            sign.encode(console.encoding)
        except UnicodeEncodeError:
            line = line.replace(sign, plain)
    emit(console, Text(line, style=style))


def markdown(table: Table) -> Iterator[str]:
    """Its lines, the heading first."""
    yield from (f"## {escape(table.title)}", "")
    yield f"| {' | '.join(map(escape, table.head))} |"
    yield "|" + "---|" * len(table.head)
    yield from (f"| {' | '.join(map(escape, row))} |" for row in table.rows)
    yield ""
    yield from (f"- {escape(note)}" for note in table.notes)
    yield ""
