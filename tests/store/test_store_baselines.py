"""Baselines: the newest records per case from as few files as possible; never rejected, failed or quick ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.store.baselines import only, recent
from tests.report.synthetic import MACHINE_ID, case, failed, record, store

NODE = case().node_id
OTHER = case(name="other")


def test_the_newest_k_records_come_first_and_reading_stops_there(tmp_path: Path) -> None:
    for number in range(1, 9):
        store(tmp_path, number, [record(scale=number)])
    found = recent(tmp_path, [NODE], k=3)
    assert [entry.metrics["load_s"].value for entry in found.of(NODE)] == pytest.approx([0.4 * 8, 0.4 * 7, 0.4 * 6])
    assert [path.name[:4] for path in found.sources] == ["0008", "0007", "0006"]


def test_a_case_that_was_never_stored_reads_no_more_than_max_files(tmp_path: Path) -> None:
    for number in range(1, 9):
        store(tmp_path, number, [record()])
    found = recent(tmp_path, ["suites/new.suite.yaml::x[m]"], max_files=4)
    assert len(found.sources) == 4
    assert found.of("suites/new.suite.yaml::x[m]") == ()


def test_rejected_failed_and_quick_records_are_no_baselines(tmp_path: Path) -> None:
    store(tmp_path, 1, [record(scale=1.0)])
    store(tmp_path, 2, [record(mode="once")])
    store(tmp_path, 3, [failed()])
    store(tmp_path, 4, [record(scale=9.0)], rejected=True)
    found = recent(tmp_path, [NODE])
    assert [entry.metrics["load_s"].value for entry in found.of(NODE)] == pytest.approx([0.4])


def test_a_damaged_file_is_left_out_and_named(tmp_path: Path) -> None:
    store(tmp_path, 1, [record()])
    store(tmp_path, 2, [record()]).write_text("{")
    found = recent(tmp_path, [NODE])
    assert len(found.of(NODE)) == 1
    assert "0002_run.json" in found.problems[0]


def test_expected_are_the_cases_the_newest_run_of_each_suite_still_had(tmp_path: Path) -> None:
    elsewhere = case(suite="suites/other.suite.yaml")
    store(tmp_path, 1, [record(), record(case=OTHER), record(case=elsewhere)])
    store(tmp_path, 2, [record()])
    found = recent(tmp_path, [NODE], k=2)
    assert set(found.expected) == {NODE, elsewhere.node_id}
    assert found.of(OTHER.node_id) == ()
    assert found.environment["python"] == "3.11.7"


def test_nothing_wanted_still_reads_the_newest_run_for_missing_cases(tmp_path: Path) -> None:
    store(tmp_path, 1, [record()])
    assert recent(tmp_path, []).expected == (NODE,)


@pytest.mark.parametrize("which", ["0001", "1", "0001_r", f"{MACHINE_ID}/0001", "Linux/1"])
def test_one_stored_run_by_number_or_prefix(tmp_path: Path, which: str) -> None:
    store(tmp_path, 1, [record(scale=3.0)])
    store(tmp_path, 2, [record()])
    found = only(tmp_path, which, [NODE])
    assert [entry.metrics["load_s"].value for entry in found.of(NODE)] == pytest.approx([1.2])


def test_one_stored_run_by_path_also_a_rejected_one(tmp_path: Path) -> None:
    path = store(tmp_path, 1, [record()], rejected=True)
    assert only(tmp_path, str(path), [NODE]).sources == (path,)


def test_no_match_lists_what_is_stored(tmp_path: Path) -> None:
    store(tmp_path, 7, [record()])
    with pytest.raises(StoreError, match=r"'0003'.*0007_run\.json"):
        only(tmp_path, "0003", [NODE])
