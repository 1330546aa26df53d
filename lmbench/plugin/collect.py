"""Suite files as pytest modules, their cells as items; nothing heavy is imported to collect them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmbench.base.errors import ConfigError
from lmbench.base.printing import one_line
from lmbench.data.available import missing_data
from lmbench.plan.case import Case
from lmbench.plan.expand import expand
from lmbench.plan.select import obstacle
from lmbench.plugin.declared import note_suite
from lmbench.plugin.feed import RecordedTime
from lmbench.suite.load import SUFFIX, load

CASE = pytest.StashKey[Case]()
RUNNER = pytest.StashKey["Runner"]()
"""What runs a case's item instead of the session's own run: a paired worker puts it here."""
REPEAT_PLUGIN = ("repeat", "pytest_repeat")
"""pytest-repeat by its entry point, and by -p."""

Runner = Callable[[Case, Any, RecordedTime], None]


def is_suite(path: Path) -> bool:
    """Whether pytest should collect `path` as a suite."""
    return path.name.endswith(SUFFIX)


class CaseItem(pytest.Function):
    """One cell of a suite."""

    @cached_property
    def id(self) -> Any:
        """The node id as pytest reads it back from its cache: what stands in brackets are parameters.

        pytest 9.2 builds the id of an item without parameters from its whole name, and then finds no
        cached failure that is equal to it. Older versions know node ids as text alone.
        """
        built = super().id
        return type(built).parse(str(built))


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
        for case in cases:
            case.declare_secrets()
        note_suite(self.config, suite, cases)
        for case in cases:
            for name in _names(case, _repeats(self.config)):
                yield self._item(case, name)

    def _item(self, case: Case, name: str) -> CaseItem:
        timer = RecordedTime()
        runner = self.runner

        def run(benchmark: Any) -> None:
            benchmark.name, benchmark.fullname = case.id, case.node_id
            runner(case, benchmark, timer)

        item: CaseItem = CaseItem.from_parent(self, name=name, callobj=run)
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


def printable_id(parent: pytest.Collector, path: Path) -> dict[str, Any]:
    """The node id of a suite file whose name a terminal would obey; it is refused, and pytest says so by this id."""
    return {} if path.name.isprintable() else {"nodeid": one_line(path.relative_to(parent.config.rootpath).as_posix())}


def _repeats(config: pytest.Config) -> int:
    """How often pytest-repeat is to run each test; it multiplies functions only, so suites do that themselves."""
    if RUNNER in config.stash or not any(map(config.pluginmanager.hasplugin, REPEAT_PLUGIN)):
        return 1
    return max(1, int(config.getoption("count", 1)))


def _names(case: Case, repeats: int) -> list[str]:
    """The names of a case's items; several end in '-1-3]', '-2-3]' ... as pytest-repeat's own do."""
    if repeats == 1:
        return [case.id]
    return [f"{case.id.removesuffix(']')}-{number}-{repeats}]" for number in range(1, repeats + 1)]
