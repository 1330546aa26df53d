"""`lmbench suites`: validate, show and describe suite files without running them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.table import Table

from lmbench.base.errors import ConfigError
from lmbench.cli.output import print_table, say, say_json
from lmbench.cli.reference import keys
from lmbench.data.available import missing_data
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.plan.select import obstacle
from lmbench.suite.load import SUFFIX, json_schema, load


@click.group()
def suites() -> None:
    """Validate, show and describe suite files."""


@suites.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
def validate(paths: tuple[Path, ...]) -> None:
    """Check suite files (or folders; default: suites/) and print every fault at once.

    Exit status: 0 when all are valid, 1 otherwise.
    """
    faults = 0
    for path in _files(paths):
        try:
            cases = expand(load(path, Path.cwd()), Path.cwd())
        except ConfigError as error:
            faults += len(error.problems)
            say("\n".join(str(problem) for problem in error.problems))
        else:
            say(f"{path}: valid, {len(cases)} cells")
    if faults:
        say(f"{faults} fault{'s' if faults > 1 else ''}", err=True)
        sys.exit(1)


@suites.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="every cell with all its parameters, as JSON")
def show(paths: tuple[Path, ...], *, as_json: bool) -> None:
    """List the cells of suite files, and which of them cannot run on this machine and why."""
    root = Path.cwd()
    cases = [case for path in _files(paths) for case in expand(load(path, root), root)]
    if as_json:
        say(json.dumps([case.to_json() | {"digest": case.digest, "obstacle": _obstacle(case)} for case in cases], indent=1))
        return
    table = Table("cell", "workload", "tags", "here", box=None, pad_edge=False)
    for case in cases:
        table.add_row(case.node_id, case.workload, " ".join(case.tags), _obstacle(case) or "runs")
    print_table(table, 200)


@suites.command()
def schema() -> None:
    """Print the JSON Schema of suite files, for editors.

    With the YAML language server: put `# yaml-language-server: $schema=PATH` on a suite's first line.
    """
    say_json(json_schema())


suites.add_command(keys)


def _obstacle(case: Case) -> str | None:
    return obstacle(case) or missing_data(case)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths or (Path("suites"),):
        found += sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
    if not found:
        raise click.UsageError(f"no *{SUFFIX} file under {', '.join(str(path) for path in paths) or 'suites/'}")
    return found
