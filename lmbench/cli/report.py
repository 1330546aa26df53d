"""`lmbench report`: the reports of stored runs, written again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from lmbench.base.errors import StoreError
from lmbench.cli.output import console_for, say
from lmbench.cli.storage import left_out, machine_option, machine_runs, nothing
from lmbench.report.matrix import build_matrix
from lmbench.report.matrix_terminal import render_matrix
from lmbench.report.matrix_words import nothing as no_matrix
from lmbench.report.matrix_write import write_matrix
from lmbench.report.write import rebuild
from lmbench.store.choice import newest_runs
from lmbench.store.runs import StoredRun, read_run

DAMAGED = 2


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="folder to write to")
@click.option("--matrix", "as_matrix", is_flag=True, help="every compression level on every engine beside its fp32 parent")
@machine_option
def report(runs: tuple[Path, ...], out: Path, storage: str | None, *, as_matrix: bool) -> None:
    """Rebuild Markdown, HTML and CSV reports from stored RUNS (default: the newest stored run).

    A run is a JSON file of the storage or a journal (reports/journal/*.jsonl), also of a session that was killed. A file that
    cannot be read is left out and named.
    Of several runs of one suite the newest counts; the others, and what --out holds, fill in cases that it did not measure.

    With --matrix instead one table per model, here and in matrix.md and matrix.html: what each compression level on each
    engine gains and loses against the fp32 parent, which cells are on the Pareto front, which to choose, which to drop.
    Several RUNS are joined: of each case the newest record counts, and what differs between runs counts as noise.

    Exit status: 0 when written, 2 when there is nothing to report or a file of RUNS cannot be read.
    """
    problems: list[str] = []
    chosen = _read(runs, problems) if runs else _newest(storage)
    for problem in problems:
        left_out(problem)
    if not chosen:
        nothing(None, Path(), damaged=len(problems))
    written = _matrix(chosen, out) if as_matrix else rebuild([run.path for run in chosen], out)
    if not written:
        nothing(None, Path(), read=len(chosen))
    for path in written:
        say(path)
    sys.exit(DAMAGED if problems else 0)


def _read(paths: Sequence[Path], problems: list[str]) -> list[StoredRun]:
    found = []
    for path in paths:
        try:
            found.append(read_run(path))
        except StoreError as error:
            problems.append(str(error))
    return found


def _newest(storage: str | None) -> list[StoredRun]:
    """The newest run that can be read."""
    place, folder = machine_runs(storage)
    problems: list[str] = []
    found = newest_runs(folder, 1, problems.append)
    for problem in problems:
        left_out(problem)
    if not found:
        nothing(place, folder, damaged=len(problems))
    return found


def _matrix(chosen: Sequence[StoredRun], out: Path) -> list[Path]:
    """Print the matrix of the chosen runs and write it."""
    matrix = build_matrix(chosen)
    if not matrix.models:
        raise click.UsageError(no_matrix(matrix))
    render_matrix(matrix, console_for(Console().width))
    return write_matrix(matrix, out)
