"""A plan in a terminal: warnings, what to buy and how sure that is, then the options side by side, as many as the width takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_mix import by_model, together, total_table
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import short_tables
from lmbench.report.capacity_words import LEGEND, asked, heading, sureness, title, verdict, warnings
from lmbench.report.table_text import GAP, say, show
from lmbench.report.tables import Table
from lmbench.report.terminal import clipped


def render_capacity(reports: Sequence[CapacityReport], console: Console) -> None:
    """Print the whole plan, model after model where there are several; the answer fits the first screen."""
    say(console, [title(reports[0])], "bold")
    mix = by_model(reports)
    if mix:
        say(console, [together(reports)], "bold green" if all(one.kept for one in reports) else "bold red")
    for report in reports:
        _model(report, console)
    if mix:
        show(console, total_table(reports))
    say(console, ["", *LEGEND], "dim")


def _model(report: CapacityReport, console: Console) -> None:
    if report.model:
        say(console, ["", heading(report)], "bold underline")
    say(console, (f"Warning: {text}" for text in warnings(report)), "yellow")
    lead, *others = verdict(report)
    good = report.kept and reliable(report.kept[0]) is not False
    say(console, [lead], "bold green" if good else "bold red")
    say(console, others, "")
    say(console, sureness(report), "")
    say(console, asked(report.plan), "dim")
    options = option_table(report)
    if options is not None:
        show(console, options, _side_by_side(options, console.width))
    for table in short_tables(report):
        show(console, table)


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


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))
