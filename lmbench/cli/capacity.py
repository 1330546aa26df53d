"""`lmbench capacity`: how many of which machine, how long training takes, how near the roofs it is, from stored records."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console

from lmbench.base.errors import StoreError, SubjectError
from lmbench.capacity.demand import demand
from lmbench.capacity.matching import Source, failing_cases
from lmbench.capacity.measured import replica
from lmbench.capacity.mix import Part, parts
from lmbench.capacity.nouns import Replica
from lmbench.capacity.plan import plan
from lmbench.capacity.plan_file import PlanRequest, load
from lmbench.capacity.roofline import newest_points
from lmbench.capacity.training import training_plans
from lmbench.capacity.training_file import TrainingRequest, load_training
from lmbench.cli.output import console_for, say, say_json
from lmbench.cli.storage import every_run
from lmbench.cli.stored import read_runs
from lmbench.load.traces import read
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_json import capacity_json
from lmbench.report.capacity_terminal import render_capacity
from lmbench.report.capacity_write import write_capacity
from lmbench.report.roofline import TITLE, reading, roofline_json, roofline_table
from lmbench.report.table_text import say as paragraphs
from lmbench.report.table_text import show
from lmbench.report.training_plan import TrainingReport
from lmbench.report.training_plan_write import render_training, training_json, write_training
from lmbench.store.imports import record_digest, run_files
from lmbench.store.place import Place, nothing_in
from lmbench.store.runs import StoredRun, read_run

UNMET = 1
LOG_WIDTH = 140


_existing = click.Path(exists=True, dir_okay=False, path_type=Path)
_out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("reports"), show_default=True, help="folder to write to"
)
_json_option = click.option("--json", "as_json", is_flag=True, help="print everything as JSON, and write no files")


def _stored_options(command: click.decorators.FC) -> click.decorators.FC:
    """Which stored runs are read (see _stored)."""
    folders = click.option(
        "--storage",
        "folders",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="folder whose stored runs and journals are used, all machine classes; default: where pytest stores them here",
    )
    return folders(click.option("--run", "files", multiple=True, type=_existing, help="one more run")(command))


@click.group()
def capacity() -> None:
    """Plan hardware from what was measured: how many of which machine, at which compression, at what cost, for how long."""


@capacity.command("plan")
@click.argument("plan_file", metavar="PLAN.yaml", type=_existing)
@_stored_options
@_out_option
@_json_option
def plan_options(plan_file: Path, folders: tuple[Path, ...], files: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """Say how many machines of each option PLAN.yaml needs, what they cost, what breaks them and how sure that is.

    All of it is computed from stored records: an option needs a stress record; records of latency, memory and cold_start add
    what they know. What goes beyond the measured rates and lengths is marked, and refused beyond the plan's factor.
    A traffic of several models is planned model by model, on replicas of their own. Prints the plan and writes capacity.md and
    capacity.html.

    Exit status: 0 when at least one option (for every model one) keeps every promise, 1 when none does, 2 for a fault in the
    plan or a file.
    """
    request = load(plan_file)
    runs, problems = _stored(folders, files)
    reports = planned(request, plan_file, runs, problems)
    if as_json:
        say_json(capacity_json(reports))
    else:
        render_capacity(reports, _console())
        for path in write_capacity(reports, out):
            say(path)
    sys.exit(0 if all(report.kept for report in reports) else UNMET)


@capacity.command("train")
@click.argument("plan_file", metavar="TRAINING.yaml", type=_existing)
@_stored_options
@_out_option
@_json_option
def train(plan_file: Path, folders: tuple[Path, ...], files: tuple[Path, ...], out: Path, *, as_json: bool) -> None:
    """Say how long each option of TRAINING.yaml trains, what it costs, and which meets the deadline.

    Computed from the newest full record of a training_step case that an option names: tokens over measured tokens/s, with the
    interval that the spread of the measured steps leaves. How several machines scale is not guessed: such an option must give
    its efficiency, measured elsewhere. Prints the plan and writes training.md.

    Exit status: 0 when at least one option meets the deadline (or none was given and one is known), 1 when none does, 2 for a
    fault in the plan or a file.
    """
    request = load_training(plan_file)
    report = trained(request, plan_file, *_stored(folders, files))
    if as_json:
        say_json(training_json(report))
    else:
        render_training(report, _console())
        say(write_training(report, out))
    sys.exit(0 if report.plans.kept else UNMET)


@capacity.command("roofline")
@_stored_options
@click.option("--json", "as_json", is_flag=True, help="print every point as JSON")
def roofline(folders: tuple[Path, ...], files: tuple[Path, ...], *, as_json: bool) -> None:
    """Say which phases are bound by compute and which by memory bandwidth, and how far each is from its roof.

    Of the newest full record of every training_step, scoring and latency case on every machine class, against the ceilings that
    were measured beside it. The furthest from its roof comes first: there is most to gain.

    Exit status: 0 when something is known, 1 when no stored record tells of a roof, 2 for a fault in a file.
    """
    runs, problems = _stored(folders, files)
    records = [source.record for source in _sources(runs)]
    points, failing = newest_points(records), failing_cases(records)
    if as_json:
        found = {"points": roofline_json(points), "left_out": problems, "failing": failing}
        say_json(found)
    else:
        console = _console()
        paragraphs(console, [TITLE], "bold")
        paragraphs(console, (f"Warning: left out: {text}" for text in problems), "yellow")
        paragraphs(console, (f"Warning: {text}" for text in failing), "yellow")
        paragraphs(console, [reading(points)], "bold")
        if points:
            show(console, roofline_table(points))
    sys.exit(0 if points else UNMET)


def planned(
    request: PlanRequest, plan_file: Path, runs: Sequence[StoredRun], problems: Sequence[str] = ()
) -> list[CapacityReport]:
    """The plan over the records of `runs`, one per model of the traffic; a trace is looked for beside `plan_file`."""
    traffic, sources = request.traffic, _sources(runs)
    moments = read(plan_file.parent / traffic.trace).offsets_s if traffic.trace is not None else ()
    found = []
    for part in parts(request):
        known = _known(part, sources)
        day = demand(part.request.traffic, [float(moment) for moment in moments])
        found.append(
            CapacityReport(
                plan=plan(part.request, day, known, tell=_tell),
                source=str(plan_file),
                measured={name: one for name, one in known.items() if isinstance(one, Replica)},
                runs=len(runs),
                problems=tuple(problems),
                model=part.model,
                share=part.share,
            )
        )
    return found


def _known(part: Part, sources: Sequence[Source]) -> dict[str, Replica | str]:
    """What the records tell of each option, or why they tell nothing."""
    known: dict[str, Replica | str] = {}
    options = part.request.options
    for place, (name, option) in enumerate(options.items(), start=1):
        of = f" of {part.model}" if part.model else ""
        _tell(f"predicting rates that were measured: {name}{of} ({place} of {len(options)})")
        try:
            known[name] = replica(name, option, sources)
        except SubjectError as error:
            known[name] = str(error)
    return known


def trained(request: TrainingRequest, plan_file: Path, runs: Sequence[StoredRun], problems: Sequence[str] = ()) -> TrainingReport:
    """The training plan over the records of `runs`."""
    plans = training_plans(request, _sources(runs))
    return TrainingReport(plans=plans, source=str(plan_file), runs=len(runs), problems=tuple(problems))


def _stored(folders: Sequence[Path], files: Sequence[Path]) -> tuple[list[StoredRun], list[str]]:
    """The runs below `folders` (default: the storage) and those in `files`, and what is wrong with those left out."""
    place, default = (None, Path()) if folders else _default(files)
    found = dict.fromkeys(path for folder in ([default] if place is not None else folders) for path in run_files(folder))
    if place is not None and not found and not files:
        say(nothing_in(place, default.resolve()), err=True)
    _tell(f"reading stored runs: {len(found) + len(files)}")
    problems: list[str] = []
    runs = [read_run(path) for path in files]
    runs.extend(read_runs(list(found), problems.append))
    return runs, problems


def _default(files: Sequence[Path]) -> tuple[Place | None, Path]:
    """The storage, when no folder is named; with files named, one that cannot be read is none."""
    try:
        return every_run(None)
    except StoreError:
        if not files:
            raise
        return None, Path()


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


def _console() -> Console:
    return console_for(LOG_WIDTH)


def _tell(text: str) -> None:
    """Progress on standard error, which leaves what is printed alone."""
    say(f"{text} ...", err=True)
