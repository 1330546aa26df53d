"""What the files of a session declare, before anything is deselected, and where: for partial runs and annotations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.plan.case import Case
from lmbench.plugin.held import asked_for, held_by
from lmbench.suite.document import Place
from lmbench.suite.load import SUFFIX, Suite

if TYPE_CHECKING:
    from lmbench.plugin.session import Run


@dataclass(slots=True, kw_only=True)
class Declared:
    """Grows while pytest collects."""

    cases: dict[str, Case] = field(default_factory=dict)
    """Every cell of every suite that was read, by node id, those not named on the command line included."""
    places: dict[str, Place] = field(default_factory=dict)
    """Node id -> the line of its suite, or of a file that the suite includes, that declares the case."""
    tests: dict[str, Place] = field(default_factory=dict)
    """Plain benchmark tests that were collected."""


DECLARED = pytest.StashKey[Declared]()


def declared(config: pytest.Config) -> Declared:
    """The session's one."""
    return config.stash.setdefault(DECLARED, Declared())


def note_suite(config: pytest.Config, suite: Suite, cases: Iterable[Case]) -> None:
    """Keep the cells of a suite, and the line of each."""
    into = declared(config)
    for case in cases:
        into.cases[case.node_id] = case
        into.places[case.node_id] = suite.places.get(("cases", case.name), Place(file=suite.shown_as, line=1))


def note_tests(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Keep which plain tests ask for pytest-benchmark's fixture."""
    into = declared(config)
    for item in items:
        if "benchmark" in getattr(item, "fixturenames", ()) and item.nodeid not in into.cases:
            file, line, _ = item.location
            into.tests[item.nodeid] = Place(file=file, line=(line or 0) + 1)


def scope_json(run: Run) -> dict[str, Any]:
    """How much of what is declared this session ran, as stored runs keep it (see report/scope.py)."""
    into = declared(run.config)
    ran = [*run.records, *_measured_tests(run.config)]
    return {
        "declared": {**{name: case.digest for name, case in into.cases.items()}, **dict.fromkeys(into.tests)},
        "ran": ran,
        "left_out": [name for name in _left_out(run.config, into) if name not in run.records],
        "open": sorted({name for argument in run.config.args if (name := _named_tests(run.config, argument))}),
        "why": list(_chosen_by(run.config)),
    }


def _left_out(config: pytest.Config, into: Declared) -> list[str]:
    asked = asked_for(config)
    return [name for name, case in into.cases.items() if (tag := held_by(case.tags)) and tag not in asked]


def _measured_tests(config: pytest.Config) -> Iterator[str]:
    session = getattr(config, "_benchmarksession", None)
    for bench in getattr(session, "benchmarks", ()):
        if bench and not bench.has_error:
            yield str(bench.fullname)


def _named_tests(config: pytest.Config, argument: str) -> str:
    """The file, relative to rootdir, of an argument that names a plain test; empty for others. Suites say what is in them."""
    file, mark, _ = argument.partition("::")
    if not mark or file.endswith(SUFFIX):
        return ""
    path = config.invocation_params.dir / file
    return path.relative_to(config.rootpath).as_posix() if path.is_relative_to(config.rootpath) else path.as_posix()


def _chosen_by(config: pytest.Config) -> Iterator[str]:
    """What kept some cases from running, as far as the session's options say."""
    from lmbench.plugin.budget import BUDGET

    if any("::" in argument for argument in config.args):
        yield "cases named on the command line"
    for option, written in (("keyword", "-k"), ("markexpr", "-m")):
        if value := config.getoption(option, ""):
            yield f"{written} {str(value)!r}"
    for option, written in (("deselect", "--deselect"), ("lf", "--last-failed"), ("stepwise", "--stepwise")):
        if config.getoption(option, None):
            yield written
    if (budget := config.stash.get(BUDGET, None)) is not None and budget.left:
        yield budget.option
    session: Any = config.pluginmanager.get_plugin("session")
    if stopped := getattr(session, "shouldfail", False) or getattr(session, "shouldstop", False):
        yield f"pytest stopped: {stopped}"
