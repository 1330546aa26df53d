"""A journal that goes on elsewhere, and runs that are kept for a storage that did not take them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.base.files import append_line
from lmbench.base.scratch import KEPT
from lmbench.store.files import REJECTED
from lmbench.store.journal import Journal
from lmbench.store.rescue import UNSTORED, keep, keep_run, last_resorts, restore
from lmbench.store.runs import read_run
from tests.report.synthetic import MACHINE_ID, record

HEAD = {"schema_version": 1, "run": {"id": "r1"}}


def no_space(*_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_a_journal_goes_on_whole_where_it_can_be_written(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name / "journal" for name in ("first", "second", "third"))
    log = Journal(first / "r1.jsonl", lambda: (second, third))
    log.open(HEAD)
    shutil.rmtree(tmp_path / "first")
    log.record(record())  # a folder that is deleted is made again, with all that was in the file
    assert (log.problem, len(read_run(first / "r1.jsonl").records)) == ("", 1)
    shutil.rmtree(tmp_path / "first")
    for name in ("first", "second"):
        (tmp_path / name).write_text("in the way")
    log.skip("a::b", "why")
    log.end()
    run = read_run(third / "r1.jsonl")
    assert (len(run.records), len(run.skipped), run.complete) == (1, 1, True)
    assert (
        log.problem == f"{tmp_path / 'first'}: cannot be written (Not a directory); what is measured goes to {third / 'r1.jsonl'}"
    )


def test_a_journal_in_memory_is_written_at_the_end_where_there_is_room_again(tmp_path: Path) -> None:
    (tmp_path / "first").write_text("in the way")
    log = Journal(tmp_path / "first" / "journal" / "r1.jsonl")
    log.open(HEAD)
    log.record(record())
    assert not log.written and log.problem.endswith("in memory alone until the end")
    (tmp_path / "first").unlink()
    log.end()
    assert log.written and len(read_run(log.path).records) == 1 and read_run(log.path).complete


def test_a_line_that_fails_leaves_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    append_line(path, "one")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            append_line(path, "two")
    append_line(path, "three")
    assert path.read_text() == "one\nthree\n"


def test_the_last_resorts_are_tried_in_order_and_leave_nothing_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_text("")
    kept = keep("run.json", "{}", tmp_path / "file")
    assert kept is not None and kept.parent.name.startswith(KEPT) and kept.parent.parent == tmp_path
    assert keep("run.json", "{}", tmp_path / "beside") == tmp_path / "beside" / "run.json"
    assert len(list(last_resorts(tmp_path))) == 3
    assert [path.name for path in tmp_path.glob(f"{KEPT}*")] == [kept.parent.name]


@pytest.mark.parametrize("folder", [MACHINE_ID, f"{REJECTED}/{MACHINE_ID}"])
def test_a_kept_run_comes_back_where_it_belongs(tmp_path: Path, folder: str) -> None:
    kept = keep_run({"benchmarks": [], "version": "5"}, folder, "abc", tmp_path / "beside")
    assert kept is not None
    path = restore(kept, tmp_path / "storage")
    assert path == tmp_path / "storage" / folder / "0001_abc.json"
    assert json.loads(path.read_text()) == {"benchmarks": [], "version": "5"}


@pytest.mark.parametrize(
    "place", [None, 5, {}, {"folder": "..", "name": "x"}, {"folder": "a/b", "name": "x"}, {"folder": "a", "name": "../x"}]
)
def test_what_names_no_place_in_the_storage_is_refused(tmp_path: Path, place: object) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"benchmarks": [], UNSTORED: place}))
    with pytest.raises(StoreError, match="expected"):
        restore(path, tmp_path / "storage")
    assert not (tmp_path / "storage").exists()
