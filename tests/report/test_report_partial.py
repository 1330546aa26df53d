"""Partial and failed runs beside what earlier ones measured: shown, marked, counted nowhere, never lost."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import StoreError
from lmbench.compare.judging import compare_case
from lmbench.compare.verdicts import Verdict
from lmbench.record.record import Record
from lmbench.report.scope import scope_of
from lmbench.report.write import rebuild, write_run
from lmbench.store.journal import Journal
from lmbench.store.latest import STRANGERS, Kept, newest, read_latest, write_latest
from lmbench.store.runs import StoredRun
from tests.report.synthetic import MACHINE, case, failed, record, store

SUITE = "suites/inference.suite.yaml"
A, B = case(name="a"), case(name="b")
CASES = {one.node_id: one.digest for one in (A, B)}


def run(day: int, *records: Record, verdicts: tuple[Verdict, ...] = (), complete: bool = True, **info: Any) -> StoredRun:
    """A session of that day of January; its records are of that day too."""
    at = f"2026-01-{day:02d}T03:04:05+00:00"
    return StoredRun(
        path=Path(),
        number=None,
        id=f"run-{day}",
        complete=complete,
        info={"started_at": at, "scope": {"declared": CASES, "ran": []}, **info},
        machine_class=MACHINE,
        records=tuple(replace(one, started_at=at) for one in records),
        verdicts=tuple(one.to_json() for one in verdicts),
    )


def table(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """The report's CSV by case, metric and 'carried'."""
    rows = csv.DictReader(io.StringIO((folder / "inference.csv").read_text()))
    return {(row["node_id"].partition("::")[2][:1], row["metric"], row["carried"]): row for row in rows}


def test_earlier_values_fill_in_with_age_and_verdict_of_then_and_count_nowhere(tmp_path: Path) -> None:
    slow = compare_case(record(case=B, scale=9.0), [record(case=B, seed=seed) for seed in range(5)])
    write_run(run(1, record(case=A), record(case=B, scale=9.0), verdicts=tuple(slow)), slow, tmp_path)
    ok = compare_case(record(case=A), [record(case=A, seed=seed) for seed in range(5)])
    now = run(4, record(case=A), verdicts=tuple(ok), scope={"declared": CASES, "why": ["-k 'a'"]})
    assert write_run(now, ok, tmp_path).problems == []
    rows = table(tmp_path)
    kept = rows["b", "ttft_p50_s", "yes"]
    assert (kept["run"], kept["verdict"], float(kept["age_s"])) == ("run-1", "", 3 * 86400)
    assert "3 days earlier; its verdict then: regressed" in kept["why"]
    text = (tmp_path / "inference.md").read_text()
    head = text.partition("\n## ")[0]
    assert "partial run: 1 of 2 cases ran (-k 'a'); 1 case is shown with values of earlier runs" in head
    assert "1 case: " in head and "regressed" not in head
    assert "3 days earlier" in (tmp_path / "inference.html").read_text()
    verdicts = json.loads((tmp_path / "verdicts.json").read_text())
    assert "regressed" not in verdicts["counts"] and verdicts["partial"]["not_run"] == [B.node_id]


def test_a_run_in_which_everything_failed_shows_what_was_measured_last(tmp_path: Path) -> None:
    write_run(run(1, record(case=A), record(case=B)), [], tmp_path)
    bad = [failed(case=A), failed(case=B)]
    verdicts = [verdict for one in bad for verdict in compare_case(one, ())]
    for day in (2, 3):  # the second failure must not forget what the first one carried
        write_run(run(day, *bad, verdicts=tuple(verdicts)), verdicts, tmp_path)
    rows = table(tmp_path)
    assert rows["a", "", ""]["verdict"] == "error" and rows["a", "ttft_p50_s", "yes"]["run"] == "run-1"
    text = (tmp_path / "inference.md").read_text()
    assert text.count("Last measured: values of run run-1, 2 days earlier") == 2
    assert "partial" not in text and "2 cases are shown with values of earlier runs" in text


def test_another_declaration_or_machine_is_said_beside_the_values(tmp_path: Path) -> None:
    other = replace(B, params={**B.params, "prompt_tokens": 9})
    write_run(run(1, record(case=other, machine_class="another-machine")), [], tmp_path)
    write_run(run(2, record(case=A)), [], tmp_path)
    why = table(tmp_path)["b", "ttft_p50_s", "yes"]["why"]
    assert "measured on another machine class, another-machine" in why and "declared differently then" in why


def test_removed_cases_are_not_shown_and_come_back_with_their_branch(tmp_path: Path) -> None:
    write_run(run(1, record(case=A), record(case=B)), [], tmp_path)
    write_run(run(2, record(case=A), scope={"declared": {A.node_id: A.digest}}), [], tmp_path)
    assert not [key for key in table(tmp_path) if key[0] == "b"]
    write_run(run(3, record(case=A)), [], tmp_path)
    assert table(tmp_path)["b", "ttft_p50_s", "yes"]["run"] == "run-1"


