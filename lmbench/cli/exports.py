"""`lmbench export` and `lmbench query`: stored records for other tools, and SQL over them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from lmbench.base.files import write_atomically
from lmbench.base.printing import printable
from lmbench.cli.output import print_table, say, say_json
from lmbench.cli.storage import every_option, every_run, left_out, nothing
from lmbench.cli.stored import read_runs
from lmbench.report import exports
from lmbench.store.imports import run_files
from lmbench.store.rows import COLUMNS, rows
from lmbench.store.runs import StoredRun

FORMATS = ("csv", "jsonl", "parquet", "openmetrics", "mlflow")

runs_argument = click.argument("runs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))


def stored(runs: Sequence[Path], storage: str | None) -> Iterator[StoredRun]:
    """The named runs, or every stored one; a file that cannot be read is named and left out."""
    place, root = (None, Path()) if runs else every_run(storage)
    problems: list[str] = []
    count = records = 0
    for run in read_runs(list(runs) or run_files(root), problems.append):
        count, records = count + 1, records + len(run.records)
        yield run
    for problem in problems:
        left_out(problem)
    if not records:
        nothing(place, root, read=count, damaged=len(problems))


@click.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@runs_argument
@click.option("--out", type=click.Path(path_type=Path), help="file to write; default: standard output (not for parquet)")
@click.option("--tracking-uri", help="where MLflow keeps its runs: a server or a database; default: where MLflow does")
@every_option
def export(form: str, runs: tuple[Path, ...], out: Path | None, tracking_uri: str | None, storage: str | None) -> None:
    """Write stored RUNS (default: all) as FORMAT: csv, jsonl, parquet, openmetrics or mlflow.

    One row per case and metric; `lmbench query` without SQL lists the columns. openmetrics holds the newest value of each
    case, for a textfile collector. mlflow logs one run per record, and leaves alone what it has.
    """
    table = rows(stored(runs, storage))
    if form == "mlflow":
        logged, place = exports.to_mlflow(table, tracking_uri)
        say(f"{logged} records logged to {place}")
        return
    if form == "parquet":
        if out is None:
            raise click.UsageError("a Parquet file is not for a terminal; name one with --out")
        exports.write_parquet(table, out)
        return
    made = {"csv": exports.as_csv, "jsonl": exports.as_json_lines, "openmetrics": exports.as_open_metrics}
    text = made[form](table)
    if out is None:
        sys.stdout.write(printable(text))
    else:
        write_atomically(out, text)


@click.command()
@click.argument("sql", required=False)
@runs_argument
@click.option("--json", "as_json", is_flag=True, help="as JSON")
@every_option
def query(sql: str | None, runs: tuple[Path, ...], storage: str | None, *, as_json: bool) -> None:
    """Run SQL (DuckDB) over all stored records, or over RUNS; without SQL, list the columns of the table `records`.

    \b
    lmbench query "select backend, compression, median(value) from records
                   where metric = 'output_tokens_per_s' and model = 'gpt-mini' group by all order by 3 desc"
    """
    if sql is None:
        _print(["column", "type", "meaning"], [(name, kind, about) for name, (kind, about) in COLUMNS.items()])
        return
    names, found = exports.query(rows(stored(runs, storage)), sql)
    if as_json:
        say_json(exports.printable(names, found), allow_nan=True)
    else:
        _print(names, found)


def _print(names: Sequence[str], found: Sequence[tuple[Any, ...]]) -> None:
    table = Table(*names, box=None, pad_edge=False)
    for row in found:
        table.add_row(*("" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value) for value in row))
    print_table(table, 200)
