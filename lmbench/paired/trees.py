"""Where the base lies: a worktree of the user's repository at a commit, made for one session and removed after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.errors import ConfigError, Problem
from lmbench.run.isolate import Place

OPTION = "--lmbench-gate"
GIT_TIMEOUT_S = 300.0
CODE = ("*.py", "*.pyx", "*.so", "*.yaml", "*.yml", "*.toml", "*.ini", "*.cfg")
"""Git's patterns of files that can change what a suite or a test measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A commit to compare with, resolved."""

    ref: str
    commit: str
    toplevel: Path
    """Root of the repository in which pytest's rootdir lies."""
    note: str = ""
    """How the commit was found, where that is not obvious."""

    @property
    def label(self) -> str:
        """'origin/main (abc1234567)'."""
        return f"{self.ref} ({self.commit[:10]})"


def resolve(ref: str, root: Path, *, exact: bool = False) -> Base:
    """The commit meant by `ref`: the last one that `ref` and HEAD share, so that others' work on `ref` is not judged.

    With `exact` it is `ref` itself, wherever HEAD left it.

    Raises ConfigError when `root` is in no repository or git does not know the commit.
    """
    top, why = _git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise _problem(ref, f"a rootdir that git does not know ({why})", "a git repository, or --lmbench-gate-base-python alone")
    commit, why = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        hint = "Fetch it first (git fetch origin NAME; in CI check out with the full history, fetch-depth: 0)."
        raise _problem(ref, "a name that git does not know here", "a branch, tag or commit", hint)
    if exact:
        return Base(ref=ref, commit=commit, toplevel=Path(top))
    shared, _ = _git(root, "merge-base", commit, "HEAD")
    if shared is None:
        note = f"{ref} and HEAD share no commit in this clone (is it shallow?): the tip of {ref} is the base"
        return Base(ref=ref, commit=commit, toplevel=Path(top), note=note)
    note = "" if shared == commit else f"the base is {shared[:10]}, where HEAD left {ref}"
    return Base(ref=ref, commit=shared, toplevel=Path(top), note=note)


def head_commit(root: Path) -> str:
    """HEAD's commit; 'unknown' outside of git."""
    return _git(root, "rev-parse", "HEAD")[0] or "unknown"


def head_label(root: Path) -> str:
    """'1234567890' or '1234567890 with uncommitted changes'; 'this tree' outside of git."""
    commit, _ = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return "this tree"
    changes, _ = _git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit[:10]} with uncommitted changes" if changes else commit[:10]


def same_code(base: Base, root: Path) -> bool:
    """Whether `root` is at the base's commit without a change: then there is nothing to compare.

    Changes of tracked files count, and untracked files that can change what is measured (CODE); other untracked
    files, such as reports, environments and models, do not.
    """
    if head_commit(root) != base.commit:
        return False
    tracked, why = _git(base.toplevel, "status", "--porcelain", "--untracked-files=no")
    if tracked or why:
        return False
    untracked, why = _git(base.toplevel, "ls-files", "-z", "--others", "--exclude-standard", "--", *CODE)
    return not why and not any(_is_code(base.toplevel / name) for name in (untracked or "").split("\0") if name)


def _is_code(path: Path) -> bool:
    """Not part of a virtual environment, which often lies untracked inside the tree."""
    return not any((parent / "pyvenv.cfg").exists() for parent in path.parents)


@contextmanager
def worktree(base: Base) -> Iterator[Path]:
    """The repository's root at the base's commit, in a temporary folder that is gone afterwards, also from git's list."""
    folder = Path(tempfile.mkdtemp(prefix="lmbench-base-"))
    tree = folder / base.toplevel.name
    try:
        _, why = _git(base.toplevel, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(tree), base.commit)
        if not tree.is_dir():
            found = f"that git cannot check out {base.commit[:10]} beside this tree ({why})"
            raise _problem(base.ref, found, "a commit it can check out")
        yield tree
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _git(base.toplevel, "worktree", "prune")


def base_place(tree: Path, base: Base, root: Path, python: str | None) -> Place:
    """The base side: rootdir at the same place of the other tree; folders of this tree on sys.path are mapped to it."""
    inside = root.resolve().relative_to(base.toplevel.resolve())
    folders = [tree / found for entry in sys.path if (found := _inside(entry, base.toplevel)) is not None]
    return Place(name="base", root=tree / inside, python=python or sys.executable, env=_python_path(folders))


def head_place(root: Path) -> Place:
    """The head side: this tree, this Python."""
    return Place(name="head", root=root)


def lend(paths: list[str], root: Path, base: Place) -> list[str]:
    """Let the base see files that git does not keep: link those of `paths` (relative to `root`) that it lacks; returns them.

    Data and weights are usually not in git; both sides then read the same ones.
    """
    lent = []
    for path in paths:
        here, there = root / path, base.root / path
        if here.exists() and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(here.resolve())
            lent.append(path)
    return lent


def _inside(entry: str, toplevel: Path) -> Path | None:
    """`entry` of sys.path relative to the tree; None for installed packages and for folders elsewhere."""
    if not entry:
        return None
    path = Path(entry).resolve()
    if path.is_relative_to(Path(sys.prefix).resolve()) or not path.is_relative_to(toplevel.resolve()) or not path.is_dir():
        return None
    return path.relative_to(toplevel.resolve())


def _python_path(folders: list[Path]) -> dict[str, str]:
    entries = [*(str(folder) for folder in dict.fromkeys(folders)), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}


def _git(folder: Path, *arguments: str) -> tuple[str | None, str]:
    """What git answers, or None and why."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    if done.returncode == 0:
        return done.stdout.strip(), ""
    said = done.stderr.strip().splitlines()
    return None, said[-1] if said else "git gave no reason"


def _problem(ref: str, found: str, expected: str, hint: str = "") -> ConfigError:
    return ConfigError(
        [Problem(file="command line", line=None, key=f"{OPTION}={ref}", found=found, expected=expected, hint=hint)]
    )
