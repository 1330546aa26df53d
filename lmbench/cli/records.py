"""`lmbench records`: runs made elsewhere brought into the storage, and what lies there."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.table import Table

from lmbench.cli.output import print_table, say
from lmbench.cli.storage import every_option, every_run, left_out, machine_option, machine_runs
from lmbench.cli.stored import read_runs
from lmbench.record.record import OK
from lmbench.store.imports import import_runs, run_files
from lmbench.store.place import nothing_in
from lmbench.store.rescue import restore
from lmbench.store.runs import StoredRun

LOG_WIDTH = 1000
"""Of the table in a log, where a line that is too long does less harm than a path that is cut."""
DAMAGED = 2


@click.group()
def records() -> None:
    """Bring records of other machines together, for capacity plans, and list what is stored.

    \b
    lmbench records import gpu-box.json reports/journal/*.jsonl
    lmbench records restore reports/journal/main.4711.unstored.json
    lmbench records list
    """


@records.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@every_option
def import_files(files: tuple[Path, ...], storage: str | None) -> None:
    """Merge FILES (stored runs or journals, of any machine) into the storage.

    Every file is checked before anything is written. A record that is there already is skipped and counted; nothing is
    overwritten. Imported runs feed plans and reports; `pytest --benchmark-compare` does not take them for baselines.

    A stored file that cannot be read is named and not compared with.

    Exit status: 0 when done, 2 for a file of FILES that is damaged, of an unknown version or without records.
    """
    found = import_runs(files, every_run(storage)[1], left_out)
    for one in found:
        place = f" -> {one.path}" if one.path else ""
        failed = f", {one.failed} of them failed cases" if one.failed else ""
        say(f"{one.source}: {one.machine_class}: {one.added} new{failed}, {one.known} known{place}")
    added, known = sum(one.added for one in found), sum(one.known for one in found)
    say(f"{added} records came in, {known} were known")


@records.command("restore")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@machine_option
def restore_file(file: Path, storage: str | None) -> None:
    """Store a run that a session measured and could not store, as on a full disk; the session has named its FILE.

    It gets the next number of the folder where the session would have stored it, and counts as any stored run. FILE is
    deleted once that is done.

    Exit status: 0 when done, 2 for any other file.
    """
    path = restore(file, machine_runs(storage)[1])
    say(f"stored: {path}")
    file.unlink(missing_ok=True)


@records.command("list")
@every_option
def list_records(storage: str | None) -> None:
    """Show every stored run: machine class, suites, cases that worked, those that failed, when the newest was measured.

    A damaged file is left out and named.

    Exit status: 0 when all could be read, 2 when one is damaged.
    """
    place, folder = every_run(storage)
    table = Table("machine class", "run", "suite", "cases", "failed", "newest", box=None, pad_edge=False)
    problems: list[str] = []
    for run in read_runs(run_files(folder), problems.append):
        table.add_row(*_row(run, folder))
    if table.row_count:
        print_table(table, LOG_WIDTH)
    elif not problems:
        say(f"{nothing_in(place, folder.resolve())}, or bring some with: lmbench records import FILE")
    for problem in problems:
        left_out(problem)
    sys.exit(DAMAGED if problems else 0)


def _row(run: StoredRun, storage: Path) -> tuple[str, ...]:
    classes = dict.fromkeys(record.machine_class for record in run.records) or {run.machine_class: None}
    worked = sum(record.status == OK for record in run.records)
    newest = max((record.started_at for record in run.records), default="-")
    name = str(run.path.relative_to(storage))
    return ", ".join(classes), name, ", ".join(run.suites), str(worked), str(len(run.records) - worked), newest
