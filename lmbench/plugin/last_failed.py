"""Verdicts that come after a case's own report: named so that pytest reads the name back, and kept as failures of the case."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.base.printing import printable

if TYPE_CHECKING:
    from lmbench.compare.verdicts import Verdict

SUFFIX = "@gate"
"""A verdict's report carries the case's name and this, so that JUnit keeps it beside the measurement's own."""
CACHES = ("lfplugin", "stepwiseplugin")
"""pytest's plugins that keep failures for --lf, --ff and --sw."""
MARKED = pytest.StashKey[bool]()


def verdict_id(node_id: str) -> str:
    """The id of a case's verdict: 'a.suite.yaml::first-token@gate[mini-torch-none]'.

    pytest takes what follows the first bracket for parameters, up to the end of the id, so the suffix stands before it.
    """
    file, _, name = node_id.partition("::")
    base, bracket, params = name.partition("[")
    return f"{file}::{base}{SUFFIX}{bracket}{params}"


def publish(config: pytest.Config, node_id: str, outcome: str, longrepr: Any) -> None:
    """Report a verdict on the case `node_id`; a failed one is a failure of the case to pytest's cache."""
    announce(config, verdict_id(node_id), outcome, longrepr)
    if outcome == "failed":
        mark_failed(config, node_id, str(longrepr))


def announce(config: pytest.Config, name: str, outcome: str, longrepr: Any) -> None:
    """A report under a name that no item has, for everybody but pytest's cache."""
    caches = [plugin for plugin in map(config.pluginmanager.get_plugin, CACHES) if plugin is not None]
    hook = config.pluginmanager.subset_hook_caller("pytest_runtest_logreport", remove_plugins=caches)
    hook(report=_report(name, outcome, longrepr))


def mark_failed(config: pytest.Config, node_id: str, text: str) -> None:
    """Have --lf, --ff and --sw run this item again: it passed, and what was found afterwards fails it."""
    manager = config.pluginmanager
    names = CACHES[:1] if MARKED in config.stash else CACHES  # --sw goes on from the first
    config.stash[MARKED] = True
    caches = [plugin for plugin in map(manager.get_plugin, names) if plugin is not None]
    others = [plugin for plugin in manager.get_plugins() if plugin not in caches]
    if caches:
        hook = manager.subset_hook_caller("pytest_runtest_logreport", remove_plugins=others)
        hook(report=_report(node_id, "failed", text))


def mark_failing(config: pytest.Config, verdicts: Collection[Verdict]) -> None:
    """The same for every item whose verdicts fail the session at its end."""
    from lmbench.compare.gate import exit_fails
    from lmbench.compare.verdicts import MISSING, by_case, case_outcome
    from lmbench.plugin.gate_options import fail_on

    failing = fail_on(config)
    for node_id, found in by_case(verdicts).items():
        if exit_fails(found, failing) and case_outcome(found) != MISSING:
            mark_failed(config, node_id, "; ".join(verdict.why for verdict in found if verdict.outcome in failing))


def _report(node_id: str, outcome: Any, longrepr: Any) -> pytest.TestReport:
    file, _, name = node_id.partition("::")
    longrepr = printable(longrepr) if isinstance(longrepr, str) else longrepr
    return pytest.TestReport(
        nodeid=node_id, location=(file, None, name), keywords={}, outcome=outcome, longrepr=longrepr, when="call"
    )
