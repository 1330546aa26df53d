"""Command-line options and ini keys of the plugin, and pytest-benchmark's options checked and filled in."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.errors import Unreadable
from lmbench.base.git import LOCAL_VARIABLES, no_git_variables
from lmbench.base.numbers import number
from lmbench.base.reading import is_file, is_folder
from lmbench.plugin.budget import add_budget
from lmbench.plugin.compared import BARE_COMPARE, settle_compare
from lmbench.plugin.confirm import add_contention, contention_bound
from lmbench.plugin.gate_options import add_gate, of_tests_run_apart
from lmbench.plugin.place import settle_storage
from lmbench.plugin.repin import add_repin

NO_REPORTS = "none"
FASTEST_HZ = 10_000.0
"""The sampler itself takes some of the time that it watches."""
COMPARE_FAIL = "--benchmark-compare-fail"


def add(parser: pytest.Parser) -> None:
    """Register everything that starts with --lmbench."""
    group = parser.getgroup("lmbench", "lmbench: language-model suites (*.suite.yaml)")
    group.addoption(
        "--lmbench-slow",
        action="store_true",
        help="also run cells tagged nightly or slow (each is left out unless -m names its tag)",
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
    group.addoption("--lmbench-hz", type=_rate, default=20.0, metavar="HZ", help="samples of resource use per second (20)")
    parser.addini("lmbench_reports", "folder of the reports and the journal, relative to rootdir", default="reports")
    add_repin(group)
    add_budget(group, parser)
    add_contention(group, parser)
    add_gate(parser)


def _rate(text: str) -> float:
    try:
        return number(text, high=FASTEST_HZ, above=True)
    except Unreadable as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def reports_folder(config: pytest.Config) -> Path | None:
    """The folder of reports, absolute; None when they are off."""
    value = config.getoption("lmbench_reports") or config.getini("lmbench_reports")
    return None if value == NO_REPORTS else config.rootpath / str(value)


def settle(config: pytest.Config) -> None:
    """Settle where runs are stored, and set right what pytest-benchmark's options would do silently.

    Runs before pytest-benchmark configures itself. A --benchmark-compare that swallowed a path, and a
    comparison asked of processes that measure nothing (-n), are usage errors; of several --benchmark-compare-fail
    all count, where upstream keeps only the last.
    """
    settle_storage(config)
    contention_bound(config)  # a bound that is no share is a usage error now, not when the first case is compared
    compare = config.getoption("benchmark_compare", None)
    if isinstance(compare, str) and _is_argument(config, compare):
        raise pytest.UsageError(
            f"--benchmark-compare took {compare!r} as the run to compare with. Put the path first "
            f"(pytest {compare} --benchmark-compare) or give a run: --benchmark-compare=0001"
        )
    if compare and (workers := of_tests_run_apart(config)):
        raise pytest.UsageError(
            f"--benchmark-compare with {workers}: pytest-xdist turns benchmarks off, so nothing would be compared. Run without it"
        )
    config.stash[BARE_COMPARE] = compare is True
    if compare:
        settle_compare(config)
    _every_compare_fail(config)
    _name_autosaved(config)


def _name_autosaved(config: pytest.Config) -> None:
    """Name an autosaved file by rootdir's commit: pytest-benchmark has taken it from the environment and the current folder."""
    strange = Path.cwd().resolve() != config.rootpath.resolve() or any(name in os.environ for name in LOCAL_VARIABLES)
    if strange and config.getoption("benchmark_autosave", None):
        from pytest_benchmark.utils import get_tag

        with no_git_variables(), contextlib.chdir(config.rootpath):
            config.option.benchmark_autosave = get_tag()


def _every_compare_fail(config: pytest.Config) -> None:
    """Collect every --benchmark-compare-fail of the command line; argparse keeps the last."""
    from pytest_benchmark.utils import parse_compare_fail

    written = [str(argument) for argument in config.invocation_params.args]
    if sum(argument.split("=", maxsplit=1)[0] == COMPARE_FAIL for argument in written) < 2:
        return
    reader = argparse.ArgumentParser(prog="pytest", add_help=False, allow_abbrev=False)
    reader.add_argument(COMPARE_FAIL, action="extend", nargs="+", type=parse_compare_fail, default=[])
    checks: list[Any] = reader.parse_known_args(written)[0].benchmark_compare_fail
    config.option.benchmark_compare_fail = checks


def _is_argument(config: pytest.Config, value: str) -> bool:
    path = config.invocation_params.dir / value.split("::", maxsplit=1)[0]
    return is_folder(path) or (is_file(path) and path.suffix != ".json")
