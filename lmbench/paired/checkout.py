"""The base's files: a worktree of the user's repository, put on git's list and taken off it again by its path alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lmbench.base.git import git
from lmbench.base.scratch import Mark, mark, marked_folder, remove
from lmbench.base.signals import waiting_signals
from lmbench.paired.leftovers import ENTRY, FOLDER, PURPOSE, REPOSITORY, clear_left_behind, entry_of, tree_of
from lmbench.paired.submodules import check_out_submodules, head_of

LFS_POINTER = b"version https://git-lfs"
"""How a stand-in begins whose contents Git LFS keeps elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The root of the base's tree. `why` is git's reason when there is none; `notes` is what a reader must know of it."""

    root: Path
    why: str = ""
    notes: tuple[str, ...] = ()


@contextmanager
def checked_out(toplevel: Path, commit: str) -> Iterator[Checkout]:
    """The repository's files at `commit` in a temporary folder, with submodules; gone after the block, also from git's list."""
    common, why = git(toplevel, "rev-parse", "--git-common-dir")
    if common is None:
        yield Checkout(root=toplevel, why=why)
        return
    repository = (toplevel / common).resolve()
    clear_left_behind(repository)
    with marked_folder(PURPOSE, {REPOSITORY: str(repository)}) as folder, _Worktrees(folder.parent) as worktrees:
        # The folder's name is the user's, since modules may be imported by it, but must not end an entry of PYTHONPATH.
        root = folder / toplevel.name.replace(os.pathsep, "_")
        failure = worktrees.add(toplevel, (), root, commit)
        if failure is not None:
            yield Checkout(root=root, why=failure)
            return
        notes = check_out_submodules(root, head_of(toplevel), worktrees.add_submodule)
        yield Checkout(root=root, notes=(*notes, *_pointers(root, toplevel, commit)))


class _Worktrees:
    """Worktrees added in one temporary folder; removed again, the last one first, when it is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._added = ExitStack()
        self._marks = ExitStack()
        self._first: Mark | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with waiting_signals(), self._marks:
            self._added.close()

    def add(self, place: Path, options: tuple[str, ...], tree: Path, commit: str) -> str | None:
        """Add a worktree at `tree` of the repository that git finds in `place`; git's reason when it cannot."""
        self._added.callback(_remove, place, options, tree)
        done, why = git(place, *options, "worktree", "add", "--detach", str(tree), commit, parsed=False)
        entry = entry_of(tree)
        if done is None or entry is None:
            return why or "git made no worktree"
        noted = self._marks.enter_context(mark(entry, {FOLDER: str(self._folder)}))
        if self._first is None:
            self._first = noted
        else:
            self._first.add({f"{ENTRY} {entry}": str(entry)})
        return None

    def add_submodule(self, repository: Path, tree: Path, commit: str) -> str | None:
        """Add a worktree of a submodule's repository. Its own may be gone, and git insists on one."""
        return self.add(tree.parent, (f"--git-dir={repository}", f"--work-tree={tree.parent}"), tree, commit)


def _remove(place: Path, options: tuple[str, ...], tree: Path) -> None:
    """Take the worktree at `tree` off git's list, by hand where git cannot: this entry and no other."""
    entry = entry_of(tree)
    git(place, *options, "worktree", "remove", "--force", "--force", str(tree))
    if entry is not None and tree_of(entry) == tree:
        remove(entry)


def _pointers(root: Path, toplevel: Path, commit: str) -> Iterator[str]:
    """A note when files of the base are stand-ins of Git LFS and the user's own are not."""
    listed, _ = git(root, "ls-files", "-z", "--", ":(attr:filter=lfs)")
    paths = [path for path in (listed or "").split("\0") if path]
    found = [path for path in paths if _is_pointer(root / path) and not _is_pointer(toplevel / path)]
    if found:
        yield (
            f"{len(found)} files of the base are only Git LFS pointers ({found[0]}); their contents are not here; "
            f"run: git lfs install && git lfs fetch --all origin {commit}"
        )


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False
