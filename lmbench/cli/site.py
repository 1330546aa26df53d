"""`lmbench site`: everything that is stored as a static site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from lmbench.base.errors import StoreError
from lmbench.capacity.plan_file import load
from lmbench.capacity.training_file import load_training
from lmbench.cli.capacity import planned, trained
from lmbench.cli.output import say
from lmbench.cli.storage import every_option, every_run, left_out, nothing, project_root
from lmbench.cli.stored import read_parts, read_runs
from lmbench.compare.history import findings
from lmbench.compare.nightly import series_of
from lmbench.measure.clock import utc_now
from lmbench.site.build import build_site
from lmbench.site.gather import Part, all_renames, gather, read_part
from lmbench.site.nouns import Nightly
from lmbench.store.history import History, read_history
from lmbench.store.imports import run_files
from lmbench.store.ledger import LEDGER, read_ledger
from lmbench.store.renames import RENAMES, Renames, read_renames, renamed_history
from lmbench.store.runs import StoredRun

_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("runs", nargs=-1, type=_existing)
@click.option("--plan", "plans", multiple=True, type=_existing, help="a capacity plan to show, with a calculator; repeatable")
@click.option("--training", "trainings", multiple=True, type=_existing, help="a training plan to show; repeatable")
@every_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("reports/site"), show_default=True, help="folder to write to"
)
def site(runs: tuple[Path, ...], plans: tuple[Path, ...], trainings: tuple[Path, ...], storage: str | None, out: Path) -> None:
    """Write all stored RUNS (default: everything in the storage) as a static site, to be opened as a file or served.

    What regressed, what cannot be told, what changed on purpose; the trend of every metric of every case with its changes of
    level; the compression matrix, load runs, training, rooflines, capacity plans with a calculator, environments and skipped
    cases. It needs no network and no server; files that an earlier build left in the folder are deleted, others are left alone.

    A stored file that cannot be read, a history included, is left out and named.

    Exit status: 0 when written, 2 when no run is stored or can be read, for a usage error and for a damaged plan or ledger.
    """
    problems: list[str] = []
    place, root = every_run(storage) if storage is not None or not runs else (None, project_root() / LEDGER.parent)
    beside = root if storage is not None else project_root() / LEDGER.parent
    renames = read_renames(beside / RENAMES.name)
    stored = gather(
        _read(runs, root, problems),
        changes=read_ledger(beside / LEDGER.name),
        problems=problems,
        renames=renames,
    )
    problems[:] = stored.problems
    stored = replace(stored, nightly=tuple(_nightly(beside, all_renames(renames, stored.runs), problems)))
    if not stored.trails:
        for problem in problems:
            left_out(problem)
        nothing(place, root, read=len(stored.runs), damaged=len(problems))
    found = (planned(load(path), path, stored.declared_runs, problems) for path in plans)
    sized = [replace(report, runs=len(stored.runs)) for reports in found for report in reports]
    courses = [trained(load_training(path), path, stored.declared_runs, problems) for path in trainings]
    courses = [replace(one, runs=len(stored.runs)) for one in courses]
    build_site(stored, sized, out, made_at=utc_now(), trainings=courses)
    first = out / "index.html"
    say(f"{first}: {len(stored.runs)} runs, {len(stored.trails)} cases")
    for problem in problems:
        left_out(problem)


def _read(runs: Sequence[Path], root: Path, problems: list[str]) -> Iterator[StoredRun | Part]:
    """The named runs, or every one below `root`; what cannot be read goes to `problems` and is left out."""
    yield from read_runs(runs, problems.append)
    for part in () if runs else read_parts(run_files(root), read_part):
        problems.extend(part.problems)
        yield part


def _nightly(root: Path, renames: Renames, problems: list[str]) -> list[Nightly]:
    known: dict[str, History] = {}
    for path in sorted((root / "history").glob("*.jsonl")):
        try:
            known[path.stem] = renamed_history(read_history(path), renames)
        except StoreError as error:
            problems.append(str(error))
    return [
        Nightly(machine_class=name, series=series_of(history), findings=tuple(findings(history)))
        for name, history in known.items()
    ]
