"""The width of what commands print: the terminal's, else one that breaks no line of a log."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table


def console_for(log_width: int) -> Console:
    """Standard output for tables: `log_width` columns where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else log_width, highlight=False)


def print_table(table: Table, log_width: int) -> None:
    """Print `table`; where it is wider than the window a cell goes on below, and nothing of a name is left out."""
    for column in table.columns:
        column.overflow = "fold"
    console_for(log_width).print(table, markup=False)
