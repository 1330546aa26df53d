"""A small repository on the fake model, and real commands run in it as a user's shell runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  speed:
    workload: latency
    prompt_tokens: 4
    output_tokens: 3
    budget: {min_rounds: 2, max_rounds: 2, max_time_s: 0.1, min_warmup_rounds: 1, max_warmup_s: 0.1}
gate: {ttft_p50_s: 900%, tpot_p50_s: 900%, latency_p50_s: 900%, output_tokens_per_s: 900%}
"""
PLAIN = "def test_sum(benchmark):\n    benchmark(sum, range(1000))\n"
CONFIGURATION = """
[pytest]
addopts = --benchmark-storage=file://baselines/{machine_class}
lmbench_gate_tolerance = 99%
"""
OURS = ("-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "lmbench_tests_child")
OTHERS = ("PYTEST_ADDOPTS", "COLUMNS", "NO_COLOR", "PYTHONUTF8", "GITHUB_STEP_SUMMARY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder, the interpreter and its options, and what the environment has besides."""

    folder: Path
    python: Sequence[str] = (sys.executable,)
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """One command of this interpreter, in this folder, without what this session's environment asks of pytest."""
        environment = {name: value for name, value in os.environ.items() if name not in OTHERS}
        return subprocess.run(
            [*self.python, *command],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": f"{environment.get('PYTHONPATH', '')}:{ROOT}", **self.environment},
            capture_output=True,
            encoding="utf-8",
            timeout=1200,
            check=False,
        )

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One session of pytest, without the plugins that only this repository's own tests use."""
        return self.run("-m", "pytest", *OURS, *arguments)

    def lmbench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One command of lmbench."""
        return self.run("-m", "lmbench", *arguments)


def fill(folder: Path) -> Path:
    """Write a suite, a plain test and pytest's configuration into this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "small.suite.yaml").write_text(SUITE, encoding="utf-8")
    (folder / "test_plain.py").write_text(PLAIN, encoding="utf-8")
    (folder / "pytest.ini").write_text(CONFIGURATION, encoding="utf-8")
    (folder / ".gitignore").write_text("reports/\nbaselines/\n__pycache__/\n.pytest_cache/\n", encoding="utf-8")
    return folder


def commit(folder: Path) -> None:
    """Make the folder a repository of one commit."""
    identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "first")):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
