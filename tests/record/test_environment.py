"""The fingerprint: complete, plain, stable from one moment to the next, and comparable in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.record.environment import collect, differences

FACTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


def test_the_environment_is_plain_json_and_stable() -> None:
    first, second = collect(), collect()
    assert first.digest == second.digest
    assert differences(first.facts, second.facts) == []
    assert json.loads(json.dumps(first.to_json(), allow_nan=False))["digest"] == first.digest
    assert first.facts["packages"]["lmbench"] is not None
    assert first.facts["cpu"]["usable"] > 0
    assert "gpus" in first.reasons or first.facts["gpus"]


def test_thread_settings_are_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = collect()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("SECRET_TOKEN", "not to be kept")
    after = collect()
    assert differences(before.facts, after.facts) == [
        "threads.budget: 1 -> 7",
        "threads.source: OMP_NUM_THREADS=1 -> OMP_NUM_THREADS=7",
        "variables.OMP_NUM_THREADS: 1 -> 7",
    ]
    assert before.digest != after.digest
    assert "not to be kept" not in json.dumps(after.to_json())


def test_collecting_imports_no_engine() -> None:
    script = "import sys; from lmbench.record.environment import collect; collect(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_folder_outside_git_is_a_reason(tmp_path: Path) -> None:
    found = collect(tmp_path)
    assert found.facts["git"] == {"commit": None, "dirty": None}
    assert found.reasons["git.commit"]


def test_a_commit_and_its_dirtiness_are_told(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "--no-verify", "-m", "one")
    clean = collect(tmp_path).facts["git"]
    assert clean == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").write_text("2")
    assert collect(tmp_path).facts["git"]["dirty"] is True


def test_git_that_is_missing_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git cannot be run" in collect().reasons["git.commit"]


@given(FACTS)
def test_nothing_differs_from_itself(facts: dict[str, object]) -> None:
    assert differences(facts, facts) == []


def test_differences_read_as_sentences() -> None:
    before = {"packages": {"torch": "2.12.0", "onnx": None}, "cpu": {"affinity": [0, 1]}}
    after = {"packages": {"torch": "2.13.0", "onnx": "1.23"}, "cpu": {"affinity": [0]}, "new": True}
    assert differences(before, after) == [
        "cpu.affinity: [0, 1] -> [0]",
        "new: unknown -> True",
        "packages.onnx: unknown -> 1.23",
        "packages.torch: 2.12.0 -> 2.13.0",
    ]
