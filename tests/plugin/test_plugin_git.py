"""The gate at the user's door: in hooks of git, ended by signals, killed; the user's commits, index and worktrees stay right."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.base.repositories import commit, git, repository, worktrees
from tests.plugin.conftest import QUIET

Bench = Callable[..., pytest.RunResult]
ENGINE = "def work(count):\n    return sum(range(count))\n"
PLAIN = """
from engine import work

def test_plain(benchmark):
    benchmark.pedantic(work, args=(100,), rounds=3, iterations=2)
"""
STOPS = """
import os, signal
from pathlib import Path

def test_plain(benchmark):
    benchmark.pedantic(int, rounds=3, iterations=2)
    place = "base" if "lmbench-base-" in os.getcwd() else "head"
    if os.environ["STOPS_IN"] == place:
        Path(os.environ["STATE"]).write_text(f"{os.getpid()} {os.getcwd()} {signal.getsignal(signal.SIGTERM)}")
        signal.pause()
"""
IGNORED = "reports/\nbaselines/\n.benchmarks/\n__pycache__/\nlog\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the sessions under test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def started(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", *QUIET, *arguments]
    environment = {**os.environ, **(env or {})}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reached(state: Path, process: subprocess.Popen[str]) -> list[str]:
    """What a benchmark wrote once it stood still: its process, its folder, its handler of SIGTERM."""
    while not state.exists() or not state.read_text():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            assert process.stdout is not None
            pytest.fail(f"the session ended before it came there:\n{process.stdout.read()}")
    words = state.read_text().split(" ", 2)
    state.unlink()
    return words


def runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def snapshot(folder: Path) -> dict[str, str]:
    """All that a commit may have changed."""
    shown = {
        name: git(folder, *name.split())
        for name in ("ls-files --stage", "diff --cached", "diff", "status --porcelain", "stash list")
    }
    return {**shown, "tree": git(folder, "rev-parse", "HEAD^{tree}"), "parent": git(folder, "rev-parse", "HEAD^^{tree}")}


HOOK = """#!/bin/sh
env | grep '^GIT_' >> log
{python} -m pytest {quiet} -q . --lmbench-gate=HEAD~1 --lmbench-gate-budget=1s >> log 2>&1
exit 0
"""


def test_a_hook_leaves_every_kind_of_commit_as_it_would_be_without_it(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    files = {"engine.py": ENGINE, "test_plain.py": PLAIN, ".gitignore": IGNORED, "a.txt": "1\n", "b.txt": "1\n"}
    seen: dict[str, list[dict[str, str]]] = {}
    for name in ("without", "hooked"):
        top = repository(tmp_path / name, files)
        commit(top, {"a.txt": "2\n"})
        git(top, "worktree", "add", "-q", "-b", "topic", str(tmp_path / f"{name}-linked"))
        if name == "hooked":
            hook = top / ".git" / "hooks" / "pre-commit"
            hook.write_text(HOOK.format(python=sys.executable, quiet=" ".join(QUIET)))
            hook.chmod(0o755)
        found = seen.setdefault(name, [])
        for tree, arguments in (
            (top, ("-a",)),
            (top, ("a.txt",)),
            (top, ()),
            (tmp_path / f"{name}-linked", ("-a",)),
        ):
            (tree / "a.txt").write_text(f"{len(found)} a\n")
            (tree / "b.txt").write_text(f"{len(found)} b\n")
            if arguments != ("-a",):
                git(tree, "add", "b.txt")
            git(tree, "commit", "-q", "-m", "hooked", *arguments)
            found.append(snapshot(tree))
            git(tree, "checkout", "-q", "--force", "HEAD")
        assert worktrees(top) == [str(top), str(tmp_path / f"{name}-linked")]
    assert seen["hooked"] == seen["without"]
    for tree, sessions in ((tmp_path / "hooked", 3), (tmp_path / "hooked-linked", 1)):
        log = (tree / "log").read_text()
        assert log.count("gate against HEAD~1") == sessions == log.count("GIT_INDEX_FILE="), log
    assert "GIT_DIR=" in log
    assert list(temporary.iterdir()) == []


@pytest.fixture
def stopping(bench: Bench, pytester: pytest.Pytester, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a suite and of a plain test that stands still where the environment says."""
    del bench, temporary
    monkeypatch.setenv("STATE", str(tmp_path / "state"))
    files = {"test_plain.py": STOPS, ".gitignore": IGNORED}
    return repository(pytester.path, files)


def verdicts(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "reports" / "verdicts.json").read_text())
    return data


