"""Records to JSON and back; old schema versions are upgraded here, unknown ones are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.typed import made
from lmbench.record.record import SCHEMA_VERSION, Record


def to_json(record: Record) -> dict[str, Any]:
    """Plain JSON of a record; raises ValueError where it holds NaN, an infinity or a non-JSON type."""
    data = asdict(record)
    data["case"] = record.case.to_json()
    data["notes"] = list(record.notes)
    data["series"] = {name: [float(value) for value in values] for name, values in record.series.items()}
    data["attempts"] = list(data["attempts"])
    if not record.attempts:
        del data["attempts"]
    if record.elapsed_s is None:
        del data["elapsed_s"]
    _require_plain(data, "record")
    return data


def from_json(data: Mapping[str, Any]) -> Record:
    """The record behind `data`; raises StoreError for a schema this version does not know, and for what does not fit it."""
    version = data.get("schema_version") if isinstance(data, Mapping) else None
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"found a record of schema version {version!r}; this lmbench reads version {SCHEMA_VERSION}; "
            "read it with the lmbench that wrote it, or update lmbench"
        )
    if absent := [name for name in ("metrics", "series", "notes") if name not in data]:
        raise StoreError(
            f"found a damaged record (without {absent[0]}); expected schema version {SCHEMA_VERSION}; rerun the case"
        )
    try:
        return made(Record, data)
    except Unreadable as error:
        raise StoreError(f"found a damaged record ({error.found}); expected {error.expected}; rerun the case") from error


def dumps(record: Record) -> str:
    """One line of JSON."""
    return json.dumps(to_json(record), allow_nan=False, separators=(",", ":"))


def _require_plain(value: Any, path: str) -> None:
    if value is None or isinstance(value, (str, bool, int)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{path} is {value}; a number that is not known must be None with a reason")
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{path} has a key of type {type(key).__name__}; expected str")
            _require_plain(inner, f"{path}.{key}")
        return
    if isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            _require_plain(inner, f"{path}[{index}]")
        return
    raise ValueError(f"{path} is a {type(value).__module__}.{type(value).__name__}; expected plain JSON")
