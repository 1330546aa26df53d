"""`lmbench baseline`: what was stored, shown, accepted with a reason, and kept in order."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from lmbench.base.errors import StoreError
from lmbench.base.numbers import MOST_CHARS
from lmbench.base.reading import is_file
from lmbench.base.units import pretty_change
from lmbench.cli.numbers import whole
from lmbench.cli.output import print_table, say
from lmbench.cli.storage import left_out, machine_option, machine_runs, nothing, project_root, some_runs
from lmbench.compare.gate import summary
from lmbench.compare.verdicts import IMPROVED, OK, REGRESSED, Verdict, by_case, case_outcome
from lmbench.measure.clock import utc_now
from lmbench.report.flatten import leaves
from lmbench.store.accept import REJECTED_BECAUSE, accept_run, acceptance_of, measured, not_measured
from lmbench.store.choice import chosen
from lmbench.store.files import BASELINE, REJECTED, StoredFile, list_all, rejected_run
from lmbench.store.ledger import LEDGER, Change, append_change
from lmbench.store.place import nothing_in
from lmbench.store.prune import Pruning, prunable
from lmbench.store.runs import StoredRun, read_run


@click.group()
def baseline() -> None:
    """List and show stored runs, accept one that was kept apart, delete old ones.

    Every run saved by --benchmark-autosave or --benchmark-save becomes a baseline, unless a case regressed or failed:
    such a run is kept under rejected/ and never compared with. If its change is meant, accept it.

    Exit status: 0 when done, 2 for a usage error, a run that is not there or a file that cannot be read.
    """


@baseline.command("list")
@click.option("-n", "--newest", type=whole(1), default=20, show_default=True, help="how many runs to show")
@click.option("--all", "every", is_flag=True, help="show every stored run")
@machine_option
def list_baselines(newest: int, storage: str | None, *, every: bool) -> None:
    """Show stored runs, newest first: the next --benchmark-compare uses the newest five whose state is baseline.

    The note says why a run was kept apart, or why it was accepted. A file that cannot be read is named and left out.
    """
    place, folder = machine_runs(storage)
    files = list_all(folder)
    if not files:
        say(nothing_in(place, folder.resolve()))
        return
    table = Table("run", "state", "started", "commit", "cases", "failed", "note", box=None, pad_edge=False)
    shown = files if every else files[:newest]
    for file in shown:
        try:
            table.add_row(*_row(file))
        except StoreError as error:
            left_out(str(error))
    print_table(table, 160)
    if len(shown) < len(files):
        say(f"and {len(files) - len(shown)} older runs (--all shows them)")


@baseline.command("show")
@click.argument("run")
@machine_option
def show_run(run: str, storage: str | None) -> None:
    """Show one stored RUN (its number, path, the beginning of its name, or `last`): cases, outcomes, the environment."""
    path = Path(run) if _is_path(run) else chosen(some_runs(storage), run, left_out)
    stored = read_run(path)
    verdicts = [Verdict.from_json(data) for data in stored.verdicts]
    say(f"{path}{' (rejected)' if path.resolve().parent.parent.name == REJECTED else ''}")
    say(f"started {stored.info.get('started_at', '-')}, machine class {stored.machine_class}, {summary(verdicts)}")
    for line in _story(stored):
        say(line)
    judged = by_case(verdicts)
    for node_id in dict.fromkeys([*(record.case.node_id for record in stored.records), *judged]):
        found = judged.get(node_id, ())
        say(f"{node_id}  {case_outcome(found) if found else 'not compared'}")
        for one in found:
            if one.outcome not in (OK, IMPROVED):
                say(f"  {one.outcome}: {one.metric or 'the case'}: {one.why}")
    for name, value in leaves(stored.environment):
        say(f"environment {name}: {value}")


@baseline.command("accept")
@click.argument("number")
@click.option("--reason", required=True, help="why the change is meant; goes into the ledger and into the run's file")
@click.option("--case", "cases", multiple=True, help="only regressions of these cases (node ids); default: all of the run")
@click.option("--metric", "metrics", multiple=True, help="only regressions of these metrics; default: all of the run")
@machine_option
def accept(number: str, reason: str, cases: tuple[str, ...], metrics: tuple[str, ...], storage: str | None) -> None:
    """Make the rejected run of that NUMBER (or path) a baseline, because its change is meant, and write the change down.

    Every regression of the run becomes an entry of baselines/changes.yaml: commit it with the change itself, and the gate
    reports the regression as accepted, with its reason. --case and --metric narrow what is written down; the whole run
    becomes a baseline all the same. The reason and the time are kept in the run's file; `lmbench baseline show` shows them.

    A run without any measurement is refused. Where only some cases failed, the others become baselines, and each failed case
    is named and keeps the baselines it had.
    """
    if not reason.strip():
        raise click.UsageError("--reason is empty; say why the change is meant")
    place, folder = machine_runs(storage)
    if storage is None and not list_all(folder):
        nothing(place, folder)
    file = rejected_run(folder, int(number) if number.isdecimal() and len(number) <= MOST_CHARS else Path(number))
    run = read_run(file.path)
    regressed = [one for one in map(Verdict.from_json, run.verdicts) if one.outcome == REGRESSED]
    meant = [one for one in regressed if (not cases or one.node_id in cases) and (not metrics or one.metric in metrics)]
    if (cases or metrics) and not meant:
        known = "; ".join(f"{one.node_id} {one.metric}" for one in regressed) or "none"
        raise click.UsageError(f"no regression of run {number} is of that case and metric; its regressions: {known}")
    if measured(run):
        _write_down(run, regressed, meant, reason.strip())
    path = accept_run(folder, file, run, reason=reason.strip(), at=utc_now())
    for node_id, why in not_measured(run).items():
        say(f"no baseline: {node_id}: {why}")
    say(f"now a baseline: {path}")


def _write_down(run: StoredRun, regressed: list[Verdict], meant: list[Verdict], reason: str) -> None:
    """Put the regressions that are meant into the ledger, and name the others."""
    ledger, commit = project_root() / LEDGER, _commit(run)
    for one in regressed:
        change = _change(one, reason, commit) if one in meant else None
        if change is None:
            say(f"not written down: {one.node_id} {one.metric or 'the case'}: {one.why}")
            continue
        append_change(ledger, change)
        say(f"{ledger}: {one.node_id} {one.metric} {pretty_change(one.ratio)}")


def _change(verdict: Verdict, reason: str, commit: str) -> Change | None:
    """What the ledger says of a regression; None for one without a ratio (its baseline was 0)."""
    if verdict.ratio is None or verdict.metric is None:
        return None
    case, metric = verdict.node_id, verdict.metric
    return Change(case=case, metric=metric, change=verdict.ratio - 1, reason=reason, commit=commit, date=utc_now()[:10])


@baseline.command("prune")
@click.option("--keep", type=whole(1), required=True, help="runs to keep per machine id, the newest ones")
@click.option("--rejected", is_flag=True, help="prune rejected runs; default: those that may be baselines")
@click.option("--dry-run", is_flag=True, help="say what would be deleted, and delete nothing")
@machine_option
def prune(keep: int, storage: str | None, *, rejected: bool, dry_run: bool) -> None:
    """Delete all but the newest runs. Every deleted file is named; imported runs are left alone.

    An older baseline stays, and is named, when it holds the last measurement of a case or test, or cannot be read.
    """
    place, folder = machine_runs(storage)
    groups: dict[str, list[StoredFile]] = {}
    for file in list_all(folder):
        if file.state == (REJECTED if rejected else BASELINE):
            groups.setdefault(file.machine_id, []).append(file)
    if not groups:
        say(f"nothing to prune: {nothing_in(place, folder.resolve())}")
        return
    found = [Pruning(doomed=tuple(files[keep:]), spared={}) if rejected else prunable(files, keep) for files in groups.values()]
    doomed = [file for one in found for file in one.doomed]
    for file in doomed:
        say(f"{'would delete' if dry_run else 'deleted'} {file.path}")
        if not dry_run:
            file.path.unlink(missing_ok=True)
    for file, why in (item for one in found for item in one.spared.items()):
        say(f"kept {file.path}: {why}")
    total = sum(len(files) for files in groups.values())
    say(f"{len(doomed)} of {total} runs{' would be' if dry_run else ''} deleted")


def _is_path(run: str) -> bool:
    return not run.isdecimal() and is_file(Path(run))


def _commit(run: StoredRun) -> str:
    return str((run.environment.get("git") or {}).get("commit") or "")


def _story(run: StoredRun) -> list[str]:
    """Why the run was kept apart, and why it was accepted all the same."""
    accepted = acceptance_of(run.info)
    because = accepted.because if accepted is not None else str(run.info.get(REJECTED_BECAUSE, ""))
    lines = [f"kept apart: {because}"] if because else []
    if accepted is not None:
        lines.append(f"accepted {accepted.at} (was {accepted.was}): {accepted.reason}")
        lines += [f"no baseline: {node_id}: {why}" for node_id, why in not_measured(run).items()]
    return lines


def _row(file: StoredFile) -> tuple[str, ...]:
    run = read_run(file.path)
    failed, cases = sum(record.failure is not None for record in run.records), len(measured(run))
    accepted = acceptance_of(run.info)
    note = f"accepted: {accepted.reason}" if accepted is not None else str(run.info.get(REJECTED_BECAUSE, ""))
    started, commit = str(run.info.get("started_at", "-")), _commit(run)[:10] or "-"
    return file.path.name, file.state, started, commit, str(cases), str(failed), note
