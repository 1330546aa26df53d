"""Options of pytest, pytest-benchmark and other plugins beside suites: a usage error before anything runs, or an honest line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Bench = Callable[..., pytest.RunResult]
WITHOUT_PYGAL = "import sys\nsys.modules['pygal'] = None\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("-p", "no:benchmark", "-o", "addopts="),
            "*suites need pytest-benchmark, which is turned off or replaced here*--ignore-glob*",
        ),
        (("--benchmark-histogram",), "*--benchmark-histogram draws with pygal*pip install 'pytest-lmbench?histogram?'*"),
        (("--benchmark-group-by=param:size",), "*speed?stub-fake-none? has no parameter 'size'*"),
        (("--benchmark-group-by=colour",), "*found 'colour'; expected some of group, name*"),
        (("--benchmark-json=nowhere/out.json",), "*nowhere/out.json: its folder does not exist*"),
    ],
)
def test_what_could_not_be_measured_or_shown_is_a_usage_error(
    bench: Bench, pytester: pytest.Pytester, arguments: tuple[str, ...], said: str
) -> None:
    pytester.makeconftest(WITHOUT_PYGAL)
    result = bench(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert not (pytester.path / "reports").exists(), "nothing was measured"


def test_a_fixture_that_takes_the_place_of_pytest_benchmark_is_named(bench: Bench, pytester: pytest.Pytester) -> None:
    """As pytest-codspeed does; one that passes pytest-benchmark's own on is no harm."""
    fixture = "import pytest\n@pytest.fixture\ndef benchmark({}):\n    return {}\n"
    pytester.makeconftest(fixture.format("", "print"))
    replaced = bench("--benchmark-disable")
    assert replaced.ret == pytest.ExitCode.USAGE_ERROR
    replaced.stderr.fnmatch_lines(["*pytest-benchmark, which is turned off or replaced here (by conftest)*"])
    pytester.makeconftest(fixture.format("benchmark", "benchmark"))
    bench("--benchmark-disable", "-k", "speed").assert_outcomes(passed=1, deselected=1)


def test_suites_are_collected_and_other_tests_run_without_pytest_benchmark(bench: Bench, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_one(): pass")
    off = ("-p", "no:benchmark", "-o", "addopts=--strict-markers")
    assert bench(*off, "--collect-only", "-q").ret == pytest.ExitCode.OK
    bench(*off, "--ignore-glob=*.suite.yaml").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--benchmark-skip",), "*1 case was not run: --benchmark-skip; nothing was measured, stored or compared*"),
        (("--benchmark-disable",), "*1 case was only run once*: --benchmark-disable turns benchmarks off; nothing was*"),
        (("-p", "xdist", "-n1"), "*1 case was only run once*: pytest-xdist turns benchmarks off; nothing was measured*"),
    ],
)
def test_a_green_session_that_measured_nothing_says_so(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    compare = () if "-n1" in arguments else ("--benchmark-compare",)
    result = bench(*arguments, *compare)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([said])
    if compare:
        result.stdout.fnmatch_lines(["*--benchmark-compare had nothing to compare*"])


@pytest.mark.parametrize("arguments", [("--dist=load",), ("-n1",)])
def test_a_comparison_of_spread_tests_is_refused(bench: Bench, arguments: tuple[str, ...]) -> None:
    result = bench("-p", "xdist", *arguments, "--benchmark-compare")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest-xdist turns benchmarks off, so nothing would be compared*"])


def test_collecting_with_a_comparison_says_nothing_of_verdicts(bench: Bench, pytester: pytest.Pytester) -> None:
    result = bench("--collect-only", "-q", "--benchmark-compare", "--benchmark-only")
    assert result.ret == pytest.ExitCode.OK
    assert "missing" not in result.stdout.str() and not (pytester.path / "reports").exists()
