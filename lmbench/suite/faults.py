"""Pydantic's complaints turned into problems with file, line, what was found, what was expected and a near match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lmbench.base.errors import Problem
from lmbench.base.registry import nearest
from lmbench.suite.document import Document, KeyPath, dotted
from lmbench.suite.schemas import WORKLOAD_PARAMS
from lmbench.suite.spec import CASE_MODELS, SuiteSpec


def problems_of(
    error: ValidationError, document: Document, file: str, *, root: type[BaseModel] = SuiteSpec, at: KeyPath = ()
) -> list[Problem]:
    """One problem per complaint; `at` is where `root` stands in the document."""
    return [_problem(fault, document, file, root, at) for fault in error.errors()]


def _problem(fault: Any, document: Document, file: str, root: type[BaseModel], at: KeyPath) -> Problem:
    loc = tuple(fault["loc"])
    path = (*at, *_without_tags(loc))
    place = document.place(path, file)
    found, expected, hint = _describe(fault, loc, root)
    return Problem(file=place.file, line=place.line, key=dotted(path), found=found, expected=expected, hint=hint)


def _describe(fault: Any, loc: Sequence[int | str], root: type[BaseModel]) -> tuple[str, str, str]:
    kind, value = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        known = _keys_at(loc[:-1], root)
        return "an unknown key", "one of " + ", ".join(known) if known else "no keys here", nearest(str(loc[-1]), known)
    if kind == "missing":
        return "nothing", f"the key {loc[-1]!r}", ""
    if kind == "union_tag_invalid":
        workload = str(value.get("workload")) if isinstance(value, dict) else repr(value)
        return f"workload {workload!r}", "one of " + ", ".join(WORKLOAD_PARAMS), nearest(workload, WORKLOAD_PARAMS)
    if kind == "union_tag_not_found":
        return "no workload", "workload: one of " + ", ".join(WORKLOAD_PARAMS), ""
    if kind == "value_error" and (own := str(fault["msg"]).removeprefix("Value error, ")).startswith("found "):
        # A validator of our own: it says what it found, which may be less than the whole value (a secret must not be shown).
        found, _, rest = own.removeprefix("found ").partition("; expected ")
        return found, rest, ""
    expected = str(fault["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    permitted = fault.get("ctx", {}).get("expected", "")
    hint = nearest(str(value), [word.strip(" '") for word in str(permitted).replace(" or ", ",").split(",")]) if permitted else ""
    return repr(value), expected[:1].lower() + expected[1:], hint


def _without_tags(loc: Sequence[int | str]) -> KeyPath:
    """Pydantic puts the union's tag and '[key]' into the location; the file has neither."""
    path = [part for part in loc if part != "[key]"]
    if len(path) > 2 and path[0] == "cases" and path[2] in CASE_MODELS:
        del path[2]
    return tuple(path)


def _keys_at(loc: Iterable[int | str], root: type[BaseModel]) -> list[str]:
    kind: Any = root
    for part in loc:
        kind = _bare(kind)
        if part in CASE_MODELS and get_origin(kind) is not dict and not _is_model(kind):
            kind = CASE_MODELS[str(part)]
        elif _is_model(kind):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif get_args(kind):
            kind = get_args(kind)[-1]
    kind = _bare(kind)
    return list(kind.model_fields) if _is_model(kind) else []


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType) and type(None) in get_args(kind):
        return _bare(next(arm for arm in get_args(kind) if arm is not type(None)))
    return kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
