"""`lmbench env`: environments of their own for engines that do not go together with the rest."""

from __future__ import annotations

import click
from rich.table import Table

from lmbench.base.environments import ENVIRONMENTS, python_of
from lmbench.base.registry import BACKENDS
from lmbench.base.units import pretty
from lmbench.cli.output import print_table, say
from lmbench.run import environments

NAME = click.argument("name", type=click.Choice(sorted(ENVIRONMENTS)))


@click.group("env")
def env() -> None:
    """Create, list and remove the environments some engines run in.

    Their packages pin versions that others cannot live with, so each such engine has a virtual environment of its own in the
    cache, and its cases run in a worker process there. Nothing else changes: suites name the backend like any other.
    """


@env.command()
@NAME
def create(name: str) -> None:
    """Build the environment NAME with pip: 1.5 to 3.5 GB, some minutes. It is published when complete; Ctrl-C leaves nothing."""
    folder = environments.create(name, lambda text: say(text, err=True))
    say(f"{name}: {folder}")


@env.command("list")
def list_environments() -> None:
    """Which environments there are, which backends need them, and whether they have been created."""
    table = Table("name", "for backend", "created", "holds", box=None, pad_edge=False)
    for name, environment in ENVIRONMENTS.items():
        users = ", ".join(kind for kind, entry in BACKENDS.items() if entry.env == name)
        table.add_row(name, users, "yes" if python_of(name) else "no", ", ".join(environment.requirements))
    print_table(table, 160)


@env.command()
@NAME
def remove(name: str) -> None:
    """Delete the environment NAME."""
    say(f"freed {pretty(environments.remove(name), 'bytes')}")
