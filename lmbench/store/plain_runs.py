"""Stored files of pytest-benchmark that a session may compare plain tests with: which can be read, what they measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmbench.base.errors import StoreError
from lmbench.store.plain import PlainTest, plain_tests
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.store.runs import damaged, read_json_file

STATISTICS = ("min", "max", "mean", "stddev", "rounds", "median", "iqr", "q1", "q3", "iterations")
"""What pytest-benchmark's own comparison reads of every benchmark it puts beside another."""
PLAIN_RUNS = 5
MAX_FILES = 20

Run = Mapping[str, PlainTest]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainBaselines:
    """Plain tests by node id, one mapping per stored run, newest first."""

    runs: tuple[Run, ...] = ()
    problems: tuple[str, ...] = ()
    """Files that could not be read, and why; they were left out."""
    renames: Renames = field(default=NO_RENAMES)

    def of(self, node_id: str) -> tuple[PlainTest, ...]:
        """The stored results of this test, also under its former names, newest first."""
        names = ((run, self.renames.resolve(node_id, run)) for run in self.runs)
        return tuple(run[name] for run, name in names if name is not None)

    def files(self) -> set[str]:
        """Every test file that a stored run has."""
        return {_file(node_id) for run in self.runs for node_id in run}

    def expected(self, gone: Collection[str] = ()) -> tuple[str, ...]:
        """Tests, by the names they have now, that the newest run of their file still had.

        Of files that are `gone` it is what the newest run of all had, so that a later run ends the alarm.
        """
        newest: dict[str, Run] = {}
        for run in self.runs:
            for node_id in run:
                newest.setdefault(_file(node_id), run)
        lasting = {file: run for file, run in newest.items() if file not in gone or run is self.runs[0]}
        names = (node_id for file, run in lasting.items() for node_id in run if _file(node_id) == file)
        return tuple(self.renames.current(node_id) for node_id in names)


def why_unusable(path: Path) -> str | None:
    """Why pytest-benchmark could not compare with the file at `path`; None when it can."""
    try:
        _checked(path)
    except StoreError as error:
        return str(error)
    return None


def plain_runs(paths: Iterable[Path], renames: Renames = NO_RENAMES) -> PlainBaselines:
    """The plain tests of the first files of `paths` that hold any, enough of them for the tripwire."""
    runs: list[Run] = []
    problems: list[str] = []
    for path in list(paths)[:MAX_FILES]:
        if len(runs) == PLAIN_RUNS:
            break
        try:
            data = _checked(path)
        except StoreError as error:
            problems.append(str(error))
            continue
        if found := {test.node_id: test for test in plain_tests(data)}:
            runs.append(found)
    return PlainBaselines(runs=tuple(runs), problems=tuple(problems), renames=renames)


def _file(node_id: str) -> str:
    return node_id.partition("::")[0]


def _checked(path: Path) -> dict[str, Any]:
    data = read_json_file(path)
    if not isinstance(data, dict) or not isinstance(data.get("benchmarks"), list):
        raise damaged(path, "JSON without a list of benchmarks")
    if not isinstance(data.get("machine_info"), dict):
        raise damaged(path, "no machine_info")
    for bench in data["benchmarks"]:
        stats = bench.get("stats") if isinstance(bench, dict) else None
        if not isinstance(stats, dict) or not isinstance(bench.get("fullname"), str):
            raise damaged(path, "a benchmark without a name or statistics")
        wrong = [name for name in STATISTICS if not isinstance(stats.get(name), (int, float))]
        if wrong:
            raise damaged(path, f"{bench['fullname']} without {', '.join(wrong)}")
    return data
