"""Two small trees with plain benchmark tests whose speed is a count of iterations, and workers that misbehave on purpose."""

from __future__ import annotations

import stat
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from lmbench.paired.pair import Sides
from lmbench.run.isolate import Place

TREE = """
import os
def work(count):
    total = 0
    for number in range(count):
        total += number
    return total

def test_steady(benchmark):
    benchmark(work, 20000)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with pytest files: tree('base', {'test_a.py': '...'})."""

    def make(name: str, files: dict[str, str] | None = None) -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "pytest.ini").write_text("[pytest]\n")
        for path, text in (files or {"test_a.py": TREE}).items():
            (root / path).write_text(textwrap.dedent(text))
        return root

    return make


@pytest.fixture
def sides(tree: Callable[..., Path]) -> Callable[..., Sides]:
    """Sides of two trees: sides(base={...}, head={...})."""

    def make(base: dict[str, str] | None = None, head: dict[str, str] | None = None) -> Sides:
        places = (Place(name=name, root=tree(name, files)) for name, files in (("base", base), ("head", head)))
        first, second = places
        return Sides(base=first, head=second)

    return make


@pytest.fixture
def impostor(tmp_path: Path) -> Callable[[str], str]:
    """An executable that a driver takes for a worker: impostor(body) with `events` and `commands` open."""

    def make(body: str) -> str:
        path = tmp_path / "impostor"
        head = f"#!{sys.executable}\nimport json, os, sys, time\n"
        pipes = "commands = os.fdopen(int(sys.argv[3]))\nevents = os.fdopen(int(sys.argv[4]), 'w')\ncommands.readline()\n"
        tell = "def tell(text):\n    events.write(text + '\\n'); events.flush()\n"
        path.write_text(head + pipes + tell + textwrap.dedent(body))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make
