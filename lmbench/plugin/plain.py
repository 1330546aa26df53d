"""Plain benchmark tests under --benchmark-compare: watched while they run, judged before pytest-benchmark stores them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.plugin.collect import CASE, is_suite
from lmbench.plugin.compared import BARE_COMPARE

if TYPE_CHECKING:
    from lmbench.compare.verdicts import Verdict
    from lmbench.plugin.confirm import Confirmation
    from lmbench.plugin.session import Run
    from lmbench.store.plain import PlainTest
    from lmbench.store.plain_runs import PlainBaselines
    from lmbench.store.renames import Renames

FIXTURE = "benchmark"


class PlainTests:
    """What a session collected, skipped and failed of plain benchmark tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.machine_info: Mapping[str, Any] = {}
        self.files: set[str] = set()
        self.collected: set[str] = set()
        self.failed: dict[str, str] = {}
        self.skipped: dict[str, str] = {}
        self.problems: tuple[str, ...] = ()
        """Stored files that could not be read."""
        self.collection_ended = False

    # -- watching ---------------------------------------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.passed and report.nodeid and "::" not in report.nodeid and not is_suite(Path(report.nodeid)):
            self.files.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        plain = [item for item in items if FIXTURE in getattr(item, "fixturenames", ()) and CASE not in item.stash]
        self.collected = {item.nodeid for item in plain}
        self.collection_ended = True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid not in self.collected:
            return
        if report.when == "setup":
            self.failed.pop(report.nodeid, None)  # of several attempts the last counts
        if report.failed:
            self.failed[report.nodeid] = f"the test failed in its {report.when}: {_message(report)}"
        elif report.skipped and isinstance(report.longrepr, tuple):
            self.skipped[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")

    # -- judging ----------------------------------------------------------------------------------------------------

    @property
    def session(self) -> Any:
        return self.config._benchmarksession  # type: ignore[attr-defined]

    def verdicts(self, run: Callable[[], Run]) -> list[Verdict]:
        """One verdict per test that was measured, failed or is gone. Empty where nothing is measured at all."""
        session = self.session
        measures = not (session.disabled or session.skip or self.config.option.collectonly)
        if not measures or not self.collection_ended or not hasattr(session.storage, "path"):
            return []
        if session.compare_fail and not session.compared_mapping:
            session.compare_fail = []  # nothing is stored yet: a first run is new, and upstream's error would hide that
        from lmbench.compare.upstream import in_error

        stored = self._stored(run().renames.without(self.collected))
        self.problems = stored.problems
        found = {node_id: in_error(node_id, why) for node_id, why in self.failed.items()}
        found |= {node_id: in_error(node_id, "the benchmarked function raised an error") for node_id in self._with_errors()}
        found |= self._judged(stored, [test for test in self._measured() if test.node_id not in found], run().confirmation)
        return [*found.values(), *self._missing(stored)]

    def _measured(self) -> list[PlainTest]:
        from lmbench.store.plain import PlainTest, machine_of

        machine = machine_of(self.machine_info)
        benches = (bench for bench in self.session.benchmarks if bench and bench.fullname in self.collected)
        medians = {bench.fullname: float(bench.stats.median) for bench in benches}  # the last of several attempts
        return [PlainTest(node_id=name, median_s=value, machine=machine) for name, value in medians.items()]

    def _with_errors(self) -> list[str]:
        benches = self.session.benchmarks
        return [bench.fullname for bench in benches if bench.has_error and bench.fullname in self.collected]

    def _stored(self, renames: Renames) -> PlainBaselines:
        from lmbench.store.files import list_runs
        from lmbench.store.plain_runs import plain_runs

        storage = Path(self.session.storage.path)
        if self.config.stash.get(BARE_COMPARE, False) and not self.session.compare_fail:
            return plain_runs(list_runs(storage, self.session.machine_id), renames)
        return plain_runs((storage / path for path in self.session.compared_mapping), renames)

    def _judged(self, stored: PlainBaselines, measured: Sequence[PlainTest], confirmation: Confirmation) -> dict[str, Verdict]:
        from lmbench.compare.plain import compare_test
        from lmbench.compare.upstream import judge_by_rule
        from lmbench.compare.verdicts import REGRESSED

        if self.session.compare_fail:
            return {now.node_id: judge_by_rule(now, stored.of(now.node_id), self._failed_checks(now.node_id)) for now in measured}
        verdicts = {now.node_id: compare_test(now, stored.of(now.node_id)) for now in measured}
        suspects = [now for now in measured if verdicts[now.node_id].outcome == REGRESSED]
        if suspects:
            verdicts |= self._confirmed(stored, suspects, confirmation)
        return verdicts

    def _confirmed(self, stored: PlainBaselines, suspects: Sequence[PlainTest], confirmation: Confirmation) -> dict[str, Verdict]:
        from lmbench.compare.plain import compare_test
        from lmbench.compare.upstream import unconfirmed
        from lmbench.plugin.again import medians_again

        again = medians_again(self.config, [now.node_id for now in suspects], confirmation)
        verdicts = {}
        for now in suspects:
            reruns = [replace(now, median_s=value) for value in again.medians[now.node_id]]
            verdict = compare_test(now, stored.of(now.node_id), reruns)
            verdicts[now.node_id] = verdict if again.calm else unconfirmed(verdict)
        return verdicts

    def _failed_checks(self, node_id: str) -> list[str]:
        """What --benchmark-compare-fail has against a test, in its own words."""
        said = []
        for bench in self.session.benchmarks:
            for stored in self.session.compared_mapping.values():
                if bench and bench.fullname == node_id and node_id in stored:
                    before = {**bench.as_dict(include_data=False, stats=False), **stored[node_id]["stats"]}
                    said += [str(text) for check in self.session.compare_fail if (text := check.fails(bench, before))]
        return said

    def _missing(self, stored: PlainBaselines) -> list[Verdict]:
        """Tests that are gone from files that were collected whole, or whose file is gone from a folder that was."""
        from lmbench.compare.judging import compare_missing

        if self.config.getoption("lf", False) or any("::" in argument for argument in self.config.args):
            return []
        gone = self._gone(stored.files())
        return compare_missing(
            stored.expected(gone), self.collected, suites=self.files | gone, skipped=self.skipped, where="the test files"
        )

    def _gone(self, files: Iterable[str]) -> set[str]:
        root = self.config.rootpath
        asked = [Path(self.config.invocation_params.dir, argument).resolve() for argument in self.config.args]
        absent = (file for file in files if not (root / file).exists())
        return {file for file in absent if any((root / file).resolve().is_relative_to(folder) for folder in asked)}


def _message(report: pytest.TestReport) -> str:
    """The first line of why a test failed."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else report.longreprtext).strip()
    return text.splitlines()[0] if text else "no reason given"
