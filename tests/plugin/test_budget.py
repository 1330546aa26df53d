"""A session's time: predicted from stored runs before it starts, and spent on the cases longest not measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lmbench.measure.clock import ManualClock
from lmbench.plan.forecast import Forecast
from lmbench.plugin.budget import Budget
from lmbench.store.runs import read_run
from tests.plugin.conftest import QUIET, write
from tests.report.synthetic import case

Bench = Callable[..., pytest.RunResult]
FOUR = """
models: {stub: {model: fake, vocab_size: 32}}
matrix: {model: stub, backend: fake}
cases:
  a: {workload: memory, tokens: 8}
  b: {workload: memory, tokens: 9, tags: half}
  c: {workload: memory, tokens: 10, tags: half}
  d: {workload: memory, tokens: 11}
"""
E = "  e: {workload: memory, tokens: 8}\n"
STRANGE = (
    "  strange: {workload: scoring, tokens: 8, budget: {min_rounds: 2, max_rounds: 2, max_time_s: 0.1, max_warmup_s: 0.1}}\n"
)
STEPS = """
import pytest
from lmbench.measure.clock import ManualClock
from lmbench.plan.forecast import Timing
from lmbench.plugin import budget

budget.CLOCK = ManualClock()


def learn(self, record):
    self.forecast.learn(Timing(case=record.case, seconds=100.0, at_s=0.0))


budget.Budget.learn = learn


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    budget.CLOCK.advance(100)
"""
"""A conftest in which every case takes 100 seconds of the budget."""


def id_of(name: str) -> str:
    return f"a.suite.yaml::{name}[stub-fake-none]"


def ids(result: pytest.RunResult) -> list[str]:
    return [line.partition("::")[2].partition("[")[0] for line in result.outlines if "::" in line]


def stored(pytester: pytest.Pytester) -> list[Path]:
    return sorted(pytester.path.glob("baselines/*/*/0*.json"))


def plant(path: Path, table: Mapping[str, tuple[float | None, float]]) -> None:
    """Give the cases of a stored run other times and dates: name -> (seconds or None, days ago)."""
    data = json.loads(path.read_text())
    for entry in data["benchmarks"]:
        record = entry["extra_info"]["lmbench"]
        seconds, days = table[record["case"]["name"]]
        record["started_at"] = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
        if seconds is None:
            del record["elapsed_s"]
        else:
            record["elapsed_s"] = seconds
    path.write_text(json.dumps(data))


PLANTED = {"a": (400.0, 3.1), "b": (400.0, 1.0), "c": (400.0, 2.1), "d": (5000.0, 9.1)}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path and text of a stored run of the four cases."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "a.suite.yaml").write_text(FOUR)
    command = [sys.executable, "-m", "pytest", *QUIET, "-q", "--lmbench-isolate=none", "--benchmark-autosave"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    names = "a[stub-fake-none], b[stub-fake-none], c[stub-fake-none] and 1 more"
    assert f"lmbench: 4 cases, time unknown (4 never measured: 4 of unknown time: {names})" in done.stdout
    (path,) = folder.glob("baselines/*/*/0*.json")
    assert all(record.elapsed_s is not None and record.elapsed_s >= record.wall_s > 0 for record in read_run(path).records)
    return f"{path.relative_to(folder)}\n{path.read_text()}"


@pytest.fixture
def measured(bench: Bench, pytester: pytest.Pytester, first_run: str) -> Bench:
    """Four cases, measured on planted days, of planted length; cases run in pytest's own process, which is faster."""
    write(pytester, FOUR)
    name, _, text = first_run.partition("\n")
    path = pytester.path / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    plant(path, PLANTED)
    return lambda *arguments: bench("--lmbench-isolate=none", *arguments)


