"""`lmbench capacity`: how many of which machine, from stored records."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from lmbench.base.errors import StoreError, SubjectError
from lmbench.capacity.demand import demand
from lmbench.capacity.measured import Source, replica
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan import plan
from lmbench.capacity.plan_file import PlanRequest, load
from lmbench.cli.results import STORAGE
from lmbench.load.traces import read
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_json import capacity_json
from lmbench.report.capacity_terminal import render_capacity
from lmbench.report.capacity_write import write_capacity
from lmbench.store.imports import record_digest, run_files
from lmbench.store.runs import StoredRun, read_run

UNMET = 1
LOG_WIDTH = 140


@click.group()
def capacity() -> None:
    """Plan hardware from what was measured: how many of which machine, at which compression, at what cost."""


@capacity.command("plan")
@click.argument("plan_file", metavar="PLAN.yaml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--storage",
    "folders",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"folder whose stored runs and journals are used, all machine classes; default: {STORAGE}",
)
@click.option("--run", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), help="one more run")
@click.option("--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="folder to write to")
@click.option("--json", "as_json", is_flag=True, help="print everything as JSON, and write no files")
def plan_options(plan_file: Path, folders: tuple[Path, ...], files: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """Say how many machines of each option PLAN.yaml needs, what they cost, what breaks them and how sure that is.

    All of it is computed from stored records: an option needs a stress record; records of latency, memory and cold_start add
    what they know. What goes beyond the measured rates and lengths is marked, and refused beyond the plan's factor.
    Prints the plan and writes capacity.md and capacity.html.

    Exit status: 0 when at least one option keeps every promise, 1 when none does, 2 for a fault in the plan or a file.
    """
    request = load(plan_file)
    runs, problems = _stored(folders, files)
    report = planned(request, plan_file, runs, problems)
    if as_json:
        click.echo(json.dumps(capacity_json(report), indent=1, allow_nan=False))
    else:
        render_capacity(report, Console(width=None if sys.stdout.isatty() else LOG_WIDTH, highlight=False))
        for path in write_capacity(report, out):
            click.echo(path)
    sys.exit(0 if report.kept else UNMET)


def planned(request: PlanRequest, plan_file: Path, runs: Sequence[StoredRun], problems: Sequence[str] = ()) -> CapacityReport:
    """The plan over the records of `runs`; the trace of its traffic is looked for beside `plan_file`."""
    traffic = request.traffic
    moments = read(plan_file.parent / traffic.trace).offsets_s if traffic.trace is not None else ()
    sources = _sources(runs)
    known: dict[str, Replica | str] = {}
    for place, (name, option) in enumerate(request.options.items(), start=1):
        _tell(f"predicting rates that were measured: {name} ({place} of {len(request.options)})")
        try:
            known[name] = replica(name, option, sources)
        except SubjectError as error:
            known[name] = str(error)
    day = demand(traffic, [float(moment) for moment in moments])
    return CapacityReport(
        plan=plan(request, day, known, tell=lambda text: click.echo(text, err=True)),
        source=str(plan_file),
        measured={name: one for name, one in known.items() if isinstance(one, Replica)},
        runs=len(runs),
        problems=tuple(problems),
    )


def _stored(folders: Sequence[Path], files: Sequence[Path]) -> tuple[list[StoredRun], list[str]]:
    """The runs below `folders` (default: the storage) and those in `files`; of the former, what could not be read is told."""
    default = [Path(STORAGE)] if not folders and Path(STORAGE).is_dir() else []
    found = dict.fromkeys(path for folder in (*folders, *default) for path in run_files(folder))
    _tell(f"reading stored runs: {len(found) + len(files)}")
    runs, problems = [read_run(path) for path in files], []
    for path in found:
        try:
            runs.append(read_run(path))
        except StoreError as error:
            problems.append(str(error))
    return runs, problems


def _sources(runs: Iterable[StoredRun]) -> list[Source]:
    """Each record once, with the file it was read from and the memory of its machine."""
    found: dict[str, Source] = {}
    for run in runs:
        memory = _memory(run)
        for record in run.records:
            source = Source(record=record, origin=str(run.path), memory_bytes=memory)
            found.setdefault(record_digest(record), source)
    return list(found.values())


def _memory(run: StoredRun) -> float | None:
    """Bytes a process could use on the machine of `run`: its memory, or less where a control group allows less."""
    places = (("memory", "total_bytes"), ("limits", "memory_limit_bytes"))
    sizes = [(run.environment.get(topic) or {}).get(key) for topic, key in places]
    return min((float(size) for size in sizes if isinstance(size, int | float)), default=None)


def _tell(text: str) -> None:
    """Progress on standard error, which leaves what is printed alone."""
    click.echo(f"{text} ...", err=True)
