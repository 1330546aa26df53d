"""YAML read with the place of every key, so that every fault can name its file and line; `include:` resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lmbench.base.errors import Problem, Unreadable
from lmbench.base.numbers import MOST_CHARS, shown
from lmbench.base.reading import is_file, read_text
from lmbench.base.yaml_text import check_plain, compose, key_of, line_of, pairs, scalar

KeyPath = tuple[str | int, ...]
INCLUDE = "include"
MOST_FILES = 100
"""Read for one suite, its includes and theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a key or a list item was written; `end` is the line after its value."""

    file: str
    line: int


@dataclass(slots=True, kw_only=True)
class Document:
    """A YAML mapping with the place of each key path, and the faults met while reading it."""

    data: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: KeyPath, default_file: str) -> Place:
        """The place of `path` or of its nearest written parent."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return Place(file=default_file, line=1)


def read(path: Path, shown_as: str) -> Document:
    """Read `path` and everything it includes; later files win, mappings merge, lists and scalars replace."""
    return _read(path, shown_as, (), [0])


def _read(path: Path, shown_as: str, ancestors: tuple[Path, ...], files: list[int]) -> Document:
    """`read`, with the files that led here, and the number of files read so far in `files[0]`."""
    document = Document()
    real = path.resolve()
    if real in ancestors:
        chain = " -> ".join(step.name for step in (*ancestors, real))
        return _refused(document, shown_as, 1, f"a cycle: {chain}", "files that do not include each other")
    files[0] += 1
    if files[0] > MOST_FILES:
        return _refused(document, shown_as, 1, f"more than {MOST_FILES} files, repeated ones included", f"at most {MOST_FILES}")
    own = _read_one(path, shown_as)
    for index, name in enumerate(_included(own, shown_as)):
        if files[0] > MOST_FILES:
            break
        target = path.parent / name
        if is_file(target):
            _merge(document, _read(target, str(Path(shown_as).parent / name), (*ancestors, real), files))
            continue
        line = own.place((INCLUDE, index), shown_as).line
        found, hint = f"{shown(name)}, which does not exist", f"Looked for {target}." if len(name) < MOST_CHARS else ""
        _refused(document, shown_as, line, found, "a YAML file, relative to this one", hint)
    own.data.pop(INCLUDE, None)
    _merge(document, own)
    return document


def _refused(document: Document, file: str, line: int | None, found: str, expected: str, hint: str = "") -> Document:
    document.problems.append(Problem(file=file, line=line, key=INCLUDE, found=found, expected=expected, hint=hint))
    return document


def _included(document: Document, shown_as: str) -> list[str]:
    value = document.data.get(INCLUDE, [])
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    _refused(
        document, shown_as, document.place((INCLUDE,), shown_as).line, repr(value)[:80], "a file name or a list of file names"
    )
    return []


def _read_one(path: Path, shown_as: str) -> Document:
    document = Document()

    def problem(line: int | None, key: str, found: str, expected: str) -> None:
        document.problems.append(Problem(file=shown_as, line=line, key=key, found=found, expected=expected))

    try:
        text = read_text(path)
    except Unreadable as fault:
        problem(fault.line, "file", fault.found, fault.expected)
        return document
    try:
        root = compose(text)
    except Unreadable as fault:
        problem(fault.line, "YAML", fault.found, fault.expected)
        return document
    if root is None:
        problem(1, "file", "an empty file", "a mapping with cases")
    elif not isinstance(root, yaml.MappingNode):
        problem(1, "file", f"a {type(root).__name__.removesuffix('Node').lower()}", "a mapping with cases")
    else:
        document.data = _Walker(document, shown_as).mapping(root, ())
    return document


class _Walker:
    """Turns composed nodes into plain values while noting places, duplicate keys and values that are not plain."""

    def __init__(self, document: Document, shown_as: str) -> None:
        self.document = document
        self.file = shown_as

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        try:
            if isinstance(node, yaml.ScalarNode):
                return scalar(node)
            check_plain(node)
        except Unreadable as fault:
            self.problem(path, fault)
            return None
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        table: dict[str, Any] = {}
        seen: dict[str, int] = {}
        try:
            written = [(key_of(key), line_of(key), value) for key, value, _ in pairs(node)]
        except Unreadable as fault:
            self.problem(path, fault)
            return table
        for key, line, value_node in written:
            if seen.get(key, line) != line and key in table:
                self.problem((*path, key), Unreadable(f"the key twice (first on line {seen[key]})", "each key once", line))
            seen[key] = line
            self.document.places[(*path, key)] = Place(file=self.file, line=line)
            table[key] = self.value(value_node, (*path, key))
        return table

    def problem(self, path: KeyPath, fault: Unreadable) -> None:
        self.document.problems.append(
            Problem(file=self.file, line=fault.line, key=dotted(path), found=fault.found, expected=fault.expected)
        )

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.places[path] = Place(file=self.file, line=line_of(node))
        return self.value(node, path)


def _merge(base: Document, over: Document) -> None:
    _merge_values(base, base.data, over.data, ())
    base.places |= over.places
    base.problems += over.problems


def _merge_values(base: Document, old: dict[str, Any], new: Mapping[str, Any], path: KeyPath) -> None:
    for key, value in new.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            _merge_values(base, old[key], value, here)
            continue
        if key in old:
            for stale in [place for place in base.places if place[: len(here)] == here]:
                del base.places[stale]
        old[key] = value


def dotted(path: KeyPath) -> str:
    """('cases', 'a', 'tags', 0) -> 'cases.a.tags[0]'."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"
