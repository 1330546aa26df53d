"""Command-line options and ini keys of the plugin, and pytest-benchmark's options checked and filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmbench.measure.machine import machine_class

MACHINE_CLASS = "{machine_class}"
NO_REPORTS = "none"


def add(parser: pytest.Parser) -> None:
    """Register everything that starts with --lmbench."""
    group = parser.getgroup("lmbench", "lmbench: language-model suites (*.suite.yaml)")
    group.addoption(
        "--lmbench-slow", action="store_true", help="also run cells tagged slow (they are left out unless -m names slow)"
    )
    group.addoption(
        "--lmbench-isolate",
        choices=("process", "none"),
        default="process",
        help="run each case in a fresh process (default), or in pytest's own, for debuggers",
    )
    group.addoption(
        "--lmbench-reports",
        metavar="DIR",
        default=None,
        help=f"where reports and the journal go, or {NO_REPORTS!r}; default: the ini value lmbench_reports (reports)",
    )
    group.addoption("--lmbench-hz", type=float, default=20.0, metavar="HZ", help="samples of resource use per second (20)")
    parser.addini("lmbench_reports", "folder of the reports and the journal, relative to rootdir", default="reports")


def reports_folder(config: pytest.Config) -> Path | None:
    """The folder of reports, absolute; None when they are off."""
    value = config.getoption("lmbench_reports") or config.getini("lmbench_reports")
    return None if value == NO_REPORTS else config.rootpath / str(value)


def settle(config: pytest.Config) -> None:
    """Fill {machine_class} into --benchmark-storage and refuse a --benchmark-compare that swallowed a path.

    Runs before pytest-benchmark configures itself. A relative storage with the placeholder starts at rootdir, so
    that runs started from other folders find the same baselines.
    """
    storage = str(config.getoption("benchmark_storage", "") or "")
    if MACHINE_CLASS in storage:
        filled = storage.replace(MACHINE_CLASS, machine_class().slug).removeprefix("file://")
        config.option.benchmark_storage = f"file://{config.rootpath / filled}"
    compare = config.getoption("benchmark_compare", None)
    if isinstance(compare, str) and _is_argument(config, compare):
        raise pytest.UsageError(
            f"--benchmark-compare took {compare!r} as the run to compare with. Put the path first "
            f"(pytest {compare} --benchmark-compare) or give a run: --benchmark-compare=0001"
        )


def _is_argument(config: pytest.Config, value: str) -> bool:
    path = config.invocation_params.dir / value.split("::", maxsplit=1)[0]
    return path.is_dir() or (path.is_file() and path.suffix != ".json")
