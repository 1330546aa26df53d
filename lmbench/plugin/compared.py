"""Which stored file --benchmark-compare means, checked before pytest-benchmark reads it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from lmbench.base.numbers import MOST_CHARS
from lmbench.base.printing import printable

if TYPE_CHECKING:
    from lmbench.compare.verdicts import Verdict
    from lmbench.plugin.session import Run

BARE_COMPARE = pytest.StashKey[bool]()
"""Set when --benchmark-compare names no run: the newest ones are meant."""
LEFT_OUT = pytest.StashKey[tuple[str, ...]]()
"""Newer files than the one compared with, and why they cannot be read."""
NOTHING_READABLE = "(no readable run)"
"""Names no file: pytest-benchmark says that nothing matches it, and goes on."""
SHOWN = 10


def settle_compare(config: pytest.Config) -> None:
    """Choose the newest file that pytest-benchmark can read, or check the ones that are named.

    So a bare --benchmark-compare reads one file and not all of them, and a file that is broken is named and left out.
    A run that is named must be there and be whole: UsageError, before anything is measured, when it is not. Where
    nothing is stored at all every test is new.
    """
    let_upstream_warn(config)
    storage = str(config.getoption("benchmark_storage", "") or "")
    if "://" in storage and not storage.startswith("file://"):
        return
    folder = config.invocation_params.dir / storage.removeprefix("file://")
    if config.getoption("benchmark_compare") is True:
        _choose_newest(config, folder)
    else:
        _check_named(config, folder)


def let_upstream_warn(config: pytest.Config) -> None:
    """Keep pytest-benchmark's warnings warnings: with `python -W error` the one about nothing stored is an internal error."""
    from pytest_benchmark.logger import PytestBenchmarkWarning

    warnings.filterwarnings("default", category=PytestBenchmarkWarning)
    filters = cast("list[object]", warnings.filters)
    entry = filters[0]
    config.add_cleanup(lambda: filters.remove(entry) if entry in filters else None)


def _choose_newest(config: pytest.Config, folder: Path) -> None:
    from lmbench.store.plain_runs import why_unusable

    broken = []
    for path in _stored(folder):
        reason = why_unusable(path)
        if reason is None:
            config.option.benchmark_compare = str(path)
            break
        broken.append(reason)
    else:
        if broken:
            config.option.benchmark_compare = NOTHING_READABLE
    config.stash[LEFT_OUT] = tuple(broken)


def _check_named(config: pytest.Config, folder: Path) -> None:
    from lmbench.store.plain_runs import why_unusable

    which = str(config.getoption("benchmark_compare"))
    known = _stored(folder)
    found = _matching(which, folder, known)
    if not found and known:
        listing = ", ".join(path.name for path in known[:SHOWN])
        raise _unusable(
            f"--benchmark-compare={which}: no stored run matches under {folder}; the newest are: {listing}. "
            "Give the number or the path of one of them"
        )
    broken = [reason for path in found if (reason := why_unusable(path)) is not None]
    if broken:
        raise _unusable(f"--benchmark-compare={which}: " + "; ".join(broken))
    if which.isdecimal() and len(found) == 1:
        config.option.benchmark_compare = str(found[0])  # '3' is 0003


def _stored(folder: Path) -> list[Path]:
    """The runs of this machine's folder, newest first; else those that lie in the storage itself."""
    from pytest_benchmark.utils import get_machine_id

    from lmbench.store.files import list_runs, number_of

    own = list_runs(folder, get_machine_id())
    return own or sorted((path for path in folder.glob("*.json") if number_of(path) is not None), reverse=True)


def _matching(which: str, folder: Path, known: list[Path]) -> list[Path]:
    """The files that pytest-benchmark would take for `which`; a number is compared as one."""
    from pytest_benchmark.storage.file import FileStorage
    from pytest_benchmark.utils import get_machine_id

    from lmbench.store.files import number_of

    if which.isdecimal() and len(which) <= MOST_CHARS:
        return [path for path in known if number_of(path) == int(which)]
    try:
        return list(FileStorage(str(folder), None, get_machine_id()).query(which))
    except ValueError as error:
        raise _unusable(f"--benchmark-compare={which}: {error}") from None


def _unusable(text: str) -> pytest.UsageError:
    return pytest.UsageError(printable(text))


def missing_cases(run: Run) -> list[Verdict]:
    """Cases of the collected suites that were measured before; single node ids and --lf ask for nothing else."""
    from lmbench.compare.judging import compare_missing

    if run.config.getoption("lf", False) or any("::" in argument for argument in run.config.args):
        return []
    suites = {node_id.partition("::")[0] for node_id in run.collected}
    return compare_missing(run.stored_baselines().expected, run.collected, suites=suites, skipped=run.skipped)
