"""Our git in a hook's environment, in somebody's strange configuration, without a network: right answers, and nothing changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from lmbench.base.git import LOCAL_VARIABLES, git, no_git_variables, untrusted, without_git
from tests.base.repositories import commit, repository
from tests.base.repositories import git as plain


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return repository(tmp_path / "here", {"a.txt": "one\n"})


def in_a_hook(monkeypatch: pytest.MonkeyPatch, other: Path) -> None:
    """The environment of a hook of another repository; a server's quarantine and settings of `git -c` too."""
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index.lock"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git" / "objects"))
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(other / ".git" / "objects"))
    monkeypatch.setenv("GIT_NAMESPACE", "elsewhere")
    monkeypatch.setenv("GIT_PREFIX", "sub/")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.worktree'='/nowhere' 'core.autocrlf'='true'")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    monkeypatch.setenv("GIT_CONFIG_KEY_1", "safe.directory")
    monkeypatch.setenv("GIT_CONFIG_VALUE_1", "*")


def test_the_list_holds_every_variable_that_this_git_calls_local() -> None:
    own = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True).stdout.split()
    assert set(own) - LOCAL_VARIABLES == set()


def test_the_repository_is_the_folders_whatever_a_hook_says(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository(tmp_path / "other", {"b.txt": "two\n"})
    before = (other / ".git" / "index").read_bytes()
    head = plain(here, "rev-parse", "HEAD")
    in_a_hook(monkeypatch, other)
    assert git(here, "rev-parse", "--show-toplevel") == (str(here.resolve()), "")
    assert git(here, "rev-parse", "HEAD") == (head, "")
    assert git(here, "worktree", "add", "--detach", str(tmp_path / "tree"), head)[1] == ""
    assert (tmp_path / "tree" / "a.txt").read_bytes() == b"one\r\n", "line endings that the environment asks for stay"
    assert (other / ".git" / "index").read_bytes() == before and not (other / ".git" / "index.lock").exists()
    assert not (other / ".git" / "worktrees").exists()


def test_a_process_of_ours_keeps_who_is_trusted_and_nothing_of_the_commit_in_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_a_hook(monkeypatch, tmp_path)
    clean = without_git(os.environ)
    settings = {
        clean[f"GIT_CONFIG_KEY_{index}"]: clean[f"GIT_CONFIG_VALUE_{index}"] for index in range(int(clean["GIT_CONFIG_COUNT"]))
    }
    assert settings == {"safe.directory": "*", "core.autocrlf": "true"}
    assert {name for name in clean if name in LOCAL_VARIABLES} == {"GIT_CONFIG_COUNT"}
    before = dict(os.environ)
    with no_git_variables():
        assert "GIT_INDEX_FILE" not in os.environ
    assert dict(os.environ) == before


def test_no_program_of_the_configuration_runs_and_the_index_stays_as_it_was(here: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\n")
    trap.chmod(trap.stat().st_mode | stat.S_IXUSR)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "post-index-change", "reference-transaction"):
        (hooks / name).symlink_to(trap)
    for key, value in {"core.hooksPath": hooks, "core.fsmonitor": trap, "core.pager": trap, "core.editor": trap}.items():
        plain(here, "config", key, str(value))
    (here / "a.txt").touch()
    os.utime(here / "a.txt", (1, 1))
    index = here / ".git" / "index"
    before = (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino)
    (tmp_path / "sprung").unlink(missing_ok=True)
    assert git(here, "status", "--porcelain") == ("", "")
    assert git(here, "worktree", "add", "--detach", str(tmp_path / "tree"), "HEAD")[1] == ""
    assert (index.read_bytes(), index.stat().st_mtime_ns, index.stat().st_ino) == before
    assert not (tmp_path / "sprung").exists()


def test_the_users_filters_run_in_the_users_locale(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    plain(here, "config", "filter.locale.smudge", 'cat; echo "$LC_ALL"')
    commit(here, {".gitattributes": "a.txt filter=locale\n"})
    assert git(here, "worktree", "add", "--detach", str(tmp_path / "tree"), "HEAD", parsed=False)[1] == ""
    assert (tmp_path / "tree" / "a.txt").read_text() == "one\nC.UTF-8\n"


def test_nothing_is_fetched_for_a_partial_clone(here: Path, tmp_path: Path) -> None:
    first = plain(here, "rev-parse", "HEAD")
    commit(here, {"a.txt": "two\n"})
    plain(here, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "clone"
    plain(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{here}", str(clone))
    found, why = git(clone, "worktree", "add", "--detach", str(tmp_path / "tree"), first)
    assert found is None and "promisor remote" in why
    assert git(clone, "rev-parse", "HEAD")[0] == plain(here, "rev-parse", "HEAD")


def test_a_repository_of_another_owner_is_recognised(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found, why = git(here, "rev-parse", "HEAD")
    assert found is None and untrusted(why) and str(here) in why


def test_what_git_says_when_it_fails_or_is_absent(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git(here, "rev-parse", "--verify", "--quiet", "nothing") == (None, "git ended with exit status 1")
    assert "not a git repository" in git(tmp_path, "rev-parse", "HEAD")[1]
    slow = tmp_path / "git"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git(here, "status", timeout_s=0.2) == (None, "git status took more than 0.2 s")
    slow.unlink()
    assert git(here, "status") == (None, "git cannot be run: No such file or directory")
