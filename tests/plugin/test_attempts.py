"""Cases that a plugin runs again: the last attempt counts, in pytest and here; the earlier ones are kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lmbench.store.runs import read_run

Bench = Callable[..., pytest.RunResult]
SPEED = "a.suite.yaml::speed[stub-fake-none]"
FIRST_DIES = """
import os
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    if item.config.stash.get(TRIED, False):
        os.environ.pop("PYTHONHOME", None)
    else:
        os.environ["PYTHONHOME"] = "/nowhere"  # no worker can start
    item.config.stash[TRIED] = True

TRIED = pytest.StashKey()
"""
RERUN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for attempt in range(2):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(report.failed for report in reports):
            break
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
"""What plugins for flaky tests do: run an item until it passes, and report the last attempt."""


def verdicts(pytester: pytest.Pytester) -> dict[str, str]:
    data: dict[str, Any] = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    return data["cases"]  # type: ignore[no-any-return]


def stored(pytester: pytest.Pytester) -> Path:
    (path,) = (path for path in pytester.path.glob("baselines/*/*/0*.json") if "rejected" not in path.parts)
    return path


@pytest.mark.parametrize("option", ["", "--reruns=1"])
def test_a_case_that_passes_at_the_second_attempt_passes_and_is_stored(
    bench: Bench, pytester: pytest.Pytester, option: str
) -> None:
    if option:
        pytest.importorskip("pytest_rerunfailures")
    pytester.makeconftest(FIRST_DIES + ("" if option else RERUN))
    arguments = [option] if option else []
    result = bench(*arguments, "-p", "no:flaky", "-k", "speed", "--benchmark-autosave", "--benchmark-compare")
    assert result.ret == pytest.ExitCode.OK, result.stdout
    assert verdicts(pytester) == {SPEED: "new"}
    said = " ".join(result.stdout.str().split())
    assert "attempt 2 of this case in one session; only this one counts. attempt 1: error (WorkerError" in said
    (journal,) = pytester.path.glob("reports/journal/*.jsonl")
    assert journal.read_text().count('"kind":"record"') == 2, "an attempt is written down when it ends"
    for path in (stored(pytester), journal):
        (record,) = read_run(path).records
        assert record.status == "ok"
        assert [(attempt.outcome, dict(attempt.values)) for attempt in record.attempts] == [("error", {})]
        assert record.attempts[0].why.startswith("WorkerError: ")


def test_a_case_that_fails_at_every_attempt_fails_once(bench: Bench, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(RERUN)
    suite = pytester.path / "a.suite.yaml"
    text = suite.read_text().replace("matrix:", "backends: {dying: {backend: fake, crash: exception}}\nmatrix:")
    suite.write_text(text.replace("backend: fake}", "backend: dying}"))
    result = bench("-k", "speed", "-p", "no:flaky")
    result.assert_outcomes(failed=1, deselected=1)
    result.stdout.fnmatch_lines(["*1 case: 1 error*"])
    (journal,) = pytester.path.glob("reports/journal/*.jsonl")
    (record,) = read_run(journal).records
    assert [attempt.outcome for attempt in record.attempts] == ["error"]


def test_a_repeated_case_is_measured_as_often_and_stored_once(bench: Bench, pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_repeat")
    result = bench("--count=3", "--benchmark-autosave", "--benchmark-compare", "-v", "-k", "speed")
    result.assert_outcomes(passed=3, deselected=3)
    result.stdout.fnmatch_lines(["*::speed[[]stub-fake-none-1-3[]] *", "*::speed[[]stub-fake-none-3-3[]] *"])
    assert verdicts(pytester) == {SPEED: "new"}
    (entry,) = json.loads(stored(pytester).read_text())["benchmarks"]
    assert (entry["name"], entry["fullname"]) == ("speed[stub-fake-none]", SPEED)
    (record,) = read_run(stored(pytester)).records
    assert [attempt.outcome for attempt in record.attempts] == ["new", "new"]
    assert all(attempt.values["latency_p50_s"] > 0 for attempt in record.attempts)
