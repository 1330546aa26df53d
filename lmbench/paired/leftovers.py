"""What a killed gate left behind: worktrees on git's list, their folders, workers that still run. Only what bears its mark."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from lmbench.base.scratch import MARK, Owner, abandoned, clear_abandoned, facts_of, remove, temporary
from lmbench.run.isolate import kill_workers_of

PURPOSE = "base"
FOLDER, REPOSITORY, ENTRY = "folder", "repository", "entry"
"""Facts of the marks. An entry's mark has the gate's folder and the entries of submodules; a folder's has its repository."""


def clear_left_behind(repository: Path | None = None) -> None:
    """Remove what gates of `repository` (its git folder), and any below the temporary folder, left there when killed.

    A gate whose process lives, and whatever bears no mark of a gate, stays.
    """
    for path in sorted(repository.glob(f"worktrees/*/{MARK}")) if repository is not None else ():
        with abandoned(path) as found:
            if found is not None and FOLDER in found.facts:
                folder = Path(found.facts[FOLDER])
                _clear_entries(found.owner, folder, path.parents[2])
                with abandoned(folder / MARK) as its_own:
                    if its_own is not None and its_own.owner == found.owner:
                        remove(folder)
    for path in temporary(f"{PURPOSE}-*/{MARK}"):
        with abandoned(path) as found:
            if found is not None and REPOSITORY in found.facts:
                _clear_entries(found.owner, path.parent, Path(found.facts[REPOSITORY]))
                remove(path.parent)
    clear_abandoned()


def tree_of(entry: Path) -> Path | None:
    """Where the worktree of an entry of git's list lies, or lay."""
    try:
        written = os.fsdecode((entry / "gitdir").read_bytes()).removesuffix("\n")
    except OSError:
        return None
    return (entry / written).resolve().parent


def entry_of(tree: Path) -> Path | None:
    """The entry of the worktree at `tree`; None when there is none, or it is of another tree."""
    try:
        written = os.fsdecode((tree / ".git").read_bytes()).removesuffix("\n")
    except OSError:
        return None
    entry = (tree / written.removeprefix("gitdir: ")).resolve()
    return entry if tree_of(entry) == tree else None


def _clear_entries(owner: Owner, folder: Path, repository: Path) -> None:
    """End the workers of a dead gate, and take the worktrees that lie, or lay, in its folder off git's lists."""
    kill_workers_of(owner)
    for entry in _within(folder, repository.glob("worktrees/*")):
        noted = facts_of(entry / MARK)
        for inner in _within(folder, [Path(path) for name, path in noted.items() if name.startswith(ENTRY)]):
            remove(inner)
        remove(entry)


def _within(folder: Path, entries: Iterable[Path]) -> list[Path]:
    """Those of `entries` whose trees are in `folder`."""
    return [entry for entry in entries if (tree := tree_of(entry)) is not None and tree.is_relative_to(folder)]
