"""The base's tree in real repositories of every layout: the right bytes, and afterwards nothing of the user's has changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from lmbench.base.errors import ConfigError
from lmbench.base.scratch import MARK, scratch
from lmbench.paired.checkout import Checkout, checked_out
from lmbench.paired.leftovers import clear_left_behind
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Sides, run_pair
from lmbench.paired.trees import base_place, head_place, lend, resolve, worktree
from tests.base.repositories import commit, git, repository, worktrees

HOLD = """
import subprocess, sys
from pathlib import Path
from lmbench.paired.checkout import checked_out
from lmbench.run.isolate import Place, environment_at
with checked_out(Path(sys.argv[1]), sys.argv[2]) as checkout:
    # A process that is called as a worker is, and outlives this one.
    code = "import time; time.sleep(600)"
    worker = subprocess.Popen(
        [sys.executable, "-c", code, "lmbench.plugin.worker"],
        env=environment_at(Place(root=checkout.root)), start_new_session=True, stdout=subprocess.DEVNULL,
    )
    print(worker.pid, checkout.root, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of this test's own; what is still in it after a test was left behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@contextmanager
def base_of(top: Path, commit: str = "HEAD") -> Iterator[Checkout]:
    with checked_out(top, git(top, "rev-parse", commit)) as checkout:
        assert checkout.why == ""
        yield checkout


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has), within the time a kill takes to arrive."""
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
    stat = Path(f"/proc/{pid}/stat")
    for _ in range(10_000):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        os.sched_yield()
    return False


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A repository of two commits."""
    made = repository(tmp_path / "top", {"code.py": "one\n", ".gitignore": "data/\n"})
    commit(made, {"code.py": "two\n"})
    return made


