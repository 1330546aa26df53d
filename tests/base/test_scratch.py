"""Temporary folders: gone after use, found when their maker was killed, left alone when they are somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmbench.base.cache import build_once
from lmbench.base.scratch import MARK, Owner, abandoned, clear_abandoned, remove, scratch, this_process

HOLD = """
import sys
from pathlib import Path
from lmbench.base.scratch import scratch
with scratch("held") as folder:
    (folder / "data").write_text("data")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of this test's own, for this process and those it starts."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """A process that holds a temporary folder until its standard input ends."""
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_folder_is_gone_after_its_block_and_what_links_lead_to_stays(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "weights").write_text("precious")
    with scratch("links") as folder:
        (folder / "lent").symlink_to(tmp_path / "users")
        (folder / "closed").mkdir()
        (folder / "closed" / "file").write_text("x")
        (folder / "closed").chmod(0o500)
    assert sorted(path.name for path in temporary.iterdir()) == ["users"]
    assert (tmp_path / "users" / "weights").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "users")
    remove(tmp_path / "link")
    assert (tmp_path / "users" / "weights").read_text() == "precious"


def test_what_a_killed_process_left_is_cleared_and_a_living_ones_is_not(temporary: Path, holder: subprocess.Popen[str]) -> None:
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    (temporary / "lmbench-held-foreign").mkdir()
    (temporary / "lmbench-held-damaged").mkdir()
    (temporary / "lmbench-held-damaged" / MARK).write_text("no mark of ours")
    clear_abandoned()
    assert (folder / "data").read_text() == "data"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    clear_abandoned()
    assert sorted(path.name for path in temporary.iterdir()) == ["lmbench-held-damaged", "lmbench-held-foreign"]


def test_the_dead_are_told_from_others_of_their_number(holder: subprocess.Popen[str]) -> None:
    ours = this_process()
    assert ours.alive and ours.here and ours.pid == os.getpid()
    assert not Owner(pid=ours.pid, started=1, namespace=ours.namespace).alive, "another process has the number now"
    assert not Owner(pid=ours.pid, started=ours.started, namespace="pid:[1]").here
    assert holder.stdout is not None
    mark = Path(holder.stdout.readline().strip()).parent / MARK
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with abandoned(mark) as first, abandoned(mark) as second:
        assert first is not None and second is None, "two runs do not clear the same folder"


def test_a_builder_that_was_killed_leaves_no_half_of_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    killed = (
        "import os, signal\nfrom lmbench.base.cache import build_once\n"
        "build_once('kind', {'a': 1}, lambda folder: ((folder / 'half').write_text('x'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cache" / "kind").glob(".*.*/half"))) == 1
    folder = build_once("kind", {"a": 1}, lambda _: None)
    assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]
