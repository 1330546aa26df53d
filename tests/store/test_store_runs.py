"""Stored runs and journals as one noun; damage, torn lines and unknown versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.store.journal import Journal, read_journal
from lmbench.store.runs import read_run
from tests.report.synthetic import ENVIRONMENT, HARNESS, MACHINE, failed, record, run_json, store

HEAD = {
    "schema_version": 1,
    "run": {"id": "r1", "started_at": "t0", "suites": ["suites/inference.suite.yaml"]},
    "environment": dict(ENVIRONMENT),
    "machine_class": MACHINE,
}


def test_a_json_run_is_read_whole(tmp_path: Path) -> None:
    good, bad = record("memory"), failed(workload="latency")
    run = read_run(store(tmp_path, 3, [good, bad]))
    assert (run.number, run.complete, run.machine_class) == (3, True, MACHINE)
    assert run.records == (good, bad)
    assert run.environment == ENVIRONMENT
    assert run.harness == HARNESS
    assert run.suites == ("suites/inference.suite.yaml",)
    assert [skip.reason for skip in run.skipped] == ["needs an NVIDIA GPU; run on a machine with one"] * 2


def test_a_file_without_lmbench_data_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "0001_plain.json"
    path.write_text(json.dumps({"benchmarks": [{"name": "x", "extra_info": {}, "stats": {}}], "machine_info": {}}))
    run = read_run(path)
    assert (run.records, run.number, run.complete) == ((), 1, True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"benchmarks": 3}', '{"lmbench": 1}', "\udcff"])
def test_damage_is_refused_with_what_to_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0001_x.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoreError, match=r"0001_x\.json: found .* expected .* delete the file or restore it"):
        read_run(path)


def test_what_only_the_lenient_parser_reads_is_read(tmp_path: Path) -> None:
    data = run_json([record()])
    data["benchmarks"][0]["stats"] = {"ops": float("inf"), "stddev": float("nan"), "note": "\ud800"}
    path = tmp_path / "0001_x.json"
    path.write_text(json.dumps(data))
    assert read_run(path).records == (record(),)


def test_a_missing_file_and_an_unknown_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        read_run(tmp_path / "none.json")
    data = run_json([record()])
    data["lmbench"]["schema_version"] = 99
    (tmp_path / "0001_x.json").write_text(json.dumps(data))
    with pytest.raises(StoreError, match=r"version 99.*update lmbench"):
        read_run(tmp_path / "0001_x.json")


def test_a_damaged_record_names_the_file(tmp_path: Path) -> None:
    data = run_json([record()])
    del data["benchmarks"][0]["extra_info"]["lmbench"]["case"]
    (tmp_path / "0001_x.json").write_text(json.dumps(data))
    with pytest.raises(StoreError, match=r"0001_x\.json.*damaged record"):
        read_run(tmp_path / "0001_x.json")


def journal(path: Path) -> Journal:
    log = Journal(path)
    log.open(HEAD)
    log.record(record())
    log.skip("suites/a.suite.yaml::x[m]", "needs a GPU")
    log.record(failed(workload="memory"))
    return log


def test_a_finished_journal_is_a_complete_run(tmp_path: Path) -> None:
    log = journal(tmp_path / "r1.jsonl")
    log.end({"verdicts": [{"node_id": "x", "outcome": "ok"}], "run": {"finished_at": "t1"}})
    run = read_journal(log.path)
    assert (run.id, run.complete, run.number) == ("r1", True, None)
    assert run.records == (record(), failed(workload="memory"))
    assert run.info["started_at"] == "t0"
    assert run.info["finished_at"] == "t1"
    assert run.verdicts == ({"node_id": "x", "outcome": "ok"},)
    assert run.skipped[0].node_id == "suites/a.suite.yaml::x[m]"


def test_a_killed_session_keeps_every_finished_case_at_any_torn_byte(tmp_path: Path) -> None:
    whole = journal(tmp_path / "whole.jsonl").path.read_bytes()
    lines = whole.splitlines(keepends=True)
    before_last = len(b"".join(lines[:-1]))
    for cut in (before_last, before_last + 1, before_last + 100, len(whole) - 2):
        torn = tmp_path / f"torn-{cut}.jsonl"
        torn.write_bytes(whole[:cut])
        run = read_journal(torn)
        assert run.records == (record(),)
        assert not run.complete


def test_a_journal_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = journal(tmp_path / "r.jsonl").path
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1][:50], *lines[2:]]) + "\n")
    with pytest.raises(StoreError, match="line 2"):
        read_journal(path)
    path.write_text(lines[0] + "\n[]\n" + lines[1] + "\n")
    with pytest.raises(StoreError, match="not a JSON object"):
        read_journal(path)
