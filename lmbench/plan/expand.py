"""A suite's matrix multiplied out into cases; order and ids depend only on the suite file."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from lmbench.base.entry import Entry
from lmbench.base.errors import ConfigError, Problem
from lmbench.base.reading import exists, is_file
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS, WORKLOADS, resolve
from lmbench.plan.case import Case, Choice
from lmbench.plan.former import former_ids, misnamed
from lmbench.plan.threads import with_threads, without_threads
from lmbench.suite.document import Document, KeyPath, dotted
from lmbench.suite.load import Suite
from lmbench.suite.names import model_kind, nested
from lmbench.suite.schemas import WORKLOAD_PARAMS, schema
from lmbench.suite.spec import Cell, Marked, Matrix, Selector

BUILT_IN_CORPORA = ("python-reference", "shakespeare")
FETCHED = ("smollm2",)
FILE_OPTIONS = ("path", "tokenizer")
FILE_PARAMS = {"trace": "", "prompt_tokens": "empirical ", "output_tokens": "empirical "}
"""Parameters of workloads that may name a file, and what stands before its path."""
IMPORTED = "imported"

Coordinates = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    models: Mapping[str, Choice]
    backends: Mapping[str, Choice]
    compressions: Mapping[str, Choice]


def expand(suite: Suite, root: Path) -> list[Case]:
    """Every cell of every case of `suite`; raises ConfigError for cases without cells and files that do not exist."""
    axes = _axes(suite, root)
    cases: list[Case] = []
    problems = [*_absent(suite, axes, root), *_misdeclared(suite, root)]
    for name, spec in suite.spec.cases.items():
        cells = _cells(name, _merged(suite.spec.matrix, spec.matrix))
        if not cells:
            problems.append(_no_cells(suite, name))
        cases += [_case(suite, root, axes, name, cell, tags) for cell, tags in cells.items()]
    problems += [*misnamed(suite, cases), *without_threads(suite, cases)]
    if problems:
        raise ConfigError(problems)
    return cases


def files_of(case: Case) -> list[str]:
    """Files and folders the case names, relative to the root it was expanded with or absolute."""
    source = str(case.corpus.get("source", ""))
    named = [] if source in BUILT_IN_CORPORA else [source]
    models = [{**case.model.options, "model": case.model.kind}, *(student for _, student in _students(case.compression.options))]
    for model in models:
        if model["model"] != IMPORTED:
            named += [str(value) for key in FILE_OPTIONS if _is_file(key, value := model.get(key))]
    named += _named_by(case.params).values()
    return [path for path in named if path]


def _merged(suite: Matrix, case: Matrix) -> Matrix:
    """The case's axes replace the suite's; its exclusions, additions and marks join them."""
    return Matrix(
        model=case.model or suite.model,
        backend=case.backend or suite.backend or ["torch"],
        compression=case.compression or suite.compression or ["none"],
        exclude=[*suite.exclude, *case.exclude],
        include=[*suite.include, *case.include],
        mark=[*suite.mark, *case.mark],
    )


def _cells(case: str, matrix: Matrix) -> dict[Coordinates, tuple[str, ...]]:
    cells: dict[Coordinates, tuple[str, ...]] = {}
    for cell in product(matrix.model or [], matrix.backend or [], matrix.compression or []):
        if not any(_matches(rule, case, cell) for rule in matrix.exclude):
            cells[cell] = ()
    for extra in matrix.include:
        cells[_coordinates(extra)] = tuple(extra.tags)
    return {cell: tuple(dict.fromkeys((*tags, *_marks(matrix.mark, case, cell)))) for cell, tags in cells.items()}


def _coordinates(cell: Cell) -> Coordinates:
    return cell.model, cell.backend, cell.compression


def _matches(rule: Selector, case: str, cell: Coordinates) -> bool:
    wanted = (rule.case, rule.model, rule.backend, rule.compression)
    return all(names is None or value in names for names, value in zip(wanted, (case, *cell), strict=True))


def _marks(rules: Iterable[Marked], case: str, cell: Coordinates) -> list[str]:
    return [tag for rule in rules if _matches(rule, case, cell) for tag in rule.tags]


def _case(suite: Suite, root: Path, axes: _Axes, name: str, cell: Coordinates, tags: tuple[str, ...]) -> Case:
    spec = suite.spec.cases[name]
    workload = spec.workload
    known = WORKLOAD_PARAMS[workload]
    params = known.model_validate(spec.model_dump(include=set(known.model_fields))).model_dump()
    for key, path in _named_by(params).items():
        params[key] = FILE_PARAMS[key] + _from_root(suite.folder_of(("cases", name, key), root) / path, root)
    return Case(
        suite=suite.shown_as,
        name=name,
        workload=workload,
        params=params,
        model=axes.models[cell[0]],
        backend=with_threads(axes.backends[cell[1]], spec.threads),
        compression=axes.compressions[cell[2]],
        corpus={"source": _corpus(suite, root)},
        seed=suite.spec.seed,
        tags=tuple(dict.fromkeys((*suite.spec.tags, *spec.tags, *tags))),
        gate={**suite.spec.gate, **spec.gate},
        timeout_s=spec.timeout_s,
        was=former_ids(suite.shown_as, "-".join(cell), spec.was),
    )


def _corpus(suite: Suite, root: Path) -> str:
    source = suite.spec.corpus
    return source if source in BUILT_IN_CORPORA else _from_root(suite.folder_of(("corpus",), root) / source, root)


def _axes(suite: Suite, root: Path) -> _Axes:
    spec = suite.spec
    models = {}
    for name, entry in spec.models.items():
        kind, key = model_kind(entry.model)
        options = dict(entry.model_extra or {}) | ({key: entry.model} if key else {})
        plain = _plain(MODELS[kind], options)
        located = plain if kind == IMPORTED else _located(plain, suite, root, ("models", name))
        models[name] = Choice(name=name, kind=kind, options=located)
    backends = {name: Choice(name=name, kind=name) for name in BACKENDS}
    for name, backend in spec.backends.items():
        options = _plain(BACKENDS[backend.backend], backend.model_extra or {})
        backends[name] = Choice(name=name, kind=backend.backend, options=options)
    compressions = {name: Choice(name=name, kind=name) for name in COMPRESSIONS}
    for name, level in spec.compressions.items():
        options = _plain(COMPRESSIONS[level.compression], level.model_extra or {})
        for path, student in _students(options):
            kind, key = model_kind(student["model"])
            student.update({key: student["model"], "model": kind} if key else {})
            if kind != IMPORTED:
                _located(student, suite, root, ("compressions", name, *path))
        compressions[name] = Choice(name=name, kind=level.compression, options=options)
    return _Axes(models=models, backends=backends, compressions=compressions)


def _plain(entry: Entry, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those left to the family's default, so that a new default changes no digest by itself."""
    known = schema(entry)
    return dict(options) if known is None else known.model_validate(options).model_dump(exclude_none=True)


