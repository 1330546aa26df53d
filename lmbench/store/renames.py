"""baselines/renames.yaml, and `was:` of suites: the old names under which cases and tests have their history.

suites/a.suite.yaml: suites/b.suite.yaml                          a file, with everything in it
suites/a.suite.yaml::old: suites/a.suite.yaml::new                a case with all of its cells, a test with all parameters
suites/a.suite.yaml::x[m-torch-none]: suites/a.suite.yaml::x[n-torch-none]                         one cell
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import yaml

from lmbench.base.errors import ConfigError, Problem, Unreadable
from lmbench.base.reading import read_text
from lmbench.base.yaml_text import compose
from lmbench.store.history import CellRatio, History

RENAMES = Path("baselines") / "renames.yaml"
Named = TypeVar("Named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Renames:
    """Old name -> new name; the longest old name that fits a node id counts, and names are followed to the newest."""

    table: Mapping[str, str] = field(default_factory=dict)

    def current(self, node_id: str) -> str:
        """The name that `node_id` has now: its own when nothing renames it."""
        seen = {node_id}
        while (following := self._step(node_id)) not in seen:
            node_id = following
            seen.add(node_id)
        return node_id

    def former(self, node_id: str) -> tuple[str, ...]:
        """The names that lead to `node_id`, the latest first."""
        found: dict[str, None] = {}
        waiting = [node_id]
        while waiting:
            name = waiting.pop(0)
            older = [old + rest for old, new in self.table.items() if (rest := _rest(name, new)) is not None]
            new_ones = [one for one in older if one not in found and one != node_id and self._step(one) == name]
            found.update(dict.fromkeys(new_ones))
            waiting += new_ones
        return tuple(found)

    def resolve(self, node_id: str, known: Mapping[str, Named] | Collection[str]) -> str | None:
        """The one of `known` that is this case: of its own name, else of the latest of its former ones; None when none is."""
        return next((name for name in (node_id, *self.former(node_id)) if name in known), None)

    def without(self, present: Collection[str]) -> Renames:
        """Less what would take the history of cases that are still there under their old name."""
        return replace(self, table={old: new for old, new in self.table.items() if not any(_fits(one, old) for one in present)})

    def joined(self, other: Mapping[str, str]) -> Renames:
        """With the entries of `other`, which win."""
        return Renames(table={**self.table, **other})

    def _step(self, node_id: str) -> str:
        return next((self.table[part] + node_id[len(part) :] for part in _parts(node_id) if part in self.table), node_id)


NO_RENAMES = Renames()


def read_renames(path: Path) -> Renames:
    """Every entry of the file; none when there is no file. Raises ConfigError with every fault and its line."""
    if not path.exists():
        return NO_RENAMES
    try:
        node = compose(read_text(path))
    except Unreadable as error:
        raise ConfigError([_problem(path, error.line, "renames", error.found, error.expected)]) from error
    if node is None:
        return NO_RENAMES
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError([_problem(path, 1, "renames", "what is no mapping", "one 'old node id: new node id' per line")])
    lines: dict[str, int] = {}
    table: dict[str, str] = {}
    problems: list[Problem] = []
    for key, value in node.value:
        line, old, new = key.start_mark.line + 1, str(key.value), str(value.value)
        fault = _fault(key, value, old, new) or _twice(old, new, table, lines)
        if fault:
            problems.append(_problem(path, line, old, *fault))
            continue
        table[old], lines[old] = new, line
    problems += [_problem(path, lines[old], old, *_CYCLE) for old in table if _cycles(old, table)]
    if problems:
        raise ConfigError(problems)
    return Renames(table=table)


def renames_of(info: Mapping[str, object]) -> Mapping[str, str]:
    """The renames that a session knew, from a run's own data."""
    found = info.get("renames")
    return {str(old): str(new) for old, new in found.items()} if isinstance(found, Mapping) else {}


def renamed_history(history: History, renames: Renames) -> History:
    """The nightly history with every case under the name it has now."""
    if not renames.table:
        return history

    def cells(found: tuple[CellRatio, ...]) -> tuple[CellRatio, ...]:
        return tuple(replace(cell, node_id=renames.current(cell.node_id)) for cell in found)

    return replace(
        history,
        nights=tuple(replace(night, cells=cells(night.cells)) for night in history.nights),
        bridges=tuple(replace(bridge, cells=cells(bridge.cells)) for bridge in history.bridges),
        retired=tuple(replace(one, node_id=renames.current(one.node_id)) for one in history.retired),
    )


_CYCLE = ("a name that leads back to itself", "names that end at one that is in use")


def _fault(key: yaml.Node, value: yaml.Node, old: str, new: str) -> tuple[str, str] | None:
    if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode) or not old or not new:
        return "what is no name", "an old and a new node id, each a text"
    if old == new:
        return "the same name twice", "a new name"
    if ("::" in old) != ("::" in new) or ("[" in old) != ("[" in new):
        return f"{new!r}, which is not of the same kind", "two files, two cases or tests without brackets, or two with them"
    return None


def _twice(old: str, new: str, table: Mapping[str, str], lines: Mapping[str, int]) -> tuple[str, str] | None:
    if old in table:
        return f"this name a second time (first in line {lines[old]})", "each old name once"
    other = next((one for one, name in table.items() if name == new), None)
    if other is not None:
        return f"{new!r}, which line {lines[other]} gives to {other!r}", "one old name for each new one"
    return None


def _cycles(old: str, table: Mapping[str, str]) -> bool:
    name, renames = old, Renames(table=table)
    for _ in range(len(table) + 1):
        following = renames._step(name)
        if following == name:
            return False
        name = following
    return True


def _parts(node_id: str) -> Iterator[str]:
    """The whole id, the id without brackets, then what stands before each '::', from right to left."""
    yield node_id
    head, bracket, _ = node_id.partition("[")
    if bracket:
        yield head
    while "::" in head:
        head = head.rpartition("::")[0]
        yield head


def _fits(node_id: str, name: str) -> bool:
    return name in _parts(node_id)


def _rest(node_id: str, name: str) -> str | None:
    return node_id[len(name) :] if _fits(node_id, name) else None


def _problem(path: Path, line: int | None, key: str, found: str, expected: str) -> Problem:
    return Problem(file=str(path), line=line, key=key, found=found, expected=expected)
