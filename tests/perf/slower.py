"""A model with twice the layers against its stored runs, and an untouched rerun: prints the verdicts on their times.

    python -m tests.perf.slower [stored runs]

On a quiet machine the rerun is ok or inconclusive and the doubled model is regressed. On a busy one a disturbed stored
run raises the bar, which the verdict then shows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

MODEL = """
import torch


def build() -> torch.nn.Module:
    layers = [torch.nn.Linear(384, 384) for _ in range({layers})]
    return torch.nn.Sequential(torch.nn.Embedding(256, 384), *layers, torch.nn.Linear(384, 256))
"""
SUITE = """
models: {mine: {model: "mymodels:build"}}
matrix: {model: mine}
cases:
  speed:
    workload: latency
    prompt_tokens: 128
    output_tokens: 2
    budget: {min_rounds: 10, max_rounds: 30, max_time_s: 1, min_warmup_rounds: 3, max_warmup_s: 1}
"""


def run(folder: Path, *arguments: str) -> list[str]:
    """The lines of one pytest session that speak of verdicts."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--benchmark-quiet"]
    storage = "--benchmark-storage=file://baselines/{machine_class}"
    shown = subprocess.run([*command, storage, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return [line for line in shown.stdout.splitlines() if "_p50_s" in line or " case: " in line]


def main(stored: int) -> None:
    """Store runs, rerun untouched, double the layers, print what is said."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.suite.yaml").write_text(SUITE)
        (folder / "mymodels.py").write_text(MODEL.format(layers=24))
        (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
        for _ in range(stored):
            run(folder, "--benchmark-autosave")
        print(f"untouched rerun against {stored} stored runs:", *run(folder, "--benchmark-compare"), sep="\n  ")
        (folder / "mymodels.py").write_text(MODEL.format(layers=48))
        print(f"twice the layers against {stored} stored runs:", *run(folder, "--benchmark-compare"), sep="\n  ")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
