"""Options that take measuring away or would end in a traceback after it: refused before anything runs, or named at the end."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.plugin.collect import CASE, is_suite
from lmbench.plugin.gate_options import GATE

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURE = "benchmark"
GROUPINGS = ("group", "name", "func", "fullname", "fullfunc", "param")
BY_PARAMETER = "param:"
NOTHING = "nothing was measured, stored or compared"


def benchmark_session(config: pytest.Config) -> Any:
    """pytest-benchmark's session; None where the plugin is absent or blocked."""
    return getattr(config, "_benchmarksession", None)


def regression_error() -> type[Exception] | tuple[()]:
    """How pytest-benchmark ends a session that --benchmark-compare-fail fails."""
    try:
        from pytest_benchmark.session import PerformanceRegression
    except ImportError:
        return ()
    error: type[Exception] = PerformanceRegression
    return error


def refuse(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """UsageError for options under which what was collected could not be measured or shown. Collecting alone may."""
    if config.option.collectonly:
        return
    session = benchmark_session(config)
    replaced = sorted({by for item in items if CASE in item.stash and (by := _replaced_by(item))})
    if session is None or replaced:
        _without_benchmark(config, items, ", ".join(replaced) or "-p no:benchmark, or by another plugin")
        return
    measured = [item for item in items if FIXTURE in getattr(item, "fixturenames", ())]
    if not measured or session.skip or session.disabled:
        return
    if session.histogram:
        _check_histogram()
    if session.json and not Path(session.json).absolute().parent.is_dir():
        raise pytest.UsageError(f"--benchmark-json={session.json}: its folder does not exist; make it first")
    for grouping in str(session.group_by).split(","):
        _check_grouping(grouping, measured)


def unmeasured(config: pytest.Config, reporter: pytest.TerminalReporter) -> Iterator[str]:
    """What a reader of a green session must know: cases that were not measured, a gate that was not held."""
    session = benchmark_session(config)
    if session is None or config.option.collectonly:
        return
    if session.skip:
        reports = [report for report in reporter.stats.get("skipped", ()) if "--benchmark-skip" in str(report.longrepr)]
        if count := _of_suites(reports):
            yield f"{_cases(count)} not run: --benchmark-skip; {NOTHING}"
    elif session.disabled and (count := _of_suites(reporter.stats.get("passed", ()))):
        own = config.getoption("benchmark_disable") and not config.getoption("benchmark_enable")
        why = "--benchmark-disable" if own else "pytest-xdist"
        yield f"{_cases(count)} only run once, as a correctness test: {why} turns benchmarks off; {NOTHING}"
    if (session.skip or session.disabled) and config.getoption("benchmark_compare"):
        yield "--benchmark-compare had nothing to compare: benchmarks were skipped or turned off"


def _replaced_by(item: pytest.Item) -> str:
    """The module of another plugin's fixture of the same name. One that only wraps pytest-benchmark's own is none."""
    definitions = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}).get(FIXTURE) or ()
    if not definitions or FIXTURE in definitions[-1].argnames:
        return ""
    module = str(definitions[-1].func.__module__)
    return "" if module.startswith("pytest_benchmark.") else module


def _without_benchmark(config: pytest.Config, items: Sequence[pytest.Item], by: str) -> None:
    who = "suites need" if any(CASE in item.stash for item in items) else "--lmbench-gate needs"
    if who.startswith("suites") or config.stash.get(GATE, None) is not None:
        raise pytest.UsageError(
            f"{who} pytest-benchmark, which is turned off or replaced here (by {by}). "
            "Turn it on, or leave suites out: --ignore-glob='*.suite.yaml'"
        )


def _check_histogram() -> None:
    try:
        import_module("pytest_benchmark.histogram")
    except ImportError as error:
        raise pytest.UsageError(
            f"--benchmark-histogram draws with pygal, which cannot be imported ({error.__cause__ or error}). "
            "Run: pip install 'pytest-lmbench[histogram]', or drop the option"
        ) from None


def _check_grouping(grouping: str, measured: Sequence[pytest.Item]) -> None:
    if grouping in GROUPINGS:
        return
    if not grouping.startswith(BY_PARAMETER):
        known = ", ".join((*GROUPINGS, f"{BY_PARAMETER}NAME"))
        raise pytest.UsageError(f"--benchmark-group-by: found {grouping!r}; expected some of {known}")
    name = grouping.removeprefix(BY_PARAMETER)
    for item in measured:
        if name not in getattr(getattr(item, "callspec", None), "params", {}):
            raise pytest.UsageError(
                f"--benchmark-group-by={grouping}: {item.nodeid} has no parameter {name!r}; "
                "leave it out, or group by something that every benchmark has"
            )


def _of_suites(reports: Sequence[Any]) -> int:
    return len({report.nodeid for report in reports if is_suite(Path(str(report.nodeid).partition("::")[0]))})


def _cases(count: int) -> str:
    return f"{count} case{'s were' if count != 1 else ' was'}"
