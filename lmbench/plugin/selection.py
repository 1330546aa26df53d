"""Which cells a session runs: those that nobody asked for are left out, and a suite of which nothing is left is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lmbench.plan.case import Case
from lmbench.plugin.collect import CASE
from lmbench.plugin.held import HELD, asked_for, held_by


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> dict[str, str]:
    """Deselect cells that nobody asked for; returns their node ids, each with the tag that held it."""
    asked = asked_for(config)
    held = {
        item: tag
        for item in items
        if CASE in item.stash and (tag := held_by(item.stash[CASE].tags)) and tag not in asked and not _named(config, item)
    }
    if held:
        items[:] = [item for item in items if item not in held]
        config.hook.pytest_deselected(items=list(held))
    return {item.stash[CASE].node_id: tag for item, tag in held.items()}


def suites_left_out(config: pytest.Config, cases: Mapping[str, Case], held: Mapping[str, str]) -> Iterator[str]:
    """A sentence on each suite that the command line names and of which no cell is left."""
    for argument in dict.fromkeys(map(str, config.args)):
        path = (config.invocation_params.dir / argument).resolve()
        mine = [name for name, case in cases.items() if (config.rootpath / case.suite).resolve() == path]
        if mine and all(name in held for name in mine):
            tags = " or ".join(tag for tag in HELD if tag in {held[name] for name in mine})
            yield f"{argument}: nothing of it ran: all of its {len(mine)} cells are {tags}"


def _named(config: pytest.Config, item: pytest.Item) -> bool:
    """Whether the command line names this very cell, or the case that it is of."""
    for argument in map(str, config.args):
        file, mark, name = argument.partition("::")
        if mark and Path(config.invocation_params.dir, file).resolve() == item.path.resolve():
            case = item.stash[CASE]
            if name in (item.name, case.id) or name == case.name:
                return True
    return False
