"""Numbers of stored runs under concurrency and crashes; what else is looked at and then written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.base.files import exclusive
from lmbench.store.files import number_of, save
from lmbench.store.history import Pin, append_pin, move_pin, read_history
from lmbench.store.ledger import read_ledger

PROCESSES, SAVES = 8, 25
SAVING = """
import sys
from pathlib import Path
from lmbench.store.files import save
sys.stdin.read(1)
for index in range(int(sys.argv[3])):
    save(Path(sys.argv[1]), f"{sys.argv[2]}-{index}", "{}")
"""
WRITING = """
import sys
from pathlib import Path
from lmbench.store.history import CellRatio, Night, append_night
from lmbench.store.ledger import Change, append_change
sys.stdin.read(1)
folder, name = Path(sys.argv[1]), sys.argv[2]
for index in range(2):
    append_change(folder / "changes.yaml", Change(case=f"{name}-{index}", metric="*", change=0.1, reason="meant"))
    cells = tuple(CellRatio(node_id=f"case-{number}" * 20, metric="ttft_p50_s", log_ratio=0.0) for number in range(200))
    append_night(folder / "history.jsonl", Night(at="", commit=f"{name}-{index}", pinned="p", run="r", cells=cells))
"""
DYING = """
import os, sys
from pathlib import Path
import lmbench.store.files as files
def die(temporary, target):
    os.kill(os.getpid(), 9)
if sys.argv[2] == "named":
    files._give_name = die
else:
    os.fsync = lambda _: die(None, None)
files.save(Path(sys.argv[1]), "dies", "{}")
"""


def together(program: str, folder: Path, *more: str) -> None:
    """Run it in several processes that begin at the same time, each with a name of its own."""
    started = [
        subprocess.Popen([sys.executable, "-c", program, str(folder), f"writer{index}", *more], stdin=subprocess.PIPE)
        for index in range(PROCESSES)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(b"g")
        process.stdin.close()
    assert [process.wait() for process in started] == [0] * PROCESSES


def test_eight_processes_that_save_under_names_of_their_own_get_two_hundred_consecutive_numbers(tmp_path: Path) -> None:
    together(SAVING, tmp_path, str(SAVES))
    numbers = sorted(number for path in tmp_path.iterdir() if (number := number_of(path)) is not None)
    assert numbers == list(range(1, PROCESSES * SAVES + 1))
    assert len(list(tmp_path.iterdir())) == PROCESSES * SAVES


@pytest.mark.parametrize("when", ["written", "named"])
def test_a_process_that_dies_while_it_saves_takes_no_number_and_leaves_the_lock(tmp_path: Path, when: str) -> None:
    save(tmp_path, "first", "{}")
    done = subprocess.run([sys.executable, "-c", DYING, str(tmp_path), when], check=False)
    assert done.returncode == -signal.SIGKILL
    assert when == "named" or [path.name for path in tmp_path.iterdir()] == ["0001_first.json"]
    assert save(tmp_path, "second", "{}").name == "0002_second.json"


def test_a_file_system_without_links_gets_whole_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "link", refused)
    assert [save(tmp_path, "run", "{}").name for _ in range(2)] == ["0001_run.json", "0002_run.json"]
    assert len(list(tmp_path.iterdir())) == 2


def test_entries_of_several_processes_in_one_ledger_and_one_history_are_all_there(tmp_path: Path) -> None:
    together(WRITING, tmp_path)
    expected = {f"writer{writer}-{index}" for writer in range(PROCESSES) for index in range(2)}
    assert {change.case for change in read_ledger(tmp_path / "changes.yaml")} == expected
    assert {night.commit for night in read_history(tmp_path / "history.jsonl").nights} == expected


def test_a_pin_that_somebody_moved_meanwhile_is_not_moved_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append_pin(path, Pin(commit="a", at=""))
    move_pin(path, Pin(commit="b", at=""), after="a")
    with pytest.raises(StoreError, match="moved meanwhile"):
        move_pin(path, Pin(commit="c", at=""), after="a")
    assert [pin.commit for pin in read_history(path).pins] == ["a", "b"]


def test_a_folder_that_cannot_be_made_has_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"File exists|Not a directory"), exclusive(tmp_path / "file"):
        raise AssertionError("held")
