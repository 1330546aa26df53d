"""Real git repositories for tests, made and read by plain git, not by the code under test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

IDENTITY = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgSign=false")


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What git prints in `folder`; the caller's own git variables are not passed on."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *IDENTITY, "-c", "protocol.file.allow=always", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**clean, **(env or {})})
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def repository(folder: Path, files: Mapping[str, str]) -> Path:
    """A new repository of one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.name", "nobody")
    git(folder, "config", "user.email", "nobody@example.org")
    commit(folder, files)
    return folder


def commit(folder: Path, files: Mapping[str, str]) -> str:
    """Write and commit `files`; returns the commit."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "a commit")
    return git(folder, "rev-parse", "HEAD")


def worktrees(folder: Path) -> list[str]:
    """The paths on git's list."""
    return [
        line.removeprefix("worktree ")
        for line in git(folder, "worktree", "list", "--porcelain").splitlines()
        if line.startswith("worktree ")
    ]
