"""pytest's own options that run failures again, with suites: what failed is found again, also when the gate found it."""

from __future__ import annotations

import subprocess
from xml.etree import ElementTree

import pytest

from tests.plugin.conftest import QUIET

FAILING = """
models:
  stub: {model: fake, vocab_size: 32}
backends: {dying: {backend: fake, crash: exception}}
matrix: {model: stub, backend: [fake, dying]}
cases:
  speed:
    workload: latency
    prompt_tokens: 4
    output_tokens: 2
    budget: {min_rounds: 3, max_rounds: 3, max_time_s: 0.1, min_warmup_rounds: 1, max_warmup_s: 0.1}
  other: {workload: memory, tokens: 8}
"""
MENDED = "from pathlib import Path\n\ndef test_mended():\n    assert Path('mended').exists()\n"
DYING = ["a.suite.yaml::speed[stub-dying-none]", "a.suite.yaml::other[stub-dying-none]"]


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """With pytest's cache, which the other tests leave out."""
    return pytester.runpytest_subprocess(*QUIET[2:], *arguments)


def ids(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


@pytest.mark.usefixtures("bench")
def test_failed_cases_are_run_again_with_lf_ff_sw_and_nf(pytester: pytest.Pytester) -> None:
    (pytester.path / "a.suite.yaml").write_text(FAILING)
    pytester.makepyfile(test_mended=MENDED)
    run(pytester).assert_outcomes(passed=2, failed=3)
    (pytester.path / "mended").touch()
    again = run(pytester, "--lf")
    again.assert_outcomes(passed=1, failed=2)
    again.stdout.fnmatch_lines(["run-last-failure: rerun previous 3 failures*"])
    assert again.ret == pytest.ExitCode.TESTS_FAILED
    assert ids(run(pytester, "--lf", "--collect-only", "-q")) == DYING
    first = ids(run(pytester, "--ff", "--collect-only", "-q"))
    assert first[:2] == DYING and len(first) == 5
    run(pytester, "--sw", "a.suite.yaml").assert_outcomes(passed=1, failed=1)
    (pytester.path / "b.suite.yaml").write_text(FAILING.replace("other", "new"))
    newest = ids(run(pytester, "--nf", "--collect-only", "-q", "a.suite.yaml", "b.suite.yaml"))
    assert [name.partition("::")[0] for name in newest] == ["b.suite.yaml"] * 4 + ["a.suite.yaml"] * 4
    stepped = run(pytester, "--sw", "--collect-only", "-q", "a.suite.yaml")
    assert ids(stepped) == [DYING[0], "a.suite.yaml::other[stub-fake-none]", DYING[1]]


@pytest.mark.usefixtures("bench")
def test_a_case_that_the_gate_fails_is_a_last_failure_under_its_own_name(pytester: pytest.Pytester) -> None:
    """The base lacks the case, which is found without a single pair."""
    suite = pytester.path / "a.suite.yaml"
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "first"]):
        git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org", *words]
        subprocess.run(git, cwd=pytester.path, check=True, capture_output=True)
    suite.write_text(suite.read_text() + "  added: {workload: memory, tokens: 8}\n")
    added = "a.suite.yaml::added[stub-fake-none]"
    strict = "--lmbench-fail-on=regressed,error,new"
    gated = run(pytester, "--lmbench-gate=HEAD", strict, "--junitxml=junit.xml", added)
    assert gated.ret == pytest.ExitCode.TESTS_FAILED
    gated.stdout.fnmatch_lines(["FAILED a.suite.yaml::added@gate[[]stub-fake-none[]] - new: *"])
    cases = ElementTree.parse(pytester.path / "junit.xml").iter("testcase")  # noqa: S314 - written by the line above
    failures = {(case.get("classname"), case.get("name")): len(case) for case in cases}
    assert {name: count for name, count in failures.items() if name[0] != "lmbench"} == {
        ("a.suite.yaml", "added[stub-fake-none]"): 0,
        ("a.suite.yaml", "added@gate[stub-fake-none]"): 1,
    }
    assert ids(run(pytester, "--lf", "--collect-only", "-q")) == [added]


def test_the_name_of_a_verdict_is_read_back_as_it_was_written() -> None:
    from lmbench.plugin.last_failed import verdict_id

    assert verdict_id("a/b[1].suite.yaml::speed[m-b-none]") == "a/b[1].suite.yaml::speed@gate[m-b-none]"
    assert verdict_id("test_a.py::TestIt::test_it[x::y[0]]") == "test_a.py::TestIt::test_it@gate[x::y[0]]"
    assert verdict_id("test_a.py::test_it") == "test_a.py::test_it@gate"
