"""Options of backends: unknown ones and impossible values are faults of configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.registry import nearest
from lmbench.base.threads import thread_budget


def only(backend: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise ConfigError naming every key of `options` that is not one of `known`."""
    names = sorted(known)
    strangers = [name for name in options if name not in names]
    if strangers:
        expected = f"one of {', '.join(names)}"
        raise ConfigError([problem(backend, name, "an unknown option", expected, nearest(name, names)) for name in strangers])


def count(backend: str, options: Mapping[str, Any], key: str) -> int | None:
    """The option `key` as a whole number of at least 1; None when it is not set."""
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError([problem(backend, key, repr(value), "a whole number of at least 1")])
    return value


def compute_threads(backend: str, options: Mapping[str, Any]) -> int:
    """Threads to compute with: the option `threads`, else what the user's variables, the affinity mask and the CPU quota give."""
    return thread_budget(count(backend, options, "threads")).threads


def choice(backend: str, options: Mapping[str, Any], key: str, values: tuple[str, ...]) -> str:
    """The option `key` as one of `values`; the first of them when it is not set."""
    value = options.get(key, values[0])
    if value not in values:
        raise ConfigError([problem(backend, key, repr(value), f"one of {', '.join(values)}", nearest(str(value), values))])
    return str(value)


def problem(backend: str, key: str, found: str, expected: str, hint: str = "") -> Problem:
    """A fault in one option of one backend."""
    return Problem(file=f"backend {backend}", line=None, key=key, found=found, expected=expected, hint=hint)
