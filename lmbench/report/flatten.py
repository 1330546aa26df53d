"""JSON objects as lines of 'name' and 'value with unit', for environments and accounts whose shape is not fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmbench.base.units import pretty

LONGEST = 400
_SUFFIXES = (("_bytes", "bytes"), ("_bytes_per_s", "bytes/s"), ("_s", "s"), ("_j", "J"), ("_w", "W"))


def leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """('cpu.model', 'Example CPU') for every leaf; numbers whose name ends in a unit (_s, _bytes ...) are printed in it."""
    for key, inner in value.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(inner, Mapping):
            yield from leaves(inner, name)
        else:
            yield name, as_text(str(key), inner)


def as_text(name: str, value: Any) -> str:
    """One value for a person, with the unit its name ends in."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    if isinstance(value, int | float):
        return _number(name, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _clip(", ".join(str(inner) for inner in value) or "-")
    return _clip(str(value))


def _number(name: str, value: float) -> str:
    if name.endswith("_bytes_per_s"):
        return pretty(value, "bytes/s")
    for suffix, unit in _SUFFIXES:
        if name.endswith(suffix) and not name.endswith("_per_s"):
            return pretty(value, unit)
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
