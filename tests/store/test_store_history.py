"""The history file: appended, torn, damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.store.history import (
    Bridge,
    CellRatio,
    Night,
    Pin,
    append_bridge,
    append_night,
    append_pin,
    history_path,
    read_history,
)

CELL = CellRatio(node_id="a", metric="m", log_ratio=0.1, low=0.05, high=0.15, pairs=8, outcome="ok")
NIGHT = Night(at="2026-01-01", commit="c1", pinned="p", run="r", cells=(CELL,))


def test_everything_comes_back_in_order(tmp_path: Path) -> None:
    path = history_path(tmp_path, "xeon")
    assert read_history(path).pins == ()
    append_pin(path, Pin(commit="p", at="2026-01-01"))
    append_night(path, NIGHT)
    append_bridge(path, Bridge(old="p", new="q", cells=(CELL,)))
    known = read_history(path)
    assert (known.pins[0].commit, known.nights, known.bridges[0].cells) == ("p", (NIGHT,), (CELL,))


def test_a_torn_last_line_is_left_out_and_any_other_fault_named(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    append_night(path, NIGHT)
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    assert read_history(path).nights == (NIGHT,)
    append_pin(path, Pin(commit="p", at=""))
    append_night(path, NIGHT)
    known = read_history(path)
    assert (len(known.pins), known.nights) == (1, (NIGHT, NIGHT)), "what comes after a torn line is not lost with it"
    path.write_text(whole.rstrip("\n"))
    append_night(path, NIGHT)
    assert read_history(path).nights == (NIGHT, NIGHT), "a whole line that lacks only its end is kept"
    path.write_text(whole[:40] + "\n" + whole)
    with pytest.raises(StoreError, match=r"h.jsonl:1: found what is not JSON"):
        read_history(path)
    path.write_text(whole.replace('"schema_version":1', '"schema_version":9'))
    with pytest.raises(StoreError, match=r"schema version 9"):
        read_history(path)
    path.write_text("5\n")
    with pytest.raises(StoreError, match=r"h.jsonl:1: found '5'"):
        read_history(path)
    path.write_text('{"kind":"moon","schema_version":1}\n')
    with pytest.raises(StoreError, match=r"kind 'moon'"):
        read_history(path)