def _students(options: Mapping[str, Any]) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """Place and text of each model that the options of a level declare."""
    return ((path, student) for axis, path, student in nested(options) if axis == "model")


def _located(options: dict[str, Any], suite: Suite, root: Path, at: KeyPath) -> dict[str, Any]:
    """Relative paths of a model's options, taken from the file that wrote them."""
    for key in FILE_OPTIONS:
        if _is_file(key, options.get(key)):
            options[key] = _from_root(suite.folder_of(at, root) / options[key], root)
    return options


def _is_file(key: str, value: object) -> bool:
    """Whether a model's option names a file or folder: every path but a fetched model, and tokenizers by file."""
    return isinstance(value, str) and (value not in FETCHED if key == "path" else value.endswith(".json"))


def _absent(suite: Suite, axes: _Axes, root: Path) -> Iterator[Problem]:
    """Files and folders the suite names that are not there."""
    source = _corpus(suite, root)
    if source not in BUILT_IN_CORPORA and not exists(root / source):
        yield _no_file(suite, ("corpus",), source, "a text file or folder")
    models: list[tuple[KeyPath, dict[str, Any]]] = []
    models += [(("models", name), {**model.options, "model": model.kind}) for name, model in axes.models.items()]
    for name, level in axes.compressions.items():
        models += [(("compressions", name, *path), student) for path, student in _students(level.options)]
    for at, model in models:
        for key in FILE_OPTIONS:
            value = model.get(key)
            if model["model"] != IMPORTED and _is_file(key, value) and not exists(root / str(value)):
                written = key if (*at, key) in suite.places else "model"
                yield _no_file(suite, (*at, written), str(value), "an existing file or folder")


def _misdeclared(suite: Suite, root: Path) -> Iterator[Problem]:
    """What a workload's own check finds in the parameters of its cases, and files they name that are not there."""
    for name, spec in suite.spec.cases.items():
        check = WORKLOADS[spec.workload].check
        params, absent = spec.model_dump(), set()
        for key, path in _named_by(params).items():
            file = suite.folder_of(("cases", name, key), root) / path
            params[key] = f"{FILE_PARAMS[key]}{file}"
            if not is_file(file):
                absent.add(key)
                yield _no_file(suite, ("cases", name, key), path, "an existing file")
        for key, fault in resolve(check)(params) if check else ():
            if key in absent:  # said already
                continue
            place = Document(places=dict(suite.places)).place(("cases", name, key), suite.shown_as)
            where = ", ".join(filter(None, [dotted(("cases", name, key)), fault.key]))
            inside = {} if fault.line is not None else {"file": place.file, "line": place.line}
            yield dataclasses.replace(fault, key=where, **inside)


def _named_by(params: Mapping[str, Any]) -> dict[str, str]:
    """The paths of files that a workload's parameters name."""
    found = {key: str(params[key]) for key in FILE_PARAMS if isinstance(params.get(key), str)}
    return {
        key: path
        for key, text in found.items()
        if text.startswith(FILE_PARAMS[key]) and (path := text.removeprefix(FILE_PARAMS[key]).strip())
    }


def require_valid(case: Case) -> None:
    """Raise ConfigError when the parameters of a case that no suite declares cannot be read."""
    check = WORKLOADS[case.workload].check
    faults = resolve(check)(case.params) if check else ()
    found = [dataclasses.replace(fault, file=case.suite, key=f"{key} {fault.key}") for key, fault in faults]
    if found:
        raise ConfigError(found)


def _no_file(suite: Suite, key: KeyPath, value: str, expected: str) -> Problem:
    place = Document(places=dict(suite.places)).place(key, suite.shown_as)
    hint = "Relative paths start at the file that writes them."
    found = f"{value}, which does not exist"
    return Problem(file=place.file, line=place.line, key=dotted(key), found=found, expected=expected, hint=hint)


def _from_root(path: Path, root: Path) -> str:
    """Relative to `root` where it lies below it, so that a checkout elsewhere has the same case digests."""
    inside = Path(os.path.normpath(path))
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else str(inside)


def _no_cells(suite: Suite, name: str) -> Problem:
    place = suite.places.get(("cases", name))
    return Problem(
        file=place.file if place else suite.shown_as,
        line=place.line if place else None,
        key=f"cases.{name}.matrix",
        found="no cell: no model is named, or every cell is excluded",
        expected="at least one model x backend x compression",
        hint="Name models under matrix.model, or remove the exclusion.",
    )
