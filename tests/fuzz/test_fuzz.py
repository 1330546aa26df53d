"""A short run of every fuzz target under fixed seeds, in a process of its own with limits; `make fuzz` runs for longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]


def test_no_reader_raises_anything_of_its_own_or_takes_more_than_it_may() -> None:
    command = [sys.executable, "-m", "tests.fuzz.run", "--seed", "1", "--examples", "60"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"0 of {len(TARGETS)} readers failed" in done.stdout
    assert done.stdout.count("60 inputs") == len(TARGETS)
