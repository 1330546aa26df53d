"""Where the base lies: a worktree of the user's repository at a commit, made for one session and removed after it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.errors import ConfigError, Problem
from lmbench.base.git import git, untrusted
from lmbench.paired.checkout import Checkout, checked_out
from lmbench.run.isolate import Place

OPTION = "--lmbench-gate"
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
    top, why = git(root, "rev-parse", "--show-toplevel")
    if top is None:
        raise _unknown(ref, why)
    commit, why = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if commit is None:
        hint = "Fetch it first (git fetch origin NAME; in CI check out with the full history, fetch-depth: 0)."
        raise _problem(ref, "a name that git does not know here", "a branch, tag or commit", hint)
    if exact:
        return Base(ref=ref, commit=commit, toplevel=Path(top))
    shared, _ = git(root, "merge-base", commit, "HEAD")
    if shared is None:
        note = f"{ref} and HEAD share no commit in this clone (is it shallow?): the tip of {ref} is the base"
        return Base(ref=ref, commit=commit, toplevel=Path(top), note=note)
    note = "" if shared == commit else f"the base is {shared[:10]}, where HEAD left {ref}"
    return Base(ref=ref, commit=shared, toplevel=Path(top), note=note)


def head_commit(root: Path) -> str:
    """HEAD's commit; 'unknown' outside of git."""
    return git(root, "rev-parse", "HEAD")[0] or "unknown"


def head_label(root: Path) -> str:
    """'1234567890' or '1234567890 with uncommitted changes'; 'this tree' outside of git."""
    commit, _ = git(root, "rev-parse", "HEAD")
    if commit is None:
        return "this tree"
    changes, _ = git(root, "status", "--porcelain", "--untracked-files=no")
    return f"{commit[:10]} with uncommitted changes" if changes else commit[:10]


def same_code(base: Base, root: Path) -> bool:
    """Whether `root` is at the base's commit without a change: then there is nothing to compare.

    Changes of tracked files count, and untracked files that can change what is measured (CODE); other untracked
    files, such as reports, environments and models, do not.
    """
    if head_commit(root) != base.commit:
        return False
    tracked, why = git(base.toplevel, "status", "--porcelain", "--untracked-files=no")
    if tracked or why:
        return False
    untracked, why = git(base.toplevel, "ls-files", "-z", "--others", "--exclude-standard", "--", *CODE)
    return not why and not any(_is_code(base.toplevel / name) for name in (untracked or "").split("\0") if name)


def _is_code(path: Path) -> bool:
    """Not part of a virtual environment, which often lies untracked inside the tree."""
    return not any((parent / "pyvenv.cfg").exists() for parent in path.parents)


@contextmanager
def worktree(base: Base) -> Iterator[Checkout]:
    """The repository's files at the base's commit, for as long as the block lasts."""
    with checked_out(base.toplevel, base.commit) as checkout:
        if checkout.why:
            found = f"that git cannot check out {base.commit[:10]} beside this tree ({checkout.why})"
            raise _problem(base.ref, found, "a commit it can check out", _how_to_mend(checkout.why))
        yield checkout


def base_place(tree: Path, base: Base, root: Path, python: str | None) -> Place:
    """The base side: rootdir at the same place of the other tree; folders of this tree on sys.path are mapped to it."""
    inside = root.resolve().relative_to(base.toplevel.resolve())
    folders = [tree / found for entry in sys.path if (found := _inside(entry, base.toplevel)) is not None]
    return Place(name="base", root=tree / inside, python=python or sys.executable, env=_python_path(folders, base.toplevel))


def head_place(root: Path) -> Place:
    """The head side: this tree, this Python. A process started there sees the folder itself, not a link that leads to it."""
    return Place(name="head", root=root.resolve())


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


def _python_path(folders: list[Path], toplevel: Path) -> dict[str, str]:
    """`folders`, and what PYTHONPATH has beyond this tree."""
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    elsewhere = [entry for entry in given if _inside(entry, toplevel) is None]
    entries = [*(str(folder) for folder in dict.fromkeys(folders)), *elsewhere]
    return {"PYTHONPATH": os.pathsep.join(entries)} if entries or given else {}


def _how_to_mend(why: str) -> str:
    if "promisor" in why or "lazy" in why or "not allowed" in why:
        return "This clone is partial and lmbench fetches nothing. Complete it: git fetch --refetch --no-filter origin"
    if "filter" in why:
        return "The repository's filter must work here, as for a checkout of your own (for Git LFS: git lfs install)"
    return ""


def _unknown(ref: str, why: str) -> ConfigError:
    """The rootdir lies in no repository, or in none that git reads."""
    if untrusted(why):
        found = f"a repository of another owner, which git does not read ({why})"
        trust = "git config --global --add safe.directory followed by its path"
        return _problem(ref, found, "a repository of yours, or one that git trusts", f"Run: {trust}")
    found, expected = f"a rootdir that git does not know ({why})", "a git repository, or --lmbench-gate-base-python alone"
    by_variable = "GIT_DIR is set without a GIT_WORK_TREE that holds rootdir; a file .git there can name it: gitdir: PATH"
    return _problem(ref, found, expected, by_variable if "GIT_DIR" in os.environ else "")


def _problem(ref: str, found: str, expected: str, hint: str = "") -> ConfigError:
    return ConfigError(
        [Problem(file="command line", line=None, key=f"{OPTION}={ref}", found=found, expected=expected, hint=hint)]
    )
