"""Submodules of the base: checked out at the commits it records, from the repositories that this clone already has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.git import git

GITLINK = "160000"
"""The mode under which git records a submodule's commit."""

Add = Callable[[Path, Path, str], str | None]
"""Adds a worktree of a repository (its git folder) at a place and a commit; returns why it could not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where the submodules of one tree may be found: the user's checkout of the same tree, and its git folders."""

    root: Path
    git_folders: tuple[Path, ...]


def head_of(root: Path) -> Head:
    """The user's tree. A linked worktree keeps its submodules apart from those of the repository it belongs to."""
    said = [git(root, "rev-parse", option)[0] for option in ("--absolute-git-dir", "--git-common-dir")]
    return Head(root=root, git_folders=tuple(dict.fromkeys((root / text).resolve() for text in said if text)))


def check_out_submodules(tree: Path, head: Head, add: Add) -> list[str]:
    """Fill the empty folders of the submodules in `tree`, and of theirs; returns what could not be done and how to mend it."""
    notes: list[str] = []
    names = _names(tree)
    for path, commit in _recorded(tree):
        there, here = tree / path, head.root / path
        if not there.is_dir():  # left out by a sparse checkout
            continue
        known = list(_repositories(here, names.get(path, path), head.git_folders))
        repository = next((one for one in known if _has(one, commit)), None)
        if repository is None:
            if known or not here.is_dir():
                notes.append(_lack(path, commit, known=known))
            continue  # else the user's own tree has it empty too
        why = add(repository, there, commit)
        if why is None:
            notes += check_out_submodules(there, Head(root=here, git_folders=(repository,)), add)
        else:
            notes.append(f"the base's submodule {path} cannot be checked out at {commit[:10]}, so its folder is empty ({why})")
    return notes


def _lack(path: str, commit: str, *, known: Sequence[Path]) -> str:
    found = f"the base's submodule {path} is empty: its commit {commit[:10]} is not in this clone"
    if known:
        return f"{found}; run: git -C {path} fetch origin {commit}"
    return f"{found}; check the base out once and run: git submodule update --init --recursive"


def _recorded(tree: Path) -> Iterator[tuple[str, str]]:
    """Path and commit of each submodule."""
    listed, _ = git(tree, "ls-files", "--stage", "-z")
    for line in (listed or "").split("\0"):
        fields, _, path = line.partition("\t")
        mode, _, rest = fields.partition(" ")
        if mode == GITLINK:
            yield path, rest.partition(" ")[0]


def _names(tree: Path) -> dict[str, str]:
    """Names by path; a submodule that was moved keeps its name, and the name is where its repository lies."""
    listed, _ = git(tree, "config", "-z", "--file", str(tree / ".gitmodules"), "--get-regexp", r"^submodule\..*\.path$")
    found = {}
    for line in (listed or "").split("\0"):
        key, _, path = line.partition("\n")
        found[path] = key.removeprefix("submodule.").removesuffix(".path")
    return found


def _repositories(here: Path, name: str, git_folders: Sequence[Path]) -> Iterator[Path]:
    """Git folders of a submodule in this clone: the one of the user's checkout first."""
    if (here / ".git").exists():
        own, _ = git(here, "rev-parse", "--absolute-git-dir")
        if own is not None:
            yield Path(own)
    for folder in git_folders:
        kept = Path(os.path.normpath(folder / "modules" / name))
        if kept.is_relative_to(folder / "modules") and (kept / "HEAD").exists():
            yield kept


def _has(repository: Path, commit: str) -> bool:
    there = (f"--git-dir={repository}", f"--work-tree={repository}")  # git insists on a work tree, and its own may be gone
    return git(repository, *there, "cat-file", "-e", f"{commit}^{{commit}}")[0] is not None
