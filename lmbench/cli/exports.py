"""`lmbench export` and `lmbench query`: stored records for other tools, and SQL over them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lmbench.base.files import write_atomically
from lmbench.cli.stored import read_runs
from lmbench.report import exports
from lmbench.store.imports import run_files
from lmbench.store.rows import COLUMNS, rows
from lmbench.store.runs import StoredRun, read_run

ROOT = Path("baselines")
FORMATS = ("csv", "jsonl", "parquet", "openmetrics", "mlflow")

runs_argument = click.argument("runs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
root_option = click.option(
    "--root", type=click.Path(path_type=Path), default=ROOT, show_default=True, help="folder with one storage per machine class"
)


def stored(runs: Sequence[Path], root: Path) -> Iterator[StoredRun]:
    """The named runs, or every one stored below `root`, of which a file that cannot be read is told and left out."""
    run = None
    for run in map(read_run, runs) if runs else read_runs(run_files(root), _left_out):
        yield run
    if run is None:
        raise click.UsageError(f"no stored run under {root}; name one, or run pytest with --benchmark-autosave")


@click.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@runs_argument
@click.option("--out", type=click.Path(path_type=Path), help="file to write; default: standard output (not for parquet)")
@click.option("--tracking-uri", help="where MLflow keeps its runs: a server or a database; default: where MLflow does")
@root_option
def export(form: str, runs: tuple[Path, ...], out: Path | None, tracking_uri: str | None, root: Path) -> None:
    """Write stored RUNS (default: all) as FORMAT: csv, jsonl, parquet, openmetrics or mlflow.

    One row per case and metric; `lmbench query` without SQL lists the columns. openmetrics holds the newest value of each
    case, for a textfile collector. mlflow logs one run per record, and leaves alone what it has.
    """
    table = rows(stored(runs, root))
    if form == "mlflow":
        logged, place = exports.to_mlflow(table, tracking_uri)
        click.echo(f"{logged} records logged to {place}")
        return
    if form == "parquet":
        if out is None:
            raise click.UsageError("a Parquet file is not for a terminal; name one with --out")
        exports.write_parquet(table, out)
        return
    made = {"csv": exports.as_csv, "jsonl": exports.as_json_lines, "openmetrics": exports.as_open_metrics}
    text = made[form](table)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text)


@click.command()
@click.argument("sql", required=False)
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="as JSON")
@root_option
def query(sql: str | None, runs: tuple[Path, ...], root: Path, *, as_json: bool) -> None:
    """Run SQL (DuckDB) over all stored records, or over RUNS; without SQL, list the columns of the table `records`.

    \b
    lmbench query "select backend, compression, median(value) from records
                   where metric = 'output_tokens_per_s' and model = 'gpt-mini' group by all order by 3 desc"
    """
    if sql is None:
        _print(["column", "type", "meaning"], [(name, kind, about) for name, (kind, about) in COLUMNS.items()])
        return
    names, found = exports.query(rows(stored(runs, root)), sql)
    if as_json:
        click.echo(json.dumps(exports.printable(names, found), indent=1))
    else:
        _print(names, found)


def _left_out(problem: str) -> None:
    click.echo(f"left out: {problem}", err=True)


def _print(names: Sequence[str], found: Sequence[tuple[Any, ...]]) -> None:
    table = Table(*names, box=None, pad_edge=False)
    for row in found:
        table.add_row(*("" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in row))
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table, markup=False)
