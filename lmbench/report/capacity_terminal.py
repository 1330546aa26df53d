"""A plan in a terminal: warnings, what to buy and how sure that is, then the options side by side, as many as the width takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.text import Text

from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_figures import DAGGER
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import short_tables
from lmbench.report.capacity_words import LEGEND, TITLE, asked, sureness, verdict, warnings
from lmbench.report.tables import Table
from lmbench.report.terminal import TIE, clipped, emit, wrapped

GAP = 2
NAMES, SHORTEST = ("option", "what happens", "input", "machine class", "stored run"), 8
"""Columns of names, which may be cut in the middle, and the least that is left of them."""
STAR = "*"
"""In place of the dagger where the terminal's encoding has none."""


def render_capacity(report: CapacityReport, console: Console) -> None:
    """Print the whole plan; the answer fits the first screen."""
    description = report.plan.request.description
    _say(console, [f"{TITLE}: {description}" if description else TITLE], "bold")
    _say(console, (f"Warning: {text}" for text in warnings(report)), "yellow")
    lead, *others = verdict(report)
    good = report.kept and reliable(report.kept[0]) is not False
    _say(console, [lead], "bold green" if good else "bold red")
    _say(console, others, "")
    _say(console, sureness(report), "")
    _say(console, asked(report.plan), "dim")
    options = option_table(report)
    if options is not None:
        _show(console, options, _side_by_side(options, console.width))
    for table in short_tables(report):
        _show(console, table, _plain(table, console.width))
    _say(console, ["", *LEGEND], "dim")


def _show(console: Console, table: Table, lines: Iterable[str]) -> None:
    _say(console, ["", table.title], "bold")
    for line in lines:
        _emit(console, line, "") if len(line) <= console.width else _say(console, [line], "")
    _say(console, table.notes, "dim")


def _side_by_side(table: Table, width: int) -> Iterator[str]:
    """The first column beside as many of the others as fit, block after block."""
    names = [row[0] for row in table.rows]
    first = max(map(len, names))
    columns = [[head, *(row[place] for row in table.rows)] for place, head in enumerate(table.head) if place]
    room = width - first - GAP
    block: list[list[str]] = []
    for column in columns:
        if block and sum(_wide(one) + GAP for one in [*block, column]) > room + GAP:
            yield from _block(["", *names], block, first, room)
            yield ""
            block = []
        block.append(column)
    yield from _block(["", *names], block, first, room)


def _block(names: Sequence[str], columns: Sequence[Sequence[str]], first: int, room: int) -> Iterator[str]:
    widths = [min(_wide(column), room) for column in columns]
    for place, name in enumerate(names):
        cells = (f"{clipped(column[place], width):<{width}}" for column, width in zip(columns, widths, strict=True))
        yield f"{name:<{first}}{' ' * GAP}{(' ' * GAP).join(cells)}".rstrip()


def _plain(table: Table, width: int) -> Iterator[str]:
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


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))


def _say(console: Console, texts: Iterable[str], style: str) -> None:
    """Each text wrapped to the width, its further lines indented; an empty one is an empty line."""
    for text in texts:
        for number, line in enumerate([*wrapped(text.replace(" %", TIE + "%"), console.width - GAP, 0)] or [Text("")]):
            _emit(console, " " * (GAP if number else 0) + line.plain, style)


def _emit(console: Console, line: str, style: str) -> None:
    try:
        DAGGER.encode(console.encoding)
    except UnicodeEncodeError:
        line = line.replace(DAGGER, STAR)
    emit(console, Text(line, style=style))
