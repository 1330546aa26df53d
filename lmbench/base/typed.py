"""JSON checked against a dataclass: every key known, every value of the kind its annotation says, every number finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from lmbench.base.errors import Unreadable

T = TypeVar("T")
Check = Callable[[Any, str], Any]
_WHOLE = 2**63


def made(kind: type[T], data: object, at: str = "") -> T:
    """A `kind` of the object `data`, lists as tuples; raises Unreadable, with the place, for what does not fit."""
    found: Any = kind
    value: T = _of_dataclass(found)(data, at or kind.__name__.lower())
    return value


def _wrong(value: object, at: str, expected: str) -> Unreadable:
    text = repr(value) if isinstance(value, str | int | float | bool | NoneType) else f"a {type(value).__name__}"
    return Unreadable(f"{text[:60]} as {at}", expected)


@cache
def _of_dataclass(kind: Any) -> Check:
    hints = get_type_hints(kind)
    checks = {field.name: _check(hints[field.name]) for field in fields(kind)}
    needed = {field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING}

    def check(value: Any, at: str) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(value, at, "an object")
        unlike = sorted(map(str, needed - value.keys())) or sorted(map(str, value.keys() - checks.keys()))
        if unlike:
            raise Unreadable(
                f"{at} {'without' if unlike[0] in needed else 'with'} {unlike[0][:60]!r}", "the keys of this version"
            )
        given = {name: checks[name](one, f"{at}.{name}") for name, one in value.items()}
        try:
            return kind(**given)
        except ValueError as error:
            raise Unreadable(f"{at} of values that do not fit ({error})", "values that fit together") from error

    return check


@cache
def _check(hint: Any) -> Check:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN or is_dataclass(hint):
        return _PLAIN.get(hint) or _of_dataclass(hint)
    if origin in (Union, UnionType):
        return _optional(*(_check(one) for one in arguments if one is not NoneType), none=NoneType in arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_check(arguments[1]))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if origin is tuple and arguments[-1] is not Ellipsis:
            return _row(tuple(_check(one) for one in arguments))
        return _floats if arguments[0] is float else _list(_check(arguments[0]))
    raise TypeError(f"no check for {hint}")


def _anything(value: Any, _: str) -> Any:
    return value


def _optional(*checks: Check, none: bool) -> Check:
    def check(value: Any, at: str) -> Any:
        if value is None and none:
            return None
        for one in checks[:-1]:
            try:
                return one(value, at)
            except Unreadable:
                continue
        return checks[-1](value, at)

    return check


def _mapping(inner: Check) -> Check:
    def check(value: Any, at: str) -> Any:
        if not isinstance(value, Mapping):
            raise _wrong(value, at, "an object")
        return {str(key): inner(one, f"{at}.{key}") for key, one in value.items()}

    return check


def _list(inner: Check) -> Check:
    def check(value: Any, at: str) -> Any:
        if not isinstance(value, list | tuple):
            raise _wrong(value, at, "a list")
        return tuple(inner(one, f"{at}[{index}]") for index, one in enumerate(value))

    return check


def _row(inner: tuple[Check, ...]) -> Check:
    def check(value: Any, at: str) -> Any:
        if not isinstance(value, list | tuple) or len(value) != len(inner):
            raise _wrong(value, at, f"a list of {len(inner)}")
        return tuple(one(part, at) for one, part in zip(inner, value, strict=True))

    return check


def _floats(value: Any, at: str) -> Any:
    """Long series of numbers, looked at as a whole."""
    if not isinstance(value, list | tuple) or not set(map(type, value)) <= {float, int} or not all(map(math.isfinite, value)):
        raise _wrong(value, at, "a list of finite numbers")
    return tuple(value)


def _text(value: Any, at: str) -> Any:
    if not isinstance(value, str):
        raise _wrong(value, at, "a text")
    return value


def _bool(value: Any, at: str) -> Any:
    if not isinstance(value, bool):
        raise _wrong(value, at, "true or false")
    return value


def _int(value: Any, at: str) -> Any:
    if type(value) is not int or not -_WHOLE <= value < _WHOLE:
        raise _wrong(value, at, "a whole number")
    return value


def _float(value: Any, at: str) -> Any:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _wrong(value, at, "a finite number")
    return value


_PLAIN: dict[Any, Check] = {str: _text, bool: _bool, int: _int, float: _float, Any: _anything, object: _anything}
