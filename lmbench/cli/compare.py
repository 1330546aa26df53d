"""`lmbench compare`: two stored runs judged without measuring."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import click

from lmbench.base.catalogue import METRICS
from lmbench.base.errors import StoreError
from lmbench.base.reading import is_file
from lmbench.base.registry import nearest
from lmbench.cli.output import console_for, say, say_json
from lmbench.cli.storage import known_renames, left_out, machine_option, some_runs
from lmbench.compare.comparability import environment_changes
from lmbench.compare.gate import FAILED_STATUS, NOT_DECIDED_STATUS, counts, doubts, exit_fails
from lmbench.compare.stored import Side, compare_runs, not_run
from lmbench.compare.verdicts import Verdict
from lmbench.report.terminal import render
from lmbench.store.choice import chosen
from lmbench.store.plain import read_tests
from lmbench.store.renames import Renames
from lmbench.store.runs import StoredRun, read_run

COMPARISON_VERSION = 1
CHANGES_SHOWN = 6
NOTHING = "nothing was compared: no case or test was measured in both runs on one class of machine and declared alike"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is said of two runs."""

    baseline: Side
    judged: Side
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]

    @property
    def exit_status(self) -> int:
        """As of a session: 1 for a failure, 8 when nothing was compared, else 0."""
        if exit_fails(self.verdicts):
            return FAILED_STATUS
        return 0 if any(verdict.metric is not None and verdict.n_baselines for verdict in self.verdicts) else NOT_DECIDED_STATUS


@click.command()
@click.argument("baseline")
@click.argument("judged")
@click.option("--case", "cases", multiple=True, metavar="CASE", help="only cases with this in their node id, or of this pattern")
@click.option("--metric", "metrics", multiple=True, metavar="METRIC", help="only verdicts on this metric, or on a whole case")
@click.option("--json", "as_json", is_flag=True, help="every verdict as JSON")
@machine_option
def compare(
    baseline: str, judged: str, cases: tuple[str, ...], metrics: tuple[str, ...], storage: str | None, *, as_json: bool
) -> None:
    """Judge the stored run JUDGED against the stored run BASELINE, by the rules of a session, without measuring.

    Each is a number, the beginning of a file's name, a path (of a run, a journal or a file of --benchmark-json), `last` for the
    newest run, also one that was kept apart, or `last~1` for the one before it. Suites and plain pytest-benchmark tests are
    judged alike. One run stands against one, so that times fail only far beyond noise: the gate decides about small changes.

    \b
    lmbench compare last~1 last
    lmbench compare 0003 reports/journal/20260102T030405Z-77.jsonl --case first-token

    Exit status: 0 when nothing is worse, 1 when a case regressed or failed, 8 when nothing could be compared (other machine
    classes, other declarations, no case in common), 2 for a usage error, a run that is not there or cannot be read.
    """
    try:
        sides = _sides(baseline, judged, storage)
    except StoreError as error:
        raise click.UsageError(str(error)) from None
    renames = known_renames(sides[0].run, sides[1].run)
    found = compare_runs(*sides, renames)
    verdicts = [one for one in found if _wanted(one, cases, metrics)]
    if found and not verdicts:
        known = ", ".join(
            dict.fromkeys([one.metric or one.node_id for one in found] if metrics else [one.node_id for one in found])
        )
        raise click.UsageError(f"no verdict is of that case and metric; there are: {known}")
    comparison = Comparison(baseline=sides[0], judged=sides[1], verdicts=tuple(verdicts), notes=tuple(_notes(*sides, renames)))
    if as_json:
        say_json(_json(comparison))
    else:
        _print(comparison)
    sys.exit(comparison.exit_status)


def _sides(baseline: str, judged: str, storage: str | None) -> tuple[Side, Side]:
    named = [Path(which) if not which.isdecimal() and is_file(Path(which)) else None for which in (baseline, judged)]
    folder = Path() if all(named) else some_runs(storage)
    paths = [
        path if path is not None else chosen(folder, which, left_out)
        for path, which in zip(named, (baseline, judged), strict=True)
    ]
    before, now = (Side(run=read_run(path), tests=read_tests(path)) for path in paths)
    same = before.run.info.get("id") is not None and before.run.info.get("id") == now.run.info.get("id")
    if same or paths[0].resolve() == paths[1].resolve():
        raise click.UsageError(f"{baseline} and {judged} are the same run ({paths[0]}); name two")
    return before, now


def _wanted(verdict: Verdict, cases: Sequence[str], metrics: Sequence[str]) -> bool:
    for name in metrics:
        if name not in METRICS:
            raise click.UsageError(
                f"--metric: found {name!r}; expected a name that `lmbench metrics` lists. {nearest(name, METRICS)}"
            )
    case = not cases or any(one in verdict.node_id or fnmatchcase(verdict.node_id, one.replace("[", "[[]")) for one in cases)
    return case and (not metrics or verdict.metric is None or verdict.metric in metrics)


def _notes(baseline: Side, judged: Side, renames: Renames) -> list[str]:
    """What a reader of the verdicts must know of the two runs."""
    before, now = baseline.run, judged.run
    notes = [f"not run by the judged run: {name}" for name in not_run(baseline, judged, renames)]
    started = [str(run.info.get("started_at") or "") for run in (before, now)]
    if all(started) and started[0] > started[1]:
        notes.append("the baseline began after the run that is judged: are the two arguments swapped?")
    notes += [f"{run.path} was interrupted: cases after that are not in it" for run in (before, now) if not run.complete]
    if before.environment and now.environment:
        changes = environment_changes(before.environment, now.environment)
        notes += [f"changed since the baseline: {change}" for change in changes[:CHANGES_SHOWN]]
        if len(changes) > CHANGES_SHOWN:
            notes.append(f"{len(changes) - CHANGES_SHOWN} more changes of the environment")
    return notes


def _print(found: Comparison) -> None:
    console = console_for(120)
    say(f"baseline: {_title(found.baseline.run)}")
    say(f"judged:   {_title(found.judged.run)}")
    render(found.verdicts, found.judged.run.records if not _narrowed(found) else (), console)
    for sentence in (*doubts(found.verdicts), *(f"note: {note}" for note in found.notes)):
        say(sentence)
    if found.exit_status == NOT_DECIDED_STATUS:
        say(NOTHING)


def _narrowed(found: Comparison) -> bool:
    """Whether some records have no verdict here: then only what has one is shown."""
    judged = {verdict.node_id for verdict in found.verdicts}
    return any(record.case.node_id not in judged for record in found.judged.run.records)


def _title(run: StoredRun) -> str:
    commit = str((run.environment.get("git") or {}).get("commit") or "")[:10]
    parts = [str(run.info.get("started_at") or ""), f"commit {commit}" if commit else "", run.machine_class]
    return ", ".join([str(run.path), *filter(None, parts)])


def _json(found: Comparison) -> dict[str, object]:
    return {
        "schema_version": COMPARISON_VERSION,
        "baseline": _side_json(found.baseline.run),
        "judged": _side_json(found.judged.run),
        "counts": counts(found.verdicts),
        "verdicts": [verdict.to_json() for verdict in found.verdicts],
        "notes": list(found.notes),
        "exit_status": found.exit_status,
    }


def _side_json(run: StoredRun) -> dict[str, object]:
    return {
        "path": str(run.path),
        "id": run.id,
        "started_at": run.info.get("started_at"),
        "machine_class": run.machine_class,
        "complete": run.complete,
    }
