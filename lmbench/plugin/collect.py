"""Suite files as pytest modules, their cells as items; nothing heavy is imported to collect them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmbench.base.errors import ConfigError
from lmbench.data.available import missing_data
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.plan.select import obstacle
from lmbench.plugin.declared import SLOW, note_suite
from lmbench.plugin.feed import RecordedTime
from lmbench.suite.load import SUFFIX, load

CASE = pytest.StashKey[Case]()
RUNNER = pytest.StashKey["Runner"]()
"""What runs a case's item instead of the session's own run: a paired worker puts it here."""

Runner = Callable[[Case, Any, RecordedTime], None]


def is_suite(path: Path) -> bool:
    """Whether pytest should collect `path` as a suite."""
    return path.name.endswith(SUFFIX)


class SuiteFile(pytest.Module):
    """A `*.suite.yaml` file."""

    runner: Runner

    def _getobj(self) -> ModuleType:
        # pytest asks a module for its Python object when it looks for fixtures; a suite has none of its own.
        return ModuleType(self.path.name)

    def collect(self) -> Iterator[pytest.Item]:
        root = self.config.rootpath
        try:
            suite = load(self.path, root)
            cases = expand(suite, root)
        except ConfigError as error:
            raise self.CollectError(str(error)) from None
        note_suite(self.config, suite, cases)
        for case in cases:
            yield self._item(case)

    def _item(self, case: Case) -> pytest.Function:
        timer = RecordedTime()
        runner = self.runner

        def run(benchmark: Any) -> None:
            runner(case, benchmark, timer)

        item = pytest.Function.from_parent(self, name=case.id, callobj=run)
        item.stash[CASE] = case
        item.add_marker(pytest.mark.benchmark(timer=timer, group=f"{self.path.name.removesuffix(SUFFIX)}: {case.name}"))
        for tag in case.tags:
            self.config.addinivalue_line("markers", f"{tag}: tag of lmbench suites")
            item.add_marker(tag)
        if self.config.pluginmanager.hasplugin("timeout"):
            item.add_marker(pytest.mark.timeout(0))  # a case has its timeout_s, for each process it runs in
        reason = obstacle(case) or missing_data(case)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))
        return item


def leave_out_slow(config: pytest.Config, items: list[pytest.Item]) -> int:
    """Deselect cells tagged slow unless they were asked for; returns how many."""
    if config.getoption("lmbench_slow") or SLOW in str(config.getoption("markexpr")) or _named(config):
        return 0
    slow = [item for item in items if CASE in item.stash and SLOW in item.stash[CASE].tags]
    if slow:
        dropped = set(slow)
        items[:] = [item for item in items if item not in dropped]
        config.hook.pytest_deselected(items=slow)
    return len(slow)


def _named(config: pytest.Config) -> bool:
    """Node ids on the command line ask for exactly those cells."""
    return any("::" in argument for argument in config.args)
