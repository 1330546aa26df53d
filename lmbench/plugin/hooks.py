"""The hooks pytest and pytest-benchmark call; each hands over to the room that knows."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from lmbench.base.git import no_git_variables
from lmbench.base.printing import one_line
from lmbench.base.secrets import concealed
from lmbench.plugin import options
from lmbench.plugin.budget import BUDGET, left_by_budget, settle_budget
from lmbench.plugin.collect import CASE, RUNNER, SuiteFile, is_suite, printable_id
from lmbench.plugin.declared import note_tests
from lmbench.plugin.endings import only_note, protect
from lmbench.plugin.endings import status as ended_with
from lmbench.plugin.gate_options import GATE, settle_gate
from lmbench.plugin.held import register_markers
from lmbench.plugin.last_failed import mark_failing
from lmbench.plugin.machine_info import settle_machine_info
from lmbench.plugin.outlook import Forecaster
from lmbench.plugin.place import header_line, settle_collected, storage_line
from lmbench.plugin.plain import PlainTests
from lmbench.plugin.selection import leave_out
from lmbench.plugin.shown import shown
from lmbench.plugin.together import refuse, regression_error, unmeasured

RUN = pytest.StashKey[Any]()
BENCHMARK = "benchmark"
PLAIN = pytest.StashKey[PlainTests]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the --lmbench options."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Settle the options before pytest-benchmark, which configures last, reads them."""
    config.addinivalue_line("markers", "lmbench(metric): 'cpu' lets thread CPU time decide a single-threaded benchmark test")
    if not config.pluginmanager.hasplugin(BENCHMARK):
        config.addinivalue_line("markers", f"{BENCHMARK}: settings of a benchmark; pytest-benchmark is turned off")
    options.settle(config)
    settle_gate(config)
    settle_budget(config)
    if config.getoption("markers", False):
        register_markers(config)
    if RUNNER not in config.stash:
        config.pluginmanager.register(Forecaster(_run), "lmbench-outlook")
    if config.getoption("benchmark_compare", None) and RUNNER not in config.stash:
        config.stash[PLAIN] = PlainTests(config)
        config.pluginmanager.register(config.stash[PLAIN], "lmbench-plain-tests")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect suites; everything else belongs to others."""
    if not is_suite(file_path):
        return None
    register_markers(parent.config)
    file: SuiteFile = SuiteFile.from_parent(parent, path=file_path, **printable_id(parent, file_path))
    file.runner = parent.config.stash.get(RUNNER, None) or _run(parent.config).measure
    return file


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note what was collected, then leave out nightly and slow cells."""
    cases = {item.nodeid: item.stash[CASE] for item in items if CASE in item.stash}
    note_tests(config, [item for item in items if CASE not in item.stash])
    if cases and RUNNER not in config.stash:
        run = _run(config)
        run.items = cases
        run.held = leave_out(config, items)
        settle_collected(config)
    if RUNNER not in config.stash and (cases or PLAIN in config.stash):
        _run(config).renames  # noqa: B018 - a fault in renames.yaml is shown before anything is measured


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the storage to who gives an option of lmbench."""
    return one_line(header_line(config) or "") or None


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> str | None:
    """Name the storage: where nothing is configured, it is not known before suites were collected."""
    return one_line(storage_line(config, items) or "") or None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse what could not be measured, once it is known what will run."""
    if RUNNER not in session.config.stash:
        refuse(session.config, session.items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Reasons of skipped cells go into the journal and the reports."""
    run = _ACTIVE.get("run")
    if run is not None and report.skipped and isinstance(report.longrepr, tuple):
        case = run.items.get(report.nodeid)
        if case is not None and case.node_id in left_by_budget(run.config):
            return  # it could run here
        run.skip(report.nodeid, report.longrepr[2].removeprefix("Skipped: "))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What pytest shows and JUnit keeps of a test holds no secret; of a case, nothing that a terminal would obey."""
    return shown((yield), of_case=CASE in item.stash)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same of what could not be collected."""
    return shown((yield), of_case=is_suite(collector.path))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """After the last item the gate, when there is one, pairs what deserves it. Work under way is safe from signals."""
    gate = session.config.stash.get(GATE, None)
    if RUNNER not in session.config.stash and (gate is not None or _has_cases(session.config)):
        protect(session.config)
    budget = session.config.stash.get(BUDGET, None)
    if budget is not None:
        budget.begin()
    try:
        finished = yield
    except (session.Failed, session.Interrupted):
        if gate is not None:
            _run(session.config).progress.tell("gate: not held, because the session stopped before its last test")
        raise
    finally:
        if budget is not None:
            budget.end()
    if gate is not None and not session.config.option.collectonly and RUNNER not in session.config.stash:
        from lmbench.plugin.gate import Gate

        run = _run(session.config)
        run.setting(once=False)
        Gate(run, gate).hold()
    return finished


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Verdicts are complete before pytest-benchmark saves, which happens further in."""
    config = session.config
    only_note(config)
    plain = config.stash.get(PLAIN, None)
    gate = config.stash.get(GATE, None)
    if plain is not None and gate is None and (verdicts := plain.verdicts(lambda: _run(config))):
        run = _run(config)
        run.verdicts += verdicts
        run.problems += plain.problems
    run = config.stash.get(RUN, None)
    if run is not None:
        session.exitstatus = run.finish(int(exitstatus))
        if gate is None:
            mark_failing(config, run.verdicts)
        run.install_storage()
        _try_junit(config, run)
    try:
        yield
        status = int(session.exitstatus) if run is None else run.unwritten.status(int(session.exitstatus))
        session.exitstatus = ended_with(session.config) or status
    finally:
        if run is not None:
            from lmbench.plugin.outputs import publish

            publish(run)


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    """Ctrl-C: a launcher that follows it with SIGTERM must not stop the reports."""
    run = _ACTIVE.get("run")
    if run is not None and isinstance(excinfo.value, KeyboardInterrupt):
        only_note(run.config)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_benchmark_generate_commit_info(config: pytest.Config) -> Generator[None, object, object]:
    """The commit is the one of rootdir, also where pytest runs in a hook of git or in another folder."""
    with no_git_variables(), contextlib.chdir(config.rootpath):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put the run's own data beside pytest-benchmark's; called once per file that is written."""
    run = config.stash.get(RUN, None)
    if run is not None and run.opened:
        output_json["lmbench"] = run.to_json()
    output_json.update(concealed(output_json))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Leave out what changes from run to run, where the storage is kept by machine class."""
    settle_machine_info(config, machine_info)
    if PLAIN in config.stash:
        config.stash[PLAIN].machine_info = machine_info


@pytest.hookimpl(wrapper=True, tryfirst=True, optionalhook=True)
def pytest_benchmark_compare_machine_info(benchmarksession: Any) -> Generator[None]:
    """Upstream cannot name a storage outside of the working folder in its warning, and dies of it; ours can."""
    if hasattr(benchmarksession.storage, "path"):
        from lmbench.plugin.storage import RunStorage

        benchmarksession.storage = RunStorage(benchmarksession.storage, lambda: None)
    yield


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Print verdicts after pytest-benchmark's own table, also when that ends in its own regression error."""
    config = terminalreporter.config
    run = config.stash.get(RUN, None)
    try:
        return (yield)
    except regression_error():
        if run is None or run.exitstatus == 0:
            raise  # else the verdicts name it: no traceback after them
    finally:
        if run is not None:
            from lmbench.plugin.summary import summarise

            summarise(run, terminalreporter)
        for line in unmeasured(config, terminalreporter):
            terminalreporter.write_line(one_line(f"lmbench: {line}"), yellow=True)


def _try_junit(config: pytest.Config, run: Any) -> None:
    """JUnit's file, guarded; plain sessions never import what guards it."""
    from lmbench.plugin import unwritten

    unwritten.try_junit(config, run.unwritten)


def _has_cases(config: pytest.Config) -> bool:
    """Whether suites were collected; a session of others' tests alone stays as it is."""
    run = config.stash.get(RUN, None)
    return run is not None and bool(run.items)


_ACTIVE: dict[str, Any] = {}


def _run(config: pytest.Config) -> Any:
    """The session's run, made when the first suite is met; plain pytest sessions never import its rooms."""
    if RUN not in config.stash:
        from lmbench.plugin.session import Run

        config.stash[RUN] = _ACTIVE["run"] = Run(config)
        config.add_cleanup(_ACTIVE.clear)
    return config.stash[RUN]