def test_the_time_goes_to_the_cases_longest_not_measured_and_the_rest_is_named_everywhere(
    measured: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    result = measured("-v", "--benchmark-compare", "--benchmark-autosave", "--lmbench-budget=15m", "--lmbench-max-contention=off")
    result.assert_outcomes(passed=2, deselected=2)
    said = (
        "--lmbench-budget=15m: 2 cases were not measured: d[stub-fake-none] (measured 9 days ago), b[stub-fake-none] "
        "(measured 24 h 00 min ago); run the same command again, which takes them first; "
        "or run without the budget (about 1 h 30 min more)"
    )
    text = result.stdout.str()
    assert "lmbench: --lmbench-budget=15m: 2 of 4 cases, those longest not measured; 2 left out" in text
    assert "lmbench: 2 cases, about 13 min 20 s by stored runs\n" in text
    assert said in text and "partial run: 2 of 4 cases ran (--lmbench-budget=15m)" in text
    assert "missing" not in text
    verdicts = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    assert list(verdicts["cases"]) == [id_of("a"), id_of("c")], "in the order of their age"
    assert verdicts["partial"]["not_run"] == [id_of("b"), id_of("d")]
    left = {one["node_id"]: (one["age"], one["expected_s"], one["reason"]) for one in verdicts["budget"]["left_out"]}
    assert left[id_of("d")] == ("measured 9 days ago", 5000.0, "it takes about 1 h 23 min, more than the whole budget")
    assert left[id_of("b")][2] == "it takes about 6 min 40 s, and cases that were not measured for longer fill the budget"
    for name in ("reports/root--a.md", "reports/root--a.html", "summary.md"):
        written = (pytester.path / name).read_text()
        assert said.partition(";")[0] in written.replace("\\", ""), name
    run = read_run(stored(pytester)[-1])
    assert [record.case.name for record in run.records] == ["a", "c"]
    assert run.info["budget"]["spent_s"] > 0 and run.info["budget"]["written"] == "15m"
    # The next session goes on with what this one left out, as far as it fits.
    again = measured("--collect-only", "-q", "--lmbench-budget=15m")
    assert ids(again)[:3] == ["b", "a", "c"]
    assert "--lmbench-budget=15m leaves out 1 case: d[stub-fake-none] (measured 9 days ago)" in again.stdout.str()


def test_a_session_says_what_it_will_take_and_the_budget_comes_after_every_other_choice(
    measured: Bench, pytester: pytest.Pytester
) -> None:
    assert "lmbench: 4 cases, about 1 h 43 min by stored runs\n" in measured("--collect-only").stdout.str()
    write(pytester, FOUR + E + STRANGE)
    budgeted = measured("--collect-only", "-q", "--lmbench-budget=15m")
    unknown = "1 predicted from like cases, 1 of unknown time: strange[stub-fake-none]"
    line = f"lmbench: 3 cases, about 13 min 20 s by stored runs (2 never measured: {unknown})\n"
    assert line in budgeted.stdout.str()
    assert ids(budgeted)[:3] == ["e", "strange", "a"]
    assert ids(measured("--collect-only", "-q", "--lmbench-budget=15m", "-m", "half"))[:2] == ["c", "b"]
    failed = pytester.path / ".pytest_cache" / "v" / "cache" / "lastfailed"
    failed.parent.mkdir(parents=True)
    failed.write_text(json.dumps({id_of("b"): True, id_of("d"): True}))
    again = pytester.runpytest_subprocess(*QUIET[2:], "--lf", "--collect-only", "-q", "--lmbench-budget=15m")
    assert "--lmbench-budget=15m: 1 of 2 cases" in again.stdout.str() and ids(again)[0] == "b"
    plant(stored(pytester)[0], {name: (None, days) for name, (_, days) in PLANTED.items()})
    old = measured("--collect-only", "-m", "half").stdout.str()
    assert " by stored runs (2 by the time of their workers alone, as older runs keep it)" in old


def test_a_budget_that_lets_nothing_run_is_not_green(
    measured: Bench, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(pytester.path / "summary.md"))
    pytester.makepyfile(test_other="def test_other(): pass")
    result = measured("--benchmark-compare", "--lmbench-budget=1m", "a.suite.yaml", "test_other.py")
    assert result.ret == 8
    result.assert_outcomes(passed=1, deselected=4)
    text = result.stdout.str()
    assert "or give a longer one: none of them fits into this one" in text
    assert "NOT DECIDED: --lmbench-budget=1m let no case run (it takes about 1 h 23 min, more than the whole budget; " in text
    assert "lmbench NOT DECIDED: " in (pytester.path / "summary.md").read_text()
    assert json.loads((pytester.path / "reports" / "verdicts.json").read_text())["budget"]["ran"] == 0
    assert measured("--lmbench-budget=1m", "a.suite.yaml").ret == 8, "also where nothing else runs"


def test_a_case_that_does_not_fit_any_more_is_skipped_and_is_not_missing(bench: Bench, pytester: pytest.Pytester) -> None:
    """What its like took in this session is known by then: what takes 100 s does not begin when 50 s are left."""
    write(pytester, FOUR.replace("tokens: 11", "tokens: 8"))
    pytester.makeconftest(STEPS)
    result = bench("--lmbench-budget=350s", "--lmbench-isolate=none", "-rs", "--junitxml=junit.xml")
    result.assert_outcomes(passed=3, skipped=1)
    text = result.stdout.str()
    why = "--lmbench-budget=350s: not measured: 50 s of the budget were left, and it takes about 1 min 40 s"
    assert why in text and why in (pytester.path / "junit.xml").read_text()
    assert (
        "--lmbench-budget=350s: 1 case was not measured: d[stub-fake-none] (never measured); "
        "store runs (--benchmark-autosave) and run again; or run without the budget (about 1 min 40 s more)"
    ) in text
    assert "partial run: 3 of 4 cases ran (--lmbench-budget=350s)" in text


def test_a_spent_budget_admits_nothing_and_an_unknown_time_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    monkeypatch.setattr("lmbench.plugin.budget.CLOCK", clock)
    budget, one = Budget("1m"), case()
    assert budget.choose([one], Forecast({}), repeats=1) == [one]
    budget.begin()
    clock.advance(59.0)
    budget.admit(one)
    clock.advance(1.0)
    with pytest.raises(pytest.skip.Exception, match="the budget was spent"):
        budget.admit(one)
    assert budget.left == {one.node_id: "the budget was spent"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lmbench-budget=soon",), "--lmbench-budget: found 'soon'; expected a time such as 10m, 90s or 1h30m"),
        (("--lmbench-budget=0",), "--lmbench-budget: found '0'; expected a time"),
        (("--lmbench-budget=10m", "--benchmark-disable"), "--lmbench-budget with --benchmark-disable: nothing would be measured"),
    ],
)
def test_a_budget_that_cannot_be_spent_is_refused(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    result = bench(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{said}*"])


def test_processes_that_measure_nothing_have_no_budget(bench: Bench, pytester: pytest.Pytester) -> None:
    spread = pytester.runpytest_subprocess("-n", "1", "--lmbench-budget=10m")
    assert spread.ret == pytest.ExitCode.USAGE_ERROR
    spread.stderr.fnmatch_lines(["*--lmbench-budget with -n 1: nothing would be measured*"])
    ini = bench("--benchmark-disable", "--lmbench-isolate=none", "-o", "lmbench_budget=1s")
    ini.assert_outcomes(passed=1, deselected=1)
    assert "by stored runs" not in ini.stdout.str(), "nothing is measured, so nothing is predicted"


def test_under_the_gate_what_the_budget_left_out_is_not_decided(measured: Bench, pytester: pytest.Pytester) -> None:
    for command in (["init", "-q"], ["add", "a.suite.yaml", "pyproject.toml"], ["commit", "-qm", "one"]):
        git(pytester, *command)
    pytester.path.joinpath("a.suite.yaml").write_text(FOUR + "description: changed\n")
    arguments = ("--lmbench-gate=HEAD", "--lmbench-budget=7m", "--lmbench-gate-budget=1s")
    result = measured(*arguments)
    assert result.ret == 8
    assert "lmbench: 1 case, about 6 min 40 s by stored runs (the gate's pairs come on top)" in result.stdout.str()
    why = json.loads((pytester.path / "reports" / "verdicts.json").read_text())["gate"]["not_decided"]
    assert why == (
        "0 of 4 cases decided; the budget cut 1 short (a[stub-fake-none]); --lmbench-budget left 3 unmeasured "
        "(d[stub-fake-none], c[stub-fake-none], b[stub-fake-none])"
    )


def git(pytester: pytest.Pytester, *words: str) -> Any:
    return pytester.run("git", "-c", "user.name=a", "-c", "user.email=a@example.org", *words)
