"""Runs read in parts, by processes of their own or not, make the same site as all of them read one after another."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.errors import StoreError
from lmbench.capacity.measured import MOST_RUNS
from lmbench.cli import stored as reading
from lmbench.site.gather import gather, read_part
from lmbench.site.nouns import Stored
from lmbench.store.imports import run_files
from lmbench.store.runs import StoredRun, read_run
from tests.capacity.records import record, stress
from tests.report.synthetic import failed
from tests.site import stored


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Runs of which some hold records of others, some fail, one declares a case differently, not in the order of their dates."""
    root = tmp_path_factory.mktemp("storage")
    made = stored.store(root, 6, 4)
    stored.hostile(root)
    again = json.loads(made[2].read_text())
    again["lmbench"]["run"]["id"] = "a copy"
    again["lmbench"]["failed"] = stored.run(2, [failed(case=stored.records(1)[0].case, started_at=stored.moment(9))])["lmbench"][
        "failed"
    ]
    again["benchmarks"][1]["extra_info"]["lmbench"]["case"]["params"]["prompt_tokens"] = 99
    again["benchmarks"][1]["extra_info"]["lmbench"]["started_at"] = stored.moment(20)
    made[0].with_name("0009_copy.json").write_text(json.dumps(again))
    return run_files(root)


@pytest.fixture(scope="module")
def whole(files: list[Path]) -> Stored:
    return gather(map(read_run, files))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.booleans(), min_size=7, max_size=7))
def test_parts_of_any_size_are_the_whole(files: list[Path], whole: Stored, cuts: list[bool]) -> None:
    edges = [0, *(place for place, cut in enumerate(cuts, start=1) if cut), len(files)]
    parts = [files[low:high] for low, high in pairwise(edges)]
    assert gather(map(read_part, parts)) == whole


def test_a_record_in_two_files_is_one_point(whole: Stored) -> None:
    sizes = sorted(len(trail.points) for trail in whole.trails.values())
    assert sizes[-5:] == [1, 6, 6, 7, 7], "the copy adds a failed record and one of another declaration"


def test_processes_of_their_own_read_the_same_and_tell_what_is_damaged(
    files: list[Path], whole: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "0001_damaged.json"
    damaged.write_text("{")
    monkeypatch.setattr(reading, "WORTH_BYTES", 0)
    monkeypatch.setattr(reading, "PART", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    parts = list(reading.read_parts([*files, damaged], read_part))
    assert sum(len(part.runs) for part in parts) == len(files) > reading.PART
    assert [problem.partition(":")[0] for part in parts for problem in part.problems] == [str(damaged)]
    assert gather(parts) == whole


def _die(_: object) -> None:
    os._exit(3)


def test_a_process_that_dies_is_an_error_that_says_so(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WORTH_BYTES", 0)
    monkeypatch.setattr(reading, "PART", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.raises(StoreError, match="a process that read stored runs died"):
        list(reading.read_parts(files, _die))


def test_progress_is_told_only_when_it_takes_long(
    files: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(list(reading.read_runs(files, pytest.fail))) == len(files)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(reading, "QUIET_S", 0.0)
    monkeypatch.setattr(reading, "LOG_PERIOD_S", 0.0)
    list(reading.read_runs(files, pytest.fail))
    assert capsys.readouterr().err.splitlines() == [
        f"reading stored runs: {place} of {len(files)}" for place in range(len(files))
    ]


def test_a_plan_gets_the_newest_stress_runs_of_a_case_and_of_others_the_newest_record() -> None:
    def one(day: int) -> StoredRun:
        at = stored.moment(day)
        records = (stress(at=at), record("latency", "none", {"prompt_tokens": 32}, {"latency_p50_s": 0.01}, at=at))
        return StoredRun(
            path=Path(f"{day}.json"), number=day, id=str(day), complete=True, info={"started_at": at}, records=records
        )

    found = gather(map(one, range(MOST_RUNS + 2))).declared_runs
    assert [run.id for run in found] == [str(day) for day in range(2, MOST_RUNS + 2)]
    workloads = [sorted(record.case.workload for record in run.records) for run in found]
    assert workloads == [["stress"]] * (MOST_RUNS - 1) + [["latency", "stress"]]
