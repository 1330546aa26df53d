"""A case that was renamed is judged against what it was called before: stored runs, and the gate's base."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.plugin.conftest import SUITE

Bench = Callable[..., pytest.RunResult]
SPEED = "a.suite.yaml::fast[stub-fake-none]"


def verdicts(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "reports" / "verdicts.json").read_text())["verdicts"]
    return found


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_renamed_cases_keep_their_stored_runs_and_their_base(bench: Bench, pytester: pytest.Pytester) -> None:
    folder = pytester.path
    (folder / ".gitignore").write_text("reports/\nbaselines/*/\n__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    assert bench("a.suite.yaml", "--benchmark-autosave").ret == pytest.ExitCode.OK
    (folder / "a.suite.yaml").write_text(SUITE.replace("  speed:", "  fast:\n    was: speed"))
    compared = bench("a.suite.yaml", "--benchmark-compare")
    assert "MISSING" not in compared.stdout.str()
    found = verdicts(folder)
    assert {one["node_id"] for one in found} == {SPEED}
    assert not {one["outcome"] for one in found} & {"new", "missing", "incomparable"}
    assert all("renamed, the stored runs have it as a.suite.yaml::speed[stub-fake-none]" in one["why"] for one in found)
    bench("a.suite.yaml", "--lmbench-gate=HEAD", "--lmbench-gate-budget=1s")
    gated = {one["metric"]: one for one in verdicts(folder) if not one["evidence"]}
    assert not {one["outcome"] for one in gated.values()} & {"new", "missing", "incomparable"}
    assert gated["perplexity"]["outcome"] == "ok", "the base's own run of the case, under its former name"


def test_a_fault_in_the_file_of_renames_is_a_usage_error(bench: Bench, pytester: pytest.Pytester) -> None:
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "renames.yaml").write_text("a::b: a::b\n")
    result = bench("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*renames.yaml:1: a::b: found the same name twice*"])
