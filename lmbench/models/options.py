"""Reading the options a suite gives a model: named sizes filled in, unknown or ill-typed keys refused with a suggestion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.registry import nearest


def refuse(model: str, key: str, found: object, expected: str, hint: str = "") -> ConfigError:
    """The error for one wrong option of the model called `model`."""
    return ConfigError([Problem(file=f"model {model!r}", line=None, key=key, found=str(found), expected=expected, hint=hint)])


def settings(model: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`defaults` overridden by `options`; every problem at once as a ConfigError.

    An option must be known and of its default's type (an int where a float stands is fine; a default of None takes anything).
    """
    problems: list[Problem] = []
    for key, value in options.items():
        if key not in defaults:
            expected = f"one of {', '.join(sorted(defaults))}"
            problems.append(_problem(model, key, f"unknown option {key!r}", expected, nearest(key, defaults)))
        elif not _fits(value, defaults[key]):
            problems.append(_problem(model, key, repr(value), _kind(defaults[key]), ""))
    if problems:
        raise ConfigError(problems)
    return {**defaults, **options}


def sized(
    model: str, options: Mapping[str, Any], sizes: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """`settings` with the named size (option 'size') filled in between the defaults and the options."""
    size = options.get("size", defaults["size"])
    if size not in sizes:
        raise refuse(model, "size", repr(size), f"one of {', '.join(sizes)}", nearest(str(size), sizes))
    return settings(model, options, {**defaults, **sizes[size]})


def _problem(model: str, key: str, found: str, expected: str, hint: str) -> Problem:
    return Problem(file=f"model {model!r}", line=None, key=key, found=found, expected=expected, hint=hint)


def _fits(value: object, default: object) -> bool:
    if default is None:
        return True
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, int):
        return isinstance(value, int) and value >= 0
    return isinstance(value, type(default))


def _kind(default: object) -> str:
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, int):
        return "a whole number >= 0"
    if isinstance(default, float):
        return "a number"
    return "text" if isinstance(default, str) else f"a {type(default).__name__}"


def at_least_one(model: str, chosen: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Refuse zeros where a count is needed, all at once."""
    problems = [_problem(model, key, repr(chosen[key]), "a whole number >= 1", "") for key in keys if chosen[key] < 1]
    if problems:
        raise ConfigError(problems)


def one_of(model: str, chosen: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse values outside the given choices, all at once."""
    problems = [
        _problem(model, key, repr(chosen[key]), f"one of {', '.join(known)}", nearest(str(chosen[key]), known))
        for key, known in choices.items()
        if chosen[key] not in known
    ]
    if problems:
        raise ConfigError(problems)