def test_only_some_cases_of_other_branches_are_kept(tmp_path: Path) -> None:
    days = [f"2026-01-{day:02d}T03:04:05+00:00" for day in range(1, 29)]
    names = [f"{SUITE}::gone-{number}" for number in range(STRANGERS + 5)]
    entries = [Kept(node_id=name, run="r", at=days[number // 2], record=None) for number, name in enumerate(names)]
    entries.append(Kept(node_id=A.node_id, run="r", at=days[0], record=record(case=A)))
    write_latest(tmp_path / "x.json", SUITE, newest(entries), [A.node_id])
    assert {entry.node_id for entry in read_latest(tmp_path / "x.json")} == {A.node_id, *names[5:]}


def test_a_renamed_case_keeps_its_values(tmp_path: Path) -> None:
    old = case(name="old")
    write_run(run(1, record(case=A), record(case=old), scope={"declared": {old.node_id: old.digest}}), [], tmp_path)
    write_run(run(2, record(case=A), renames={old.node_id: B.node_id}), [], tmp_path)
    assert table(tmp_path)["b", "ttft_p50_s", "yes"]["run"] == "run-1"
    assert not [key for key in table(tmp_path) if key[0] == "o"]


def test_what_a_killed_session_measured_is_found_in_its_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal" / "killed.jsonl")
    killed = run(2)
    journal.open({"schema_version": 1, "run": {"id": "killed", **killed.info}, "machine_class": MACHINE})
    journal.record(replace(record(case=B), started_at="2026-01-02T03:04:05+00:00"))
    write_run(run(3, record(case=A)), [], tmp_path)
    assert table(tmp_path)["b", "ttft_p50_s", "yes"]["run"] == "killed"


def test_a_damaged_file_of_values_is_named_and_costs_no_report(tmp_path: Path) -> None:
    write_run(run(1, record(case=A), record(case=B)), [], tmp_path)
    data = tmp_path / "data" / "inference.json"
    data.write_text(data.read_text()[:-40])
    with pytest.raises(StoreError, match="not JSON"):
        read_latest(data)
    written = write_run(run(2, record(case=A)), [], tmp_path)
    assert len(written.paths) == 3 and "inference.json: found what is not JSON" in written.problems[0]
    assert [entry.run for entry in read_latest(data)] == ["run-2"]


def test_slow_cells_left_out_are_not_partial_and_an_interrupt_is(tmp_path: Path) -> None:
    assert scope_of(run(1, record(case=A), scope={"declared": CASES, "left_out": [B.node_id]})).sentence == ""
    early = run(1, record(case=A), complete=False)
    assert scope_of(early).sentence == "partial run: 1 of 2 cases ran (interrupted)"
    write_run(early, [], tmp_path)
    assert "(interrupted)" in (tmp_path / "inference.html").read_text()


def test_plain_tests_that_were_not_named_stay_in_their_file_s_report(tmp_path: Path) -> None:
    def verdict(name: str) -> Verdict:
        return Verdict(
            node_id=f"tests/test_x.py::{name}", metric="round_p50_s", outcome="ok", why="", unit="s", baseline=1.0, now=1.0
        )

    both = [verdict("test_one"), verdict("test_two")]
    scope: dict[str, Any] = {"declared": {one.node_id: None for one in both}, "ran": [one.node_id for one in both]}
    write_run(run(1, verdicts=tuple(both), scope=scope), both, tmp_path)
    named = {"declared": {both[0].node_id: None}, "ran": [both[0].node_id], "open": ["tests/test_x.py"]}
    write_run(run(2, verdicts=(both[0],), scope=named), both[:1], tmp_path)
    text = (tmp_path / "tests--test_x.py.md").read_text()
    assert "partial run: of tests/test_x.py only what was named ran, 1 test" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "tests--test_x.py.csv").read_text())))
    assert [(row["node_id"][-8:], row["carried"], row["verdict"], row["value"]) for row in rows] == [
        ("test_one", "", "ok", "1.0"),
        ("test_two", "yes", "", "1.0"),
    ]
    assert "test_two" in (tmp_path / "tests--test_x.py.html").read_text()


def test_stored_runs_are_joined_oldest_first_whatever_their_order(tmp_path: Path) -> None:
    old, new = store(tmp_path / "s", 1, [record(case=A), record(case=B)]), store(tmp_path / "s", 2, [record(case=A)])
    later = new.read_text().replace("2026-01-02T", "2026-01-09T").replace("20260102-030405-abcd", "later")
    new.write_text(later.replace(f'"{A.node_id}"]', f'"{A.node_id}", "{B.node_id}"]'))
    rebuild([new, old], tmp_path / "out")
    rows = table(tmp_path / "out")
    assert rows["a", "ttft_p50_s", ""]["run"] == "later" and rows["b", "ttft_p50_s", "yes"]["run"] == "20260102-030405-abcd"


def test_of_two_measurements_of_one_second_the_later_one_counts() -> None:
    entries = [Kept(node_id="x", run=name, at="2026-01-01T00:00:00+00:00", record=None) for name in ("one", "two")]
    assert newest(entries)["x"].run == "two"
