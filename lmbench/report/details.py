"""Values out of a record's details, tolerant of what old or other records do not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmbench.record.record import Record


def rows_of(record: Record, key: str) -> list[Mapping[str, Any]]:
    """The mappings of a list in the details; empty when it is not there."""
    found = record.details.get(key)
    return (
        [row for row in found if isinstance(row, Mapping)] if isinstance(found, Sequence) and not isinstance(found, str) else []
    )


def number(row: Mapping[str, Any], *keys: str) -> float | None:
    """The number at a path of keys, or None."""
    value: Any = row
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def share(value: float | None) -> str:
    """0.953 -> '95 %'."""
    return "-" if value is None else f"{value:.0%}"
