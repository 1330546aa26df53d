"""Numbered files: order, numbering, atomic and exclusive publication, finding a rejected run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.store.files import REJECTED, list_all, list_runs, next_number, number_of, rejected_run, save
from tests.report.synthetic import MACHINE_ID


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    return path


def test_numbers_sort_as_numbers_also_after_9999(tmp_path: Path) -> None:
    for name in ("0002_a", "9999_b", "10000_c", "0001_d"):
        touch(tmp_path / MACHINE_ID / f"{name}.json")
    assert [path.name for path in list_runs(tmp_path)] == ["10000_c.json", "9999_b.json", "0002_a.json", "0001_d.json"]
    assert next_number(tmp_path / MACHINE_ID) == 10001


def test_rejected_temporary_and_foreign_files_are_no_runs(tmp_path: Path) -> None:
    good = touch(tmp_path / MACHINE_ID / "0001_a.json")
    rejected = touch(tmp_path / REJECTED / MACHINE_ID / "0002_b.json")
    for name in (".0003_x.json.tmp", ".run.abc", "notes.json", "12_short.json", "0004.json", "0005_x.txt"):
        touch(tmp_path / MACHINE_ID / name)
    touch(tmp_path / REJECTED / "0009_stray.json")
    assert list_runs(tmp_path) == [good]
    assert [file.path for file in list_all(tmp_path)] == [rejected, good]
    assert [file.machine_id for file in list_all(tmp_path)] == [MACHINE_ID, MACHINE_ID]


def test_a_machine_id_restricts_the_list(tmp_path: Path) -> None:
    touch(tmp_path / "Linux-CPython-3.12-64bit" / "0007_a.json")
    mine = touch(tmp_path / MACHINE_ID / "0001_a.json")
    assert list_runs(tmp_path, MACHINE_ID) == [mine]


def test_an_absent_storage_is_empty(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []
    assert next_number(tmp_path / "nowhere") == 1
    assert number_of(Path("x.json")) is None


def test_concurrent_saves_all_land_under_numbers_of_their_own(tmp_path: Path) -> None:
    threads = [threading.Thread(target=save, args=(tmp_path, "run", str(index))) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == [str(index) for index in range(8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{number:04d}_run.json" for number in range(1, 9)]


def test_a_rejected_run_is_found_by_number_or_path(tmp_path: Path) -> None:
    one = touch(tmp_path / REJECTED / MACHINE_ID / "0001_a.json")
    touch(tmp_path / REJECTED / "Linux-CPython-3.12-64bit" / "0001_a.json")
    two = touch(tmp_path / REJECTED / MACHINE_ID / "0002_b.json")
    with pytest.raises(StoreError, match="several rejected runs"):
        rejected_run(tmp_path, 1)
    with pytest.raises(StoreError, match="no rejected run"):
        rejected_run(tmp_path, 5)
    assert rejected_run(tmp_path, one).path == one
    assert rejected_run(tmp_path, 2).path == two
