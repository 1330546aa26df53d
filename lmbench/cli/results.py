"""`lmbench report` and `lmbench baseline`: what was stored, said again and kept in order."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lmbench.measure.machine import machine_class
from lmbench.report.write import rebuild
from lmbench.store.files import StoredFile, accept, list_all
from lmbench.store.runs import read_run

STORAGE = "baselines"


def _storage(value: Path | None) -> Path:
    return value if value is not None else Path(STORAGE) / machine_class().slug


def _storage_option(command: click.decorators.FC) -> click.decorators.FC:
    text = f"folder of stored runs; default: {STORAGE}/<this machine's class>"
    return click.option("--storage", type=click.Path(path_type=Path), default=None, help=text)(command)


@click.command()
@click.argument("runs", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="folder to write to")
@_storage_option
def report(runs: tuple[Path, ...], out: Path, storage: Path | None) -> None:
    """Rebuild Markdown, HTML and CSV reports from stored RUNS (default: the newest stored run).

    A run is a JSON file below baselines/ or a journal (reports/journal/*.jsonl), also of a session that was killed.
    """
    chosen = list(runs) or [file.path for file in list_all(_storage(storage))[:1]]
    if not chosen:
        raise click.UsageError(f"no stored run under {_storage(storage)}; name one, or run pytest with --benchmark-autosave")
    for path in rebuild(chosen, out):
        click.echo(path)


@click.group()
def baseline() -> None:
    """List stored runs, and accept one that was kept apart.

    Every run saved by --benchmark-autosave or --benchmark-save becomes a baseline, unless a case regressed or failed:
    such a run is kept under rejected/ and never compared with. If its change is meant, accept it.
    """


@baseline.command("list")
@_storage_option
def list_baselines(storage: Path | None) -> None:
    """Show stored runs, newest first: the next --benchmark-compare uses the newest five that are not rejected."""
    folder = _storage(storage)
    files = list_all(folder)
    if not files:
        click.echo(f"no stored run under {folder}")
        return
    table = Table("run", "state", "started", "commit", "cases", "failed", box=None, pad_edge=False)
    for file in files:
        table.add_row(*_row(file))
    Console(highlight=False).print(table, markup=False)


@baseline.command("accept")
@click.argument("number", type=int)
@_storage_option
def accept_run(number: int, storage: Path | None) -> None:
    """Make the rejected run NUMBER a baseline, because its change is meant."""
    click.echo(f"now a baseline: {accept(_storage(storage), number)}")


def _row(file: StoredFile) -> tuple[str, ...]:
    run = read_run(file.path)
    failed = sum(record.failure is not None for record in run.records)
    state = "rejected" if file.rejected else "baseline"
    commit = str((run.environment.get("git") or {}).get("commit") or "-")[:10]
    return file.path.name, state, str(run.info.get("started_at", "-")), commit, str(len(run.records) - failed), str(failed)
