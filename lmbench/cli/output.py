"""All that commands print goes through here: as wide as the terminal, and with nothing in it that a terminal would obey."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from lmbench.base.printing import neutral, one_line, printable
from lmbench.base.secrets import concealed


class _Shown(Console):
    """A console whose colours are its own: what stands in a text is neutralised before it gets a style."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(neutral(segment.text), segment.style)


def console_for(log_width: int) -> Console:
    """Standard output for tables: `log_width` columns where it is no terminal."""
    return _Shown(width=None if sys.stdout.isatty() else log_width, highlight=False)


def print_table(table: Table, log_width: int) -> None:
    """Print `table`; where it is wider than the window a cell goes on below, and nothing of a name is left out."""
    for column in table.columns:
        column.overflow = "fold"
    console_for(log_width).print(table, markup=False)


def say(text: object = "", *, err: bool = False) -> None:
    """Print `text` and a line feed."""
    click.echo(printable(str(text)), err=err)


def say_json(value: object, *, allow_nan: bool = False) -> None:
    """Print `value` as JSON, in which everything but ASCII is escaped."""
    click.echo(json.dumps(concealed(value), indent=1, allow_nan=allow_nan))


def say_over(text: str, width: int) -> None:
    """Write `text` over the line of standard error in which the cursor stands, no longer than `width`."""
    shown = one_line(text)[:width]
    click.echo(f"\r{shown:{width}}" + ("\r" if not shown else ""), nl=False, err=True)


class Verbs(click.Group):
    """A group of commands whose usage errors quote names and values that others may have chosen."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.__dict__["message"] = printable(error.message)  # final to the type checker alone
            raise
