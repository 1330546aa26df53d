"""baselines/history/<machine class>.jsonl: the paired ratios of nightly runs against a pinned commit, one line per event.

{"kind": "pin", "commit": ..., "at": ...}                                      from here on nights are against this commit
{"kind": "night", "at", "commit", "pinned", "run", "cells": [{node_id, metric, log_ratio, low, high, pairs, outcome}]}
{"kind": "bridge", "old", "new", "cells": [{node_id, metric, log_ratio}]}      ln(new / old) of two pinned commits
{"kind": "retire", "node_id", "at", "last", "reason"}                          a case that was removed on purpose

Every line carries "schema_version": 1, a retirement 2, which older versions refuse. Lines are only ever appended.
A torn last line is left out when reading and cut off before the next one is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lmbench.base import json_text
from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.files import append_line, exclusive
from lmbench.base.reading import read_bytes
from lmbench.base.typed import made

HISTORY_VERSION, RETIRE_VERSION = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRatio:
    """One metric of one case in one night: ln(head / pinned), and its two-sided 90 % interval, also in logarithms."""

    node_id: str
    metric: str
    log_ratio: float
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    outcome: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """The commit that nights are compared with from here on."""

    commit: str
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One gated run against the pinned commit."""

    at: str
    commit: str
    pinned: str
    run: str
    cells: tuple[CellRatio, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """ln(new / old) of two pinned commits: what joins the nights before a re-pin to those after it."""

    old: str
    new: str
    cells: tuple[CellRatio, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """A case that was removed on purpose: until it is measured again nobody waits for it."""

    node_id: str
    at: str
    last: str
    """Date of the last night that measured it; a later one brings it back."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything of one file, in the order it was written."""

    pins: tuple[Pin, ...] = ()
    nights: tuple[Night, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    retired: tuple[Retirement, ...] = ()


def history_path(root: Path, machine_class: str) -> Path:
    """Where the history of a machine class lies below `root`."""
    return root / "baselines" / "history" / f"{machine_class}.jsonl"


def append_pin(path: Path, pin: Pin) -> None:
    """Pin a commit."""
    _append(path, "pin", asdict(pin))


def append_bridge(path: Path, bridge: Bridge) -> None:
    """Join two pins."""
    _append(path, "bridge", asdict(bridge))


def move_pin(path: Path, pin: Pin, *, after: str | None, joining: Bridge | None = None) -> None:
    """Pin a commit, joined to the nights before by `joining`, as one step.

    Raises StoreError when the pin is not `after` (None: no pin yet) any more: another process has moved it meanwhile.
    """
    with exclusive(path.parent):
        pins = read_history(path).pins
        found = pins[-1].commit if pins else None
        if found != after:
            raise StoreError(f"{path}: found the pin {found}; expected {after or 'none'}; it was moved meanwhile, start again")
        if joining is not None:
            _write(path, "bridge", asdict(joining))
        _write(path, "pin", asdict(pin))


def append_night(path: Path, night: Night) -> None:
    """Add a night."""
    _append(path, "night", asdict(night))


def append_retirement(path: Path, retirement: Retirement) -> None:
    """Note that a case was removed on purpose."""
    _append(path, "retire", asdict(retirement), version=RETIRE_VERSION)


def read_history(path: Path) -> History:
    """The history in `path`, empty when there is none. Raises StoreError with the line that is damaged."""
    if not path.exists():
        return History()
    entries = _Entries()
    try:
        lines = read_bytes(path).decode(errors="replace").split("\n")
    except Unreadable as error:
        raise StoreError(f"{path}: found {error.found}; expected the history of nightly runs") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json_text.loads(line)
        except Unreadable as error:
            if number == len(lines):
                break
            raise _damaged(path, number, error.found) from error
        if not isinstance(entry, dict):
            raise _damaged(path, number, f"{line[:40]!r}, which is not a JSON object")
        try:
            _fold(entry, entries)
        except (KeyError, TypeError, ValueError) as error:
            what = error.found if isinstance(error, Unreadable) else f"an entry that does not fit ({error!r})"
            raise _damaged(path, number, what) from error
    return History(
        pins=tuple(entries.pins),
        nights=tuple(entries.nights),
        bridges=tuple(entries.bridges),
        retired=tuple(entries.retired),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entries:
    """The lines read so far, by kind."""

    pins: list[Pin] = field(default_factory=list)
    nights: list[Night] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)
    retired: list[Retirement] = field(default_factory=list)


def _fold(entry: dict[str, Any], entries: _Entries) -> None:
    kind, version = entry.pop("kind"), entry.pop("schema_version")
    if version not in (HISTORY_VERSION, RETIRE_VERSION):
        raise ValueError(f"schema version {version}; this lmbench reads {HISTORY_VERSION} and {RETIRE_VERSION}")
    if kind == "pin":
        entries.pins.append(made(Pin, entry))
    elif kind == "night":
        entries.nights.append(made(Night, entry))
    elif kind == "bridge":
        entries.bridges.append(made(Bridge, entry))
    elif kind == "retire":
        entries.retired.append(made(Retirement, entry))
    else:
        raise ValueError(f"kind {kind!r}")


def _append(path: Path, kind: str, content: Mapping[str, Any], *, version: int = HISTORY_VERSION) -> None:
    with exclusive(path.parent):  # else one process could cut off the line that another is writing
        _write(path, kind, content, version=version)


def _write(path: Path, kind: str, content: Mapping[str, Any], *, version: int = HISTORY_VERSION) -> None:
    entry = {"kind": kind, "schema_version": version, **content}
    _mend(path)
    append_line(path, json.dumps(entry, allow_nan=False, separators=(",", ":")))


def _mend(path: Path) -> None:
    """Cut off a torn last line, which no reader counts, so that the next line does not become its second half."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        if stream.read() == b"\n":
            return
        stream.seek(0)
        content = stream.read()
        end = content.rfind(b"\n") + 1
        if _is_json(content[end:]):
            stream.write(b"\n")
        else:
            stream.truncate(end)


def _is_json(line: bytes) -> bool:
    try:
        json_text.loads(line)
    except Unreadable:
        return False
    return True


def _damaged(path: Path, number: int, what: str) -> StoreError:
    return StoreError(f"{path}:{number}: found {what}; expected a line written by lmbench; restore the file or remove the line")
