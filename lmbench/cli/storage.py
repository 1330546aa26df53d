"""The storage that a command reads: its own option, else the one that pytest would use from here, which is named on stderr."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from lmbench.cli.output import say
from lmbench.store.choice import newest_runs
from lmbench.store.files import list_all
from lmbench.store.place import FILE, MACHINE_CLASS, Place, folder_of, named, nothing_in, place
from lmbench.store.pytest_settings import settings_of
from lmbench.store.renames import RENAMES, Renames, read_renames, renames_of
from lmbench.store.runs import StoredRun

MACHINE = "folder of stored runs; default: where pytest stores them here"
EVERY = "folder that holds the stored runs of all machine classes; default: where pytest stores them here"


def machine_option(command: click.decorators.FC) -> click.decorators.FC:
    """--storage of a command that concerns this machine's runs."""
    return click.option("--storage", metavar="FOLDER", default=None, help=MACHINE)(command)


def every_option(command: click.decorators.FC) -> click.decorators.FC:
    """--storage (or --root) of a command that reads the runs of every machine class."""
    return click.option("--storage", "--root", "storage", metavar="FOLDER", default=None, help=EVERY)(command)


def machine_runs(given: str | None) -> tuple[Place, Path]:
    """The storage and the folder of this machine's runs, as it is shown."""
    found = _found(given)
    return found, _as_given(given) or Path(found.shown(found.folder))


def every_run(given: str | None) -> tuple[Place, Path]:
    """The storage and the folder of every machine class, as it is shown."""
    found = _found(given)
    return found, _as_given(given) or Path(found.shown(found.whole))


def nothing(found: Place | None, searched: Path, *, read: int = 0, damaged: int = 0) -> NoReturn:
    """End with an error: nothing to work on. Says where was looked, what lies elsewhere and what to do.

    `read` runs without a record of lmbench and `damaged` files were found; without a storage the files were named.
    """
    where = "" if found is None else f" in {found.shown(searched.resolve())}"
    if read:
        raise click.UsageError(
            f"found {read} run{'s' if read > 1 else ''}{where}, and none holds a record of a suite: plain pytest-benchmark "
            "tests are shown by `pytest-benchmark compare` and judged by `lmbench compare`"
        )
    if found is None or damaged:
        raise click.UsageError(f"no stored run could be read{where}; restore or remove the files left out above")
    raise click.UsageError(nothing_in(found, searched.resolve()))


def some_runs(given: str | None) -> Path:
    """The folder of this machine's runs. Ends with an error where it holds none."""
    found, folder = machine_runs(given)
    if not list_all(folder):
        nothing(found, folder)
    return folder


def project_root() -> Path:
    """pytest's root for this working folder, as seen from there: baselines/changes.yaml and its like lie below it."""
    root, cwd = settings_of(Path.cwd()).root, Path.cwd()
    return Path() if root == cwd else root


def known_renames(*runs: StoredRun) -> Renames:
    """Former names of cases: renames.yaml, and what the sessions of `runs` (default: the newest stored one) knew."""
    written = read_renames(project_root() / RENAMES)
    found = place() if not runs else None
    if found is not None and found.folder is not None:
        runs = tuple(newest_runs(found.folder, 1, lambda _: None))
    known = Renames()
    for run in runs:
        known = known.joined(renames_of(run.info))
    return known.joined(written.table)


def left_out(problem: str) -> None:
    """Name a file that was not read."""
    say(f"left out: {problem}", err=True)


def _found(given: str | None) -> Place:
    """Raises StoreError for a storage that is no folder and for a configuration that cannot be read."""
    if given is None:
        found = place()
    else:
        # Only the placeholder starts at pytest's root.
        root = settings_of(Path.cwd()).root if MACHINE_CLASS in given else Path.cwd()
        found = named(given, root)
    if folder_of(found).is_file():
        raise click.UsageError(f"{found.shown()} is a file; expected a folder of stored runs")
    if given is None:
        say(f"storage: {found}", err=True)
    return found


def _as_given(given: str | None) -> Path | None:
    """The folder as the user writes it; None where it must be worked out."""
    return None if given is None or MACHINE_CLASS in given else Path(given.removeprefix(FILE))
