"""A real repository with everything of the user's that a killed run must leave alone, and a picture of it to the byte."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lmbench.base.scratch import MARK

CASES = ("first", "second", "third")
BUDGET = "{min_rounds: 4, max_rounds: 4, max_time_s: 0.3, min_warmup_rounds: 1, max_warmup_s: 0.1}"
HEAD = "models:\n  stub: {model: fake, vocab_size: 32}\nmatrix: {model: stub, backend: fake}\ncases:\n"
PLAIN = "def test_sum(benchmark):\n    benchmark.pedantic(sum, args=(range(SIZE),), rounds=5, iterations=20)\n"
IDENTITY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
USERS = ("HEAD", "ORIG_HEAD", "FETCH_HEAD", "index", "config", "config.worktree", "packed-refs", "info/exclude")


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *IDENTITY, *arguments], cwd=folder, check=True, capture_output=True, encoding="utf-8")
    return done.stdout


def make(folder: Path) -> Path:
    """Two commits, a tag, a stash, a linked worktree, staged, unstaged and untracked changes, settings of its own."""
    folder.mkdir(parents=True)
    cases = "".join(f"  {name}: {{workload: latency, prompt_tokens: 4, output_tokens: 3, budget: {BUDGET}}}\n" for name in CASES)
    (folder / "kill.suite.yaml").write_text(HEAD + cases, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / ".gitignore").write_text("__pycache__/\n.pytest_cache/\n", encoding="utf-8")
    for size in ("100", "200"):
        (folder / "test_plain.py").write_text(PLAIN.replace("SIZE", size), encoding="utf-8")
        if size == "100":
            git(folder, "init", "-q", "-b", "main")
        git(folder, "add", "-A")
        git(folder, "commit", "-qm", f"a sum over {size}")
    git(folder, "tag", "v1", "HEAD~1")
    git(folder, "config", "chaos.kept", "yes")
    (folder / "notes.txt").write_text("put away\n", encoding="utf-8")
    git(folder, "add", "notes.txt")
    git(folder, "stash", "push", "-q", "-m", "put away")
    git(folder, "worktree", "add", "-q", "-b", "beside", str(folder.parent / "beside"))
    (folder / "staged.txt").write_text("staged\n", encoding="utf-8")
    git(folder, "add", "staged.txt")
    (folder / "staged.txt").write_text("staged, then changed\n", encoding="utf-8")
    (folder / "untracked.txt").write_text("untracked\n", encoding="utf-8")
    git(folder, "status")
    return folder


def picture(folder: Path) -> Mapping[str, str]:
    """Digests of what is the user's: git's own files but for its objects, and the files of both trees."""
    store = folder / ".git"
    files = [store / name for name in USERS]
    files += [path for name in ("refs", "logs") for path in (store / name).rglob("*")]
    files += (store / "worktrees" / "beside").rglob("*")
    for tree in (folder, folder.parent / "beside"):
        files += [
            path for path in tree.rglob("*") if not {".git", "__pycache__", ".pytest_cache"} & set(path.relative_to(tree).parts)
        ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """The files that are new, gone or other than they were."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def foreign_worktrees(folder: Path) -> list[str]:
    """Entries on git's list that are not the user's, marked or not."""
    entries = [path for path in (folder / ".git" / "worktrees").glob("*") if path.name != "beside"]
    return [f"{path}{'' if (path / MARK).exists() else ' (without a mark)'}" for path in entries]
