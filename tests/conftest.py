"""What every test has: threads that wait without turning, no limit on a Hypothesis example, and child sessions that start cheaply."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

CHILD = str(Path(__file__).with_name("plugin") / "child")
SHARED = "LMBENCH_TESTS_SHARED"
"""Folder of what this session's processes find out once for all of them."""
MADE = pytest.StashKey[str]()
FILE = pytest.StashKey[Path]()
LONGEST = "test_tutorial.py"

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
# Set before any engine is imported. Threads that spin while they wait take the CPU of the process beside them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Tests start hundreds of processes: what they import is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A session that a test starts is no process of this session, whose benchmarks would be off.
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
    del os.environ[name]
os.environ["PYTHONPATH"] = os.pathsep.join([CHILD, *filter(None, [os.environ.get("PYTHONPATH")])])


def pytest_configure(config: pytest.Config) -> None:
    if SHARED not in os.environ:
        os.environ[SHARED] = config.stash[MADE] = tempfile.mkdtemp(prefix="shared-by-tests-")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Between files, what is there is taken out of the garbage collector's sight.

    Measuring collects garbage before its rounds, and looking through all that the tests import takes it a second each time.
    """
    if item.config.stash.get(FILE, None) != item.path:
        item.config.stash[FILE] = item.path
        gc.collect()
        gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(MADE, None)) is not None:
        os.environ.pop(SHARED, None)
        shutil.rmtree(folder, ignore_errors=True)
