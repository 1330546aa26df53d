"""Cells tagged nightly or slow: who runs them, who leaves them out, and that nothing is silently left out."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import lmbench.plugin.session  # noqa: F401 - sessions in this process must not import numpy a second time
from tests.plugin.conftest import write

Bench = Callable[..., pytest.RunResult]
CELLS = """
models: {stub: {model: fake, vocab_size: 32}}
matrix: {model: stub, backend: fake}
cases:
  day: {workload: memory, tokens: 8, tags: calm}
  night: {workload: memory, tokens: 8, tags: [nightly, calm]}
  long: {workload: memory, tokens: 8, tags: slow}
  both: {workload: memory, tokens: 8, tags: [nightly, slow]}
"""
ALL_NIGHT = CELLS.replace("tags: calm}", "tags: [nightly, calm]}")


def names(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2].partition("[")[0] for line in result.outlines if "::" in line]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), "day"),
        (("-m", "nightly"), "night"),
        (("-m", "slow"), "long both"),
        (("-m", "nightly or slow"), "night long both"),
        (("-m", "not slow"), "day"),
        (("-m", "not nightly"), "day"),
        (("-m", "calm"), "day"),
        (("-m", "calm and nightly"), "night"),
        (("-m", "slowly or calm"), "day"),
        (("--lmbench-slow",), "day night long both"),
        (("--lmbench-slow", "-m", "not slow"), "day night"),
        (("a.suite.yaml::night[stub-fake-none]",), "night"),
        (("a.suite.yaml::both", "a.suite.yaml::day[stub-fake-none]"), "both day"),
    ],
)
def test_what_runs_by_default_and_who_asks_for_the_rest(
    pytester: pytest.Pytester, arguments: tuple[str, ...], found: str
) -> None:
    write(pytester, CELLS)
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\naddopts = '--strict-markers'\n")
    collected = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "--collect-only", "-q", *arguments)
    assert names(collected) == found.split()


def test_a_suite_of_which_nothing_is_left_is_named_with_what_would_run_it(bench: Bench, pytester: pytest.Pytester) -> None:
    write(pytester, CELLS)
    write(pytester, ALL_NIGHT, "night.suite.yaml")
    alone = bench("night.suite.yaml")
    assert alone.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    said = [
        "night.suite.yaml: nothing of it ran: all of its 4 cells are nightly or slow",
        "2 nightly and 2 slow cells left out; run with --lmbench-slow (all) or -m nightly or -m slow (only those)",
    ]
    alone.stdout.fnmatch_lines(said)
    beside = bench("a.suite.yaml", "night.suite.yaml", "--benchmark-disable")
    beside.assert_outcomes(passed=1, deselected=7)
    beside.stdout.fnmatch_lines([said[0], "3 nightly and 4 slow cells left out; *"])
    assert "a.suite.yaml: nothing of it ran" not in beside.stdout.str()


def test_the_tags_are_registered_where_there_are_suites_and_others_keep_their_own(
    bench: Bench, pytester: pytest.Pytester
) -> None:
    bench("--markers").stdout.fnmatch_lines(["@pytest.mark.nightly: *-m names nightly", "@pytest.mark.slow: *-m names slow"])
    pytester.path.joinpath("a.suite.yaml").unlink()
    marked = "import pytest\n@pytest.mark.nightly\n@pytest.mark.slow\ndef test_marked(): pass\n"
    pytester.makepyfile(test_marked=marked)
    strict = bench("-q")
    assert strict.ret == pytest.ExitCode.INTERRUPTED, "their own markers are theirs to register"
    strict.stdout.fnmatch_lines(["*'nightly' not found in `markers`*"])
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nmarkers = ['nightly', 'slow']\naddopts = '--strict-markers'\n")
    own = bench("-q")
    own.assert_outcomes(passed=1)
    assert "left out" not in own.stdout.str() and "by stored runs" not in own.stdout.str()
