"""Options of compression methods: unknown ones and impossible values are faults of configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.registry import nearest


def only(method: str, options: Mapping[str, Any], known: Iterable[str] = ()) -> None:
    """Raise ConfigError naming every key of `options` that is not one of `known`."""
    names = sorted(known)
    expected = f"only {', '.join(names)}" if names else "no options"
    strangers = [name for name in options if name not in names]
    if strangers:
        raise ConfigError([problem(method, name, "an unknown option", expected, nearest(name, names)) for name in strangers])


def problem(method: str, key: str, found: str, expected: str, hint: str = "") -> Problem:
    """A fault in one option of one method."""
    return Problem(file=f"compression {method}", line=None, key=key, found=found, expected=expected, hint=hint)
