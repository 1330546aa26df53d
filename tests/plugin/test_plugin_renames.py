"""A case and a plain test that were renamed are judged against what they were called before: stored runs, and the gate's base."""

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
    test = folder / "test_before.py"
    test.write_text("def test_plain(benchmark):\n    benchmark(sum, range(2000))\n")
    (folder / ".gitignore").write_text("reports/\nbaselines/*/\n__pycache__/\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    assert bench("a.suite.yaml", "--benchmark-autosave").ret == pytest.ExitCode.OK
    (folder / "a.suite.yaml").write_text(SUITE.replace("  speed:", "  fast:\n    was: speed"))
    test.rename(folder / "test_after.py")
    (folder / "baselines" / "renames.yaml").write_text("test_before.py: test_after.py\n")
    compared = bench("a.suite.yaml", "--benchmark-compare")
    assert "MISSING" not in compared.stdout.str()
    found = verdicts(folder)
    assert {one["node_id"] for one in found} == {SPEED}
    assert not {one["outcome"] for one in found} & {"new", "missing", "incomparable"}
    assert all("renamed, the stored runs have it as a.suite.yaml::speed[stub-fake-none]" in one["why"] for one in found)
    bench("--lmbench-gate=HEAD", "--lmbench-gate-tolerance=90%", "--lmbench-gate-pair=all")
    paired = [one for one in verdicts(folder) if one["evidence"]]
    assert {one["node_id"] for one in paired} == {SPEED, "test_after.py::test_plain"}
    assert not {one["outcome"] for one in verdicts(folder)} & {"new", "missing", "incomparable"}
    assert any("the base has it as test_before.py::test_plain" in one["why"] for one in paired)


def test_a_fault_in_the_file_of_renames_is_a_usage_error(bench: Bench, pytester: pytest.Pytester) -> None:
    (pytester.path / "baselines").mkdir()
    (pytester.path / "baselines" / "renames.yaml").write_text("a::b: a::b\n")
    result = bench("--collect-only")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*renames.yaml:1: a::b: found the same name twice*"])
