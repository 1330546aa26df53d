"""`lmbench report` and `lmbench baseline`: what was stored, said again and kept in order."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lmbench.base.errors import StoreError
from lmbench.base.units import pretty_change
from lmbench.compare.gate import summary
from lmbench.compare.verdicts import IMPROVED, OK, REGRESSED, Verdict, by_case, case_outcome
from lmbench.measure.clock import utc_now
from lmbench.measure.machine import machine_class
from lmbench.report.flatten import leaves
from lmbench.report.matrix import build_matrix
from lmbench.report.matrix_terminal import render_matrix
from lmbench.report.matrix_words import nothing
from lmbench.report.matrix_write import write_matrix
from lmbench.report.write import rebuild
from lmbench.store.files import BASELINE, REJECTED, StoredFile, accept, list_all, rejected_run
from lmbench.store.ledger import LEDGER, Change, append_change
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
@click.option("--matrix", "as_matrix", is_flag=True, help="every compression level on every engine beside its fp32 parent")
@_storage_option
def report(runs: tuple[Path, ...], out: Path, storage: Path | None, *, as_matrix: bool) -> None:
    """Rebuild Markdown, HTML and CSV reports from stored RUNS (default: the newest stored run).

    A run is a JSON file below baselines/ or a journal (reports/journal/*.jsonl), also of a session that was killed.
    Of several runs of one suite the newest counts; the others, and what --out holds, fill in cases that it did not measure.

    With --matrix instead one table per model, here and in matrix.md and matrix.html: what each compression level on each
    engine gains and loses against the fp32 parent, which cells are on the Pareto front, which to choose, which to drop.
    Several RUNS are joined: of each case the newest record counts, and what differs between runs counts as noise.
    """
    chosen = list(runs) or [file.path for file in list_all(_storage(storage))[:1]]
    if not chosen:
        raise click.UsageError(f"no stored run under {_storage(storage)}; name one, or run pytest with --benchmark-autosave")
    for path in _matrix(chosen, out) if as_matrix else rebuild(chosen, out):
        click.echo(path)


def _matrix(chosen: Sequence[Path], out: Path) -> list[Path]:
    """Print the matrix of the chosen runs and write it."""
    matrix = build_matrix([read_run(path) for path in chosen])
    if not matrix.models:
        raise click.UsageError(nothing(matrix))
    render_matrix(matrix, Console(highlight=False))
    return write_matrix(matrix, out)


@click.group()
def baseline() -> None:
    """List and show stored runs, accept one that was kept apart, delete old ones.

    Every run saved by --benchmark-autosave or --benchmark-save becomes a baseline, unless a case regressed or failed:
    such a run is kept under rejected/ and never compared with. If its change is meant, accept it.

    Exit status: 0 when done, 2 for a usage error, a run that is not there or a file that cannot be read.
    """


@baseline.command("list")
@click.option("-n", "--newest", type=click.IntRange(1), default=20, show_default=True, help="how many runs to show")
@click.option("--all", "every", is_flag=True, help="show every stored run")
@_storage_option
def list_baselines(newest: int, storage: Path | None, *, every: bool) -> None:
    """Show stored runs, newest first: the next --benchmark-compare uses the newest five whose state is baseline."""
    folder = _storage(storage)
    files = list_all(folder)
    if not files:
        click.echo(f"no stored run under {folder}")
        return
    table = Table("run", "state", "started", "commit", "cases", "failed", box=None, pad_edge=False)
    shown = files if every else files[:newest]
    for file in shown:
        table.add_row(*_row(file))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(table, markup=False)
    if len(shown) < len(files):
        click.echo(f"and {len(files) - len(shown)} older runs (--all shows them)")


@baseline.command("show")
@click.argument("run")
@_storage_option
def show_run(run: str, storage: Path | None) -> None:
    """Show one stored RUN (its number or path): cases, their outcomes, what was said of them, the environment."""
    path = _one(_storage(storage), run)
    stored = read_run(path)
    verdicts = [Verdict.from_json(data) for data in stored.verdicts]
    click.echo(f"{path}{' (rejected)' if path.resolve().parent.parent.name == REJECTED else ''}")
    click.echo(f"started {stored.info.get('started_at', '-')}, machine class {stored.machine_class}, {summary(verdicts)}")
    judged = by_case(verdicts)
    for node_id in dict.fromkeys([*(record.case.node_id for record in stored.records), *judged]):
        found = judged.get(node_id, ())
        click.echo(f"{node_id}  {case_outcome(found) if found else 'not compared'}")
        for one in found:
            if one.outcome not in (OK, IMPROVED):
                click.echo(f"  {one.outcome}: {one.metric or 'the case'}: {one.why}")
    for name, value in leaves(stored.environment):
        click.echo(f"environment {name}: {value}")


@baseline.command("accept")
@click.argument("number", type=int)
@click.option("--reason", required=True, help="why the change is meant; goes into the ledger")
@click.option("--case", "cases", multiple=True, help="only regressions of these cases (node ids); default: all of the run")
@click.option("--metric", "metrics", multiple=True, help="only regressions of these metrics; default: all of the run")
@_storage_option
def accept_run(number: int, reason: str, cases: tuple[str, ...], metrics: tuple[str, ...], storage: Path | None) -> None:
    """Make the rejected run NUMBER a baseline, because its change is meant, and write the change down.

    Every regression of the run becomes an entry of baselines/changes.yaml: commit it with the change itself, and the gate
    reports the regression as accepted, with its reason. --case and --metric narrow what is written down; the whole run
    becomes a baseline all the same.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty; say why the change is meant")
    run = read_run(rejected_run(_storage(storage), number).path)
    regressed = [one for one in map(Verdict.from_json, run.verdicts) if one.outcome == REGRESSED]
    meant = [one for one in regressed if (not cases or one.node_id in cases) and (not metrics or one.metric in metrics)]
    if (cases or metrics) and not meant:
        known = "; ".join(f"{one.node_id} {one.metric}" for one in regressed) or "none"
        raise click.UsageError(f"no regression of run {number} is of that case and metric; its regressions: {known}")
    commit = str((run.environment.get("git") or {}).get("commit") or "")
    for one in regressed:
        change = _change(one, reason.strip(), commit) if one in meant else None
        if change is None:
            click.echo(f"not written down: {one.node_id} {one.metric or 'the case'}: {one.why}")
            continue
        append_change(LEDGER, change)
        click.echo(f"{LEDGER}: {one.node_id} {one.metric} {pretty_change(one.ratio)}")
    click.echo(f"now a baseline: {accept(_storage(storage), run.path)}")


def _change(verdict: Verdict, reason: str, commit: str) -> Change | None:
    """What the ledger says of a regression; None for one without a ratio (its baseline was 0)."""
    if verdict.ratio is None or verdict.metric is None:
        return None
    case, metric = verdict.node_id, verdict.metric
    return Change(case=case, metric=metric, change=verdict.ratio - 1, reason=reason, commit=commit, date=utc_now()[:10])


@baseline.command("prune")
@click.option("--keep", type=click.IntRange(1), required=True, help="runs to keep per machine id, the newest ones")
@click.option("--rejected", is_flag=True, help="prune rejected runs; default: those that may be baselines")
@click.option("--dry-run", is_flag=True, help="say what would be deleted, and delete nothing")
@_storage_option
def prune(keep: int, storage: Path | None, *, rejected: bool, dry_run: bool) -> None:
    """Delete all but the newest runs. Every deleted file is named; imported runs are left alone."""
    groups: dict[str, list[StoredFile]] = {}
    for file in list_all(_storage(storage)):
        if file.state == (REJECTED if rejected else BASELINE):
            groups.setdefault(file.machine_id, []).append(file)
    doomed = [file for files in groups.values() for file in files[keep:]]
    for file in doomed:
        click.echo(f"{'would delete' if dry_run else 'deleted'} {file.path}")
        if not dry_run:
            file.path.unlink()
    click.echo(f"{len(doomed)} of {sum(len(files) for files in groups.values())} runs{' would be' if dry_run else ''} deleted")


def _one(folder: Path, which: str) -> Path:
    """The run file of that path, or of that number when only one below `folder` has it."""
    if not which.isdecimal() and Path(which).is_file():
        return Path(which)
    files = list_all(folder)
    chosen = [file.path for file in files if which.isdecimal() and file.number == int(which)]
    if len(chosen) != 1:
        known = ", ".join(str(path) for path in (chosen or [file.path for file in files[:5]])) or "none"
        raise StoreError(f"found {len(chosen)} stored runs for {which!r} under {folder}; expected one; give a path: {known}")
    return chosen[0]


def _row(file: StoredFile) -> tuple[str, ...]:
    run = read_run(file.path)
    failed = sum(record.failure is not None for record in run.records)
    commit = str((run.environment.get("git") or {}).get("commit") or "-")[:10]
    return file.path.name, file.state, str(run.info.get("started_at", "-")), commit, str(len(run.records) - failed), str(failed)
