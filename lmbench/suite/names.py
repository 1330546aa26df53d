"""Names used in a suite checked against what is declared or registered; every fault at once, nothing resolved here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from lmbench.base.catalogue import METRICS
from lmbench.base.entry import Entry
from lmbench.base.errors import Problem
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, nearest
from lmbench.suite.document import Document, KeyPath, dotted
from lmbench.suite.faults import problems_of
from lmbench.suite.schemas import schema
from lmbench.suite.spec import AXES

SECTIONS = {"model": "models", "backend": "backends", "compression": "compressions"}
REGISTERED: Mapping[str, Mapping[str, Entry]] = {"model": MODELS, "backend": BACKENDS, "compression": COMPRESSIONS}


def name_problems(document: Document, file: str) -> list[Problem]:
    """Unknown models, backends, compressions, cases, metrics and options; tolerant of values of wrong types."""
    found = [*_declarations(document, file)]
    for path, axis, name in _uses(document.data):
        known = known_names(document.data, axis)
        if name not in known:
            found.append(_unknown(document, file, path, axis, name, known))
    for path, metric in _gated(document.data):
        if metric not in METRICS:
            found.append(_unknown(document, file, path, "metric", metric, METRICS))
        elif METRICS[metric].better is None:
            place = document.place(path, file)
            found.append(
                Problem(
                    file=place.file,
                    line=place.line,
                    key=dotted(path),
                    found=f"{metric}, which has no better direction",
                    expected="a metric that can get worse",
                )
            )
    return found


def known_names(data: Mapping[str, Any], axis: str) -> list[str]:
    """What `axis` may name in this suite: its declarations, and for backends and compressions all that are registered."""
    if axis == "case":
        return list(_mapping(data, "cases"))
    declared = list(_mapping(data, SECTIONS[axis]))
    return declared if axis == "model" else [*declared, *REGISTERED[axis]]


def model_kind(value: str) -> tuple[str, str | None]:
    """What `model: value` means: (registered family, key that takes the value as option or None)."""
    if value in MODELS:
        return value, None
    if value.endswith(".onnx"):
        return "onnx-file", "path"
    if value.endswith(".gguf"):
        return "huggingface", "path"
    if ":" in value:
        return "imported", "target"
    if "/" in value or value.startswith("."):
        return "huggingface", "path"
    return value, None


def _declarations(document: Document, file: str) -> Iterator[Problem]:
    for axis, section in SECTIONS.items():
        for name, entry in _mapping(document.data, section).items():
            if not isinstance(entry, dict):
                continue
            inside = nested(entry) if axis == "compression" else ()
            for kind, where, declared in [(axis, (), entry), *inside]:
                if isinstance(declared.get(kind), str):
                    yield from _declaration(document, file, kind, (section, name, *where), declared)


def nested(options: Mapping[str, Any], at: KeyPath = ()) -> Iterator[tuple[str, KeyPath, dict[str, Any]]]:
    """Axis, place and text of what a level's options declare in turn: the student of a distillation, the steps of a chain."""
    steps = options.get("steps")
    numbered = enumerate(steps if isinstance(steps, list) else [])
    found = [
        ("model", ("student",), options.get("student")),
        *(("compression", ("steps", index), step) for index, step in numbered),
    ]
    for axis, path, declared in found:
        if isinstance(declared, dict):
            yield axis, (*at, *path), declared
            yield from nested(declared, (*at, *path))


def _declaration(document: Document, file: str, axis: str, path: KeyPath, entry: dict[str, Any]) -> Iterator[Problem]:
    kind, key = model_kind(entry[axis]) if axis == "model" else (entry[axis], None)
    if kind not in REGISTERED[axis]:
        yield _unknown(document, file, (*path, axis), axis, kind, REGISTERED[axis])
        return
    options_of = schema(REGISTERED[axis][kind])
    if options_of is None:
        return
    options = {name: value for name, value in entry.items() if name != axis} | ({key: entry[axis]} if key else {})
    try:
        options_of.model_validate(options)
    except ValidationError as error:
        yield from problems_of(error, document, file, root=options_of, at=path)


def _uses(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str, str]]:
    yield from _matrix_uses(_mapping(data, "matrix"), ("matrix",))
    for name, case in _mapping(data, "cases").items():
        if isinstance(case, dict):
            yield from _matrix_uses(_mapping(case, "matrix"), ("cases", name, "matrix"))


def _matrix_uses(matrix: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:
    yield from _coordinates(matrix, path, AXES)
    for section in ("exclude", "include", "mark"):
        entries = matrix.get(section)
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                yield from _coordinates(entry, (*path, section, index), (*AXES, "case"))


def _coordinates(table: Mapping[str, Any], path: KeyPath, axes: Iterable[str]) -> Iterator[tuple[KeyPath, str, str]]:
    for axis in axes:
        value = table.get(axis)
        if isinstance(value, str):
            yield (*path, axis), axis, value
        elif isinstance(value, list):
            yield from (((*path, axis, index), axis, name) for index, name in enumerate(value) if isinstance(name, str))


def _gated(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    yield from ((("gate", metric), metric) for metric in _mapping(data, "gate"))
    for name, case in _mapping(data, "cases").items():
        if isinstance(case, dict):
            yield from ((("cases", name, "gate", metric), metric) for metric in _mapping(case, "gate"))


def _mapping(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _unknown(document: Document, file: str, path: KeyPath, axis: str, name: str, known: Iterable[str]) -> Problem:
    names = list(known)
    place = document.place(path, file)
    shown = ", ".join(names) if len(names) <= 12 else f"one of {len(names)} names (see the docs)"
    return Problem(
        file=place.file,
        line=place.line,
        key=dotted(path),
        found=f"the unknown {axis} {name!r}",
        expected=shown or f"a {axis} declared under {SECTIONS.get(axis, axis + 's')}",
        hint=nearest(name, names),
    )