def test_a_killed_gate_is_cleared_by_the_next_which_ends_in_order_when_it_is_terminated(
    stopping: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOPS_IN", "base")
    commit(stopping, {"other.py": "X = 1\n"})
    gate = ("--lmbench-gate=HEAD~1", "--lmbench-gate-pair=all", "--benchmark-autosave", "test_plain.py")
    with started(stopping, *gate) as killed:
        orphan, old_tree, _ = reached(tmp_path / "state", killed)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert runs(orphan) and Path(old_tree).is_dir() and len(worktrees(stopping)) == 2
    with started(stopping, *gate, "a.suite.yaml") as ended:
        worker, tree, _ = reached(tmp_path / "state", ended)
        assert not runs(orphan) and not Path(old_tree).exists() and len(worktrees(stopping)) == 2
        ended.send_signal(signal.SIGTERM)
        ended.send_signal(signal.SIGTERM)
        output, _ = ended.communicate()
    assert ended.returncode == 143, output
    assert "ended by SIGTERM" in output
    assert not runs(worker) and not Path(tree).exists() and worktrees(stopping) == [str(stopping)]
    assert list(temporary.iterdir()) == []
    outcome = verdicts(stopping)
    assert outcome["cases"]["test_plain.py::test_plain"] == "inconclusive" and outcome["gate"]["exit_status"] == 143
    *_, journal = sorted((stopping / "reports" / "journal").glob("*.jsonl"))
    kinds = [json.loads(line)["kind"] for line in journal.read_text().splitlines()]
    assert kinds[0] == "run" and "record" in kinds and kinds[-1] == "end"
    (stored,) = stopping.glob("baselines/*/Linux*/*.json")
    assert json.loads(stored.read_text())["lmbench"]["run"]["complete"] is False


def test_suites_in_a_hook_of_another_repository_end_in_order_when_the_terminal_is_closed(
    stopping: Path, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored names the commit of the tests, wherever pytest runs and whatever the environment says."""
    monkeypatch.setenv("STOPS_IN", "head")
    other = repository(tmp_path / "other", {"x": "x\n"})
    index, out = (other / ".git" / "index").read_bytes(), tmp_path / "out.json"
    where = (f"--rootdir={stopping}", "-c", str(stopping / "pyproject.toml"))
    files = (str(stopping / "a.suite.yaml"), str(stopping / "test_plain.py"))
    hook = {"GIT_DIR": str(other / ".git"), "GIT_INDEX_FILE": str(other / ".git" / "index")}
    with started(other, *where, *files, f"--benchmark-json={out}", "--benchmark-autosave", env=hook) as ended:
        reached(tmp_path / "state", ended)
        ended.send_signal(signal.SIGHUP)
        output, _ = ended.communicate()
    assert ended.returncode == 129, output
    assert "ended by SIGHUP" in output and list(temporary.iterdir()) == []
    stored, head = json.loads(out.read_text()), git(stopping, "rev-parse", "HEAD")
    assert stored["commit_info"]["id"] == head and stored["commit_info"]["dirty"] is False
    assert stored["lmbench"]["environment"]["git"] == {"commit": head, "dirty": False}
    assert stored["lmbench"]["run"]["complete"] is False
    assert (other / ".git" / "index").read_bytes() == index
    (saved,) = [*stopping.rglob("0001_*.json"), *other.rglob("0001_*.json")]
    assert head in saved.name and "uncommitted" not in saved.name
    with started(stopping, "test_plain.py") as foreign:
        *_, handler = reached(tmp_path / "state", foreign)
        foreign.send_signal(signal.SIGTERM)
        foreign.communicate()
    assert "Endings" not in handler
    assert foreign.returncode == -signal.SIGTERM, "a session without anything of ours is left alone"


def test_a_base_without_its_submodule_says_so(pytester: pytest.Pytester, tmp_path: Path, temporary: Path) -> None:
    library = repository(tmp_path / "library", {"engine.py": ENGINE})
    top = repository(
        pytester.path, {".gitignore": IGNORED, "conftest.py": "import sys\nsys.path.insert(0, 'lib')\n", "test_plain.py": PLAIN}
    )
    git(top, "submodule", "--quiet", "add", str(library), "lib")
    commit(top, {})
    present = git(top, "rev-parse", ":lib")
    for recorded in ("1" * 40, present):
        git(top, "update-index", "--cacheinfo", f"160000,{recorded},lib")
        git(top, "commit", "-qm", "another commit of the submodule")
    with started(top, "--lmbench-gate=HEAD~1") as session:
        output, _ = session.communicate()
    (one,) = verdicts(top)["verdicts"]
    assert one["outcome"] == "incomparable" and "submodule lib is empty" in one["why"], output
    assert "git -C lib fetch origin 1111" in " ".join(output.split())
    assert list(temporary.iterdir()) == []
