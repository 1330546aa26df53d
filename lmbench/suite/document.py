"""YAML read with the place of every key, so that every fault can name its file and line; `include:` resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lmbench.base.errors import Problem

KeyPath = tuple[str | int, ...]
INCLUDE = "include"


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


def read(path: Path, shown_as: str, ancestors: tuple[Path, ...] = ()) -> Document:
    """Read `path` and everything it includes; later files win, mappings merge, lists and scalars replace."""
    document = Document()
    real = path.resolve()
    if real in ancestors:
        chain = " -> ".join(step.name for step in (*ancestors, real))
        document.problems.append(
            Problem(
                file=shown_as, line=1, key=INCLUDE, found=f"a cycle: {chain}", expected="files that do not include each other"
            )
        )
        return document
    own = _read_one(path, shown_as)
    for index, name in enumerate(_included(own, shown_as)):
        target = path.parent / name
        place = own.place((INCLUDE, index), shown_as)
        if not target.is_file():
            document.problems.append(
                Problem(
                    file=shown_as,
                    line=place.line,
                    key=INCLUDE,
                    found=f"{name!r}, which does not exist",
                    expected="a YAML file, relative to this one",
                    hint=f"Looked for {target}.",
                )
            )
            continue
        _merge(document, read(target, str(Path(shown_as).parent / name), (*ancestors, real)))
    own.data.pop(INCLUDE, None)
    _merge(document, own)
    return document


def _included(document: Document, shown_as: str) -> list[str]:
    value = document.data.get(INCLUDE, [])
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return names
    place = document.place((INCLUDE,), shown_as)
    document.problems.append(
        Problem(file=shown_as, line=place.line, key=INCLUDE, found=repr(value), expected="a file name or a list of file names")
    )
    return []


def _read_one(path: Path, shown_as: str) -> Document:
    document = Document()

    def problem(line: int | None, key: str, found: str, expected: str) -> None:
        document.problems.append(Problem(file=shown_as, line=line, key=key, found=found, expected=expected))

    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        problem(None, "file", f"bytes that are not UTF-8 ({error.reason} at byte {error.start})", "UTF-8 text")
        return document
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        problem(line, "YAML", str(getattr(error, "problem", error)), "valid YAML")
        return document
    if root is None:
        problem(1, "file", "an empty file", "a mapping with cases")
    elif not isinstance(root, yaml.MappingNode):
        problem(1, "file", f"a {type(root).__name__.removesuffix('Node').lower()}", "a mapping with cases")
    else:
        document.data = _Walker(document, shown_as).mapping(root, ())
    return document


class _Walker:
    """Turns composed nodes into plain values while noting places and duplicate keys."""

    def __init__(self, document: Document, shown_as: str) -> None:
        self.document = document
        self.file = shown_as
        self.scalars = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalars.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self.scalars.flatten_mapping(node)
        table: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = str(self.scalars.construct_object(key_node))
            line = key_node.start_mark.line + 1
            if seen.get(key, line) != line and key in table:
                found = f"the key twice (first on line {seen[key]})"
                self.document.problems.append(
                    Problem(file=self.file, line=line, key=dotted((*path, key)), found=found, expected="each key once")
                )
            seen[key] = line
            self.document.places[(*path, key)] = Place(file=self.file, line=line)
            table[key] = self.value(value_node, (*path, key))
        return table

    def _item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.document.places[path] = Place(file=self.file, line=node.start_mark.line + 1)
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
        for stale in [place for place in base.places if place[: len(here)] == here]:
            del base.places[stale]
        old[key] = value


def dotted(path: KeyPath) -> str:
    """('cases', 'a', 'tags', 0) -> 'cases.a.tags[0]'."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "file"
