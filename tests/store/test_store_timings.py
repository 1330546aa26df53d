"""How long cases took, out of stored files: rejected runs too, other machines not, and damage is nobody's time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.record.codec import from_json, to_json
from lmbench.record.record import Record
from lmbench.store.renames import Renames
from lmbench.store.timings import MAX_FILES, stored_timings
from tests.report.synthetic import MACHINE, case, failed, record

A, B = case(name="a"), case(name="b")


def put(storage: Path, number: int, *records: Any, rejected: bool = False) -> Path:
    """A stored run; records as nouns, or as what a damaged file holds."""
    folder = storage / ("rejected/Linux" if rejected else "Linux")
    folder.mkdir(parents=True, exist_ok=True)
    plain = [to_json(one) if isinstance(one, Record) else one for one in records]
    good = [{"fullname": "x", "extra_info": {"lmbench": one}} for one in plain if not one or one.get("status") != "error"]
    bad = [one for one in plain if one and one.get("status") == "error"]
    path = folder / f"{number:04d}_run.json"
    path.write_text(json.dumps({"benchmarks": good, "lmbench": {"failed": bad}}))
    return path


def at(one: Record, day: int, elapsed_s: float | None = None) -> Record:
    return replace(one, started_at=f"2026-01-{day:02d}T00:00:00+00:00", elapsed_s=elapsed_s)


def test_times_of_this_machine_class_are_found_in_every_kind_of_run(tmp_path: Path) -> None:
    put(tmp_path, 1, at(record(case=A), 1, 40.0))
    put(tmp_path, 2, at(record(case=A), 2), rejected=True)
    put(tmp_path, 3, at(record(case=B, machine_class="another"), 3, 1.0), at(failed(case=B), 3, 600.0))
    put(tmp_path / "imported", 1)
    found = stored_timings(tmp_path, [A.node_id, B.node_id], MACHINE)
    assert [(one.seconds, one.worker_only) for one in found.table[A.node_id]] == [(record(case=A).wall_s, True), (40.0, False)]
    assert [(one.seconds, one.failed) for one in found.table[B.node_id]] == [(600.0, True)]
    assert found.problems == ()


def test_former_names_lead_to_the_case(tmp_path: Path) -> None:
    put(tmp_path, 1, at(record(case=A), 1, 4.0))
    found = stored_timings(tmp_path, [B.node_id], MACHINE, renames=Renames(table={A.node_id: B.node_id}))
    assert [one.seconds for one in found.table[B.node_id]] == [4.0]


@pytest.mark.parametrize(
    "damage",
    [
        {"elapsed_s": "much"},
        {"elapsed_s": True},
        {"elapsed_s": -1},
        {"elapsed_s": 1e300},
        {"started_at": "yesterday"},
        {"started_at": None},
        {"case": {}},
        {"case": None},
        {"mode": "once"},
    ],
)
def test_a_damaged_record_is_nobody_s_time_and_takes_no_other_with_it(tmp_path: Path, damage: dict[str, Any]) -> None:
    put(tmp_path, 1, {**to_json(at(record(case=B), 1)), "wall_s": None, **damage}, at(record(case=A), 1, 2.0), {}, None)
    (tmp_path / "Linux" / "0002_torn.json").write_text('{"benchmarks": [')
    (tmp_path / "Linux" / "0003_list.json").write_text("[1]")
    found = stored_timings(tmp_path, [A.node_id], MACHINE)
    assert list(found.table) == [A.node_id]
    assert len(found.problems) == 1 and "0002_torn.json" in found.problems[0]


def test_a_thorough_search_goes_through_every_file_for_a_case_that_newer_ones_lack(tmp_path: Path) -> None:
    put(tmp_path, 1, at(record(case=B), 1, 2.0))
    for number in range(2, MAX_FILES + 3):
        put(tmp_path, number, at(record(case=A), 2, 3.0))
    wanted = [A.node_id, B.node_id]
    assert B.node_id not in stored_timings(tmp_path, wanted, MACHINE).table
    assert B.node_id in stored_timings(tmp_path, wanted, MACHINE, thorough=True).table
    assert len(stored_timings(tmp_path, [A.node_id], MACHINE, thorough=True).table[A.node_id]) == 3, "no more than it takes"


def test_the_time_of_a_case_is_kept_and_absent_where_it_is_not_known() -> None:
    known = to_json(at(record(case=A), 1, 4.5))
    assert from_json(known).elapsed_s == 4.5
    old = to_json(record(case=A))
    assert "elapsed_s" not in old and from_json(old).elapsed_s is None