def test_a_users_worktree_on_a_missing_disk_keeps_its_place_and_its_index(top: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    git(top, "worktree", "add", "-q", "-b", "topic", str(disk / "topic"))
    (disk / "topic" / "code.py").write_text("staged\n")
    git(disk / "topic", "add", "-A")
    disk.rename(tmp_path / "unplugged")
    listed = worktrees(top)
    for _ in range(2):
        with base_of(top, "HEAD~1") as checkout:
            assert (checkout.root / "code.py").read_text() == "one\n" and len(worktrees(top)) == 3
    assert worktrees(top) == listed == [str(top), str(disk / "topic")]
    (tmp_path / "unplugged").rename(disk)
    assert git(disk / "topic", "diff", "--cached", "--name-only") == "code.py"


@pytest.mark.parametrize("name", ["with spaces", "größe-ü", "a:b"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, temporary: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    top = repository(tmp_path / name, {"pkg/inner/mod.py": "X = 1\n", "pkg/inner/test_a.py": ""})
    (tmp_path / "link").symlink_to(top)
    root = tmp_path / "link" / "pkg"
    monkeypatch.syspath_prepend(str(root / "inner"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root / "inner"), "/elsewhere"]))
    with worktree(resolve("HEAD", root)) as checkout:
        place = base_place(checkout.root, resolve("HEAD", root), root, None)
        assert (place.root / "inner" / "mod.py").read_text() == "X = 1\n" and place.root.name == "pkg"
        path = place.env["PYTHONPATH"].split(os.pathsep)
        assert path == [str(checkout.root / "pkg" / "inner"), "/elsewhere"] if ":" not in name else path[-1] == "/elsewhere"
        assert not place.root.is_relative_to(top)
    assert worktrees(top) == [str(top)] and list(temporary.iterdir()) == []


@pytest.mark.parametrize("leaks", [False, True])
def test_both_sides_run_their_own_code_in_a_checkout_reached_through_a_link(tmp_path: Path, temporary: Path, leaks: bool) -> None:
    """Where the base imports the user's files all the same, it is seen, whatever path leads there."""
    link = tmp_path / "link"
    paths = (
        f"import sys\nsys.path.insert(0, {str(link / 'code' / 'lib')!r})\n"
        if leaks
        else "import sys\nsys.path.insert(0, 'lib')\n"
    )
    plain = "import own\n\ndef test_a(benchmark):\n    benchmark.pedantic(int, rounds=2)\n"
    files = {"code/conftest.py": paths, "code/test_a.py": plain, "code/lib/own.py": "X = 1\n", "code/pytest.ini": "[pytest]\n"}
    link.symlink_to(repository(tmp_path / "real", files))
    base = resolve("HEAD", link / "code")
    with worktree(base) as checkout:
        sides = Sides(
            base=base_place(checkout.root, base, link / "code", None), head=head_place(link / "code"), foreign=base.toplevel
        )
        (pair,) = run_pair(sides, [Job(node_id="test_a.py::test_a")], 0, np.random.default_rng(0), lambda _: None)
    assert ("imported 1 of the head tree's files" in pair.failure) is leaks and bool(pair.failure) is leaks, pair.failure
    assert list(temporary.iterdir()) == []


def test_lent_data_is_the_users_and_stays(top: Path) -> None:
    (top / "data").mkdir()
    (top / "data" / "weights").write_text("precious")
    base = resolve("HEAD", top)
    with worktree(base) as checkout:
        place = base_place(checkout.root, base, top, None)
        assert lend(["data", "code.py"], top, place) == ["data"]
        assert (place.root / "data" / "weights").read_text() == "precious"
    assert (top / "data" / "weights").read_text() == "precious" and git(top, "status", "--porcelain") == ""


def test_a_linked_worktree_a_bare_repository_and_a_submodule_can_be_the_users_tree(top: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(top), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", str(tmp_path / "beside"), "main")
    git(top, "worktree", "add", "-q", "-b", "topic", str(tmp_path / "linked"))
    above = repository(tmp_path / "above", {"a": "a\n"})
    git(above, "submodule", "--quiet", "add", str(top), "inner")
    git(above / "inner", "sparse-checkout", "set", "nothing")  # files of the root stay; turns extensions.worktreeConfig on
    for tree in (tmp_path / "beside", tmp_path / "linked", above / "inner"):
        before = worktrees(tree)
        with base_of(tree, "HEAD~1") as checkout:
            assert (checkout.root / "code.py").read_text() == "one\n"
            assert git(checkout.root, "status", "--porcelain") == ""
        assert worktrees(tree) == before and git(tree, "status", "--porcelain") == ""


def test_a_bare_repository_may_be_named_by_the_environment(
    top: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, files = tmp_path / "bare.git", tmp_path / "files"
    files.mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(top), str(bare))
    git(files, f"--git-dir={bare}", f"--work-tree={files}", "checkout", "-q", "main")
    (files / "sub").mkdir()
    monkeypatch.setenv("GIT_DIR", str(bare))
    monkeypatch.setenv("GIT_WORK_TREE", str(files))
    monkeypatch.setenv("GIT_INDEX_FILE", str(bare / "index.lock"))
    before = (bare / "index").read_bytes()
    with worktree(resolve("HEAD~1", files / "sub")) as checkout:
        assert (checkout.root / "code.py").read_text() == "one\n"
    assert (bare / "index").read_bytes() == before and not (bare / "worktrees").exists()
    assert list(temporary.iterdir()) == []
    assert resolve("HEAD", top).toplevel == top.resolve(), "a folder with a repository of its own is not meant"


def test_the_users_sparse_checkout_and_line_endings_are_the_bases(top: Path) -> None:
    commit(top, {"in/a.txt": "a\n", "out/b.txt": "b\n"})
    git(top, "config", "core.autocrlf", "true")
    git(top, "sparse-checkout", "set", "in")
    with base_of(top) as checkout:
        assert (checkout.root / "in" / "a.txt").read_bytes() == b"a\r\n"
        assert not (checkout.root / "out").exists()


def test_submodules_are_filled_from_the_clones_own_repositories(top: Path, tmp_path: Path, temporary: Path) -> None:
    deepest = repository(tmp_path / "deepest", {"deep.py": "deep\n"})
    library = repository(tmp_path / "library", {"lib.py": "old\n"})
    git(library, "submodule", "--quiet", "add", str(deepest), "nested")
    first = commit(library, {})
    git(top, "submodule", "--quiet", "add", "--name", "named otherwise", str(library), "vendor/lib")
    git(top, "submodule", "--quiet", "add", str(deepest), "dropped")
    git(top, "submodule", "--quiet", "update", "--init", "--recursive")
    base = commit(top, {})
    commit(library, {"lib.py": "new\n"})
    git(top / "vendor" / "lib", "pull", "-q", "origin", "main")
    git(top, "rm", "-q", "dropped")
    commit(top, {})
    git(library, "update-ref", "-d", "refs/heads/main")  # nothing can come from there
    with base_of(top, base) as checkout:
        assert checkout.notes == ()
        assert (checkout.root / "vendor" / "lib" / "lib.py").read_text() == "old\n"
        assert (checkout.root / "vendor" / "lib" / "nested" / "deep.py").read_text() == "deep\n"
        assert (checkout.root / "dropped" / "deep.py").read_text() == "deep\n"
        assert git(checkout.root / "vendor" / "lib", "rev-parse", "HEAD") == first
        assert git(checkout.root, "status", "--porcelain") == ""
    assert list((top / ".git").rglob("worktrees/*")) == [] and list(temporary.iterdir()) == []
    assert (top / "vendor" / "lib" / "lib.py").read_text() == "new\n"


def test_a_submodule_that_this_clone_does_not_have_is_named_with_what_to_do(top: Path, tmp_path: Path) -> None:
    library = repository(tmp_path / "library", {"lib.py": "old\n"})
    git(top, "submodule", "--quiet", "add", str(library), "lib")
    commit(top, {})
    lost = "1" * 40
    git(top, "update-index", "--cacheinfo", f"160000,{lost},lib")
    git(top, "commit", "-qm", "a commit that nobody has")
    with base_of(top) as checkout:
        (note,) = checkout.notes
        assert "submodule lib is empty" in note and f"git -C lib fetch origin {lost}" in note
    git(tmp_path, "clone", "-q", str(top), "clone")
    with base_of(tmp_path / "clone", "HEAD~1") as checkout:
        assert checkout.notes == (), "the user's own tree has it empty too"
    git(tmp_path / "clone", "rm", "-q", "lib")
    commit(tmp_path / "clone", {})
    with base_of(tmp_path / "clone", "HEAD~1") as checkout:
        assert "submodule update --init" in checkout.notes[0]


def test_files_that_lie_in_git_lfs_alone_are_named(top: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    commit(top, {".gitattributes": "*.bin filter=lfs\n", "a.bin": pointer, "b.bin": pointer})
    with base_of(top) as checkout:
        assert checkout.notes == (), "the user's own files are pointers too"
    (top / "a.bin").write_bytes(b"weights")
    with base_of(top) as checkout:
        (note,) = checkout.notes
        assert note.startswith("1 files of the base are only Git LFS pointers (a.bin)") and "git lfs" in note


def test_what_cannot_be_checked_out_says_why_and_leaves_nothing(
    top: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(top, {".gitattributes": "code.py filter=absent\n"})
    git(top, "config", "filter.absent.smudge", "no-such-program")
    git(top, "config", "filter.absent.required", "true")
    with pytest.raises(ConfigError, match=r"smudge filter absent failed.*filter must work here"), worktree(resolve("HEAD", top)):
        pass
    assert worktrees(top) == [str(top)] and list(temporary.iterdir()) == []
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(ConfigError, match=r"a repository of another owner.*git config --global --add safe.directory"):
        resolve("HEAD", top)
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    monkeypatch.setenv("GIT_DIR", str(top / ".git"))
    with pytest.raises(ConfigError, match=r"GIT_DIR is set without a GIT_WORK_TREE that holds rootdir"):
        resolve("HEAD", temporary)


def test_where_git_cannot_remove_the_tree_only_its_own_entry_goes(top: Path, tmp_path: Path, temporary: Path) -> None:
    git(top, "worktree", "add", "-q", "-b", "topic", str(tmp_path / "topic"))
    with base_of(top) as checkout:
        (checkout.root / "sealed").mkdir()
        (checkout.root / "sealed" / "file").write_text("x")
        (checkout.root / "sealed").chmod(0o500)
        git(top, "worktree", "lock", str(checkout.root))
        top.rename(tmp_path / "moved")
    assert [path.name for path in (tmp_path / "moved" / ".git" / "worktrees").iterdir()][-1:] == ["topic"]
    assert list(temporary.iterdir()) == []
    (tmp_path / "moved").rename(top)


def test_the_next_run_clears_what_a_killed_one_left_and_nothing_else(top: Path, tmp_path: Path, temporary: Path) -> None:
    library = repository(tmp_path / "library", {"lib.py": "old\n"})
    git(top, "submodule", "--quiet", "add", str(library), "lib")
    head = commit(top, {})
    users = temporary / "lmbench-base-of-the-user" / "tree"
    git(top, "worktree", "add", "-q", "-b", "topic", str(users))
    shutil.rmtree(users.parent)
    command = [sys.executable, "-c", HOLD, str(top), head]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living,
    ):
        assert killed.stdout is not None and living.stdout is not None
        (orphan, dead_tree), (worker, tree) = (out.readline().split(maxsplit=1) for out in (killed.stdout, living.stdout))
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert Path(dead_tree.strip()).is_dir() and not gone_now(int(orphan))
        with base_of(top):
            assert not Path(dead_tree.strip()).exists() and gone(int(orphan))
            assert Path(tree.strip(), "lib", "lib.py").is_file() and not gone_now(int(worker))
        os.kill(int(worker), signal.SIGKILL)
        living.communicate("")
    assert worktrees(top) == [str(top), str(users)] and list(temporary.iterdir()) == []
    assert list((top / ".git" / "modules").rglob("worktrees/*")) == []


def test_an_entry_is_cleared_when_the_temporary_folder_went_with_its_container(top: Path, temporary: Path) -> None:
    head = git(top, "rev-parse", "HEAD")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(top), head], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdout is not None
        worker = int(killed.stdout.readline().split()[0])
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    shutil.rmtree(temporary)
    temporary.mkdir()
    assert len(worktrees(top)) == 2
    clear_left_behind(top / ".git")
    assert worktrees(top) == [str(top)] and gone(worker)
    with scratch("base") as other:
        assert (other.parent / MARK).is_file()


def gone_now(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").exists()
