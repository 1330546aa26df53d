"""Cases run, stored, compared and failed: what a user sees, and what the files hold."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from lmbench.store.ledger import LEDGER, read_ledger
from lmbench.store.runs import read_run

Bench = Callable[..., pytest.RunResult]
SPEED = "a.suite.yaml::speed[stub-fake-none]"
SIZE = "a.suite.yaml::size[stub-fake-none]"
LONG_S = 600.0
"""A limit for what ends as soon as it is there; a loaded machine does not reach it."""


def put(pytester: pytest.Pytester, text: str, name: str = "a.suite.yaml") -> Path:
    path = pytester.path / name
    path.write_text(text)
    return path


def edit(pytester: pytest.Pytester, old: str, new: str) -> None:
    path = pytester.path / "a.suite.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def runs(pytester: pytest.Pytester, rejected: bool = False) -> list[Path]:
    pattern = "rejected/*/0*.json" if rejected else "*/0*.json"
    (folder,) = (path for path in (pytester.path / "baselines").iterdir() if path.is_dir())
    return sorted(path for path in folder.glob(pattern) if rejected or "rejected" not in path.parts)


def stored(path: Path) -> Any:
    return json.loads(path.read_text())


def rescale(path: Path, *, times: float, sizes: float) -> None:
    """Make a stored run better or worse than any machine could be, so that what is compared with it is beyond doubt."""
    data = stored(path)
    for entry in data["benchmarks"]:
        for metric in entry["extra_info"]["lmbench"]["metrics"].values():
            factor = {"time": times, "rate": 1 / times}.get(metric["kind"], 1.0)
            if metric["name"] in ("parameters", "peak_rss_bytes"):
                factor = sizes
            if metric["value"] is not None:
                metric["value"] *= factor
    path.write_text(json.dumps(data))


def until_the_second_cell_hangs(session: subprocess.Popen[Any], folder: Path) -> Path:
    """The journal, once the first cell's record is in it and another worker has begun."""
    workers: set[int] = set()
    while session.poll() is None:
        for child in psutil.Process(session.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                workers |= {child.pid} if "lmbench.run.worker" in child.cmdline() else set()
        for journal in folder.glob("reports/journal/*.jsonl"):
            if len(workers) > 1 and '"kind":"record"' in journal.read_text():
                return journal
        time.sleep(0.02)
    raise AssertionError(f"the session ended with status {session.returncode} before it came there")


def test_a_run_is_stored_compared_and_reported(bench: Bench, pytester: pytest.Pytester) -> None:
    first = bench("--benchmark-autosave", "--benchmark-compare", "--lmbench-slow")
    first.assert_outcomes(passed=2)
    first.stdout.fnmatch_lines(
        ["*speed*stub-fake-none*new*", "*2 cases: 2 new*", "*harness cost*", "*report: *reports/root--a.html*"]
    )
    (path,) = runs(pytester)
    data = stored(path)
    assert [entry["fullname"] for entry in data["benchmarks"]] == [SPEED, SIZE]
    assert data["lmbench"]["run"]["complete"] is True
    assert data["lmbench"]["harness"]["timer_overhead_s"] > 0
    second = bench("--benchmark-autosave", "--benchmark-compare", "--lmbench-slow")
    second.stdout.fnmatch_lines(["*speed*stub-fake-none*"])
    assert "incomparable" not in second.stdout.str()
    assert len(runs(pytester)) + len(runs(pytester, rejected=True)) == 2
    written = {entry.name for entry in (pytester.path / "reports").iterdir()}
    assert written == {"root--a.md", "root--a.html", "root--a.csv", "data", "journal", "verdicts.json"}


def test_pytest_benchmark_sees_exactly_the_recorded_samples(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-json=out.json").assert_outcomes(passed=1, deselected=1)
    (entry,) = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    record = entry["extra_info"]["lmbench"]
    samples = record["series"][record["primary"]]
    assert entry["stats"]["data"] == pytest.approx(samples, rel=1e-9)
    assert entry["stats"]["rounds"] == len(samples)
    assert entry["options"]["timer"].endswith("recorded_time")


def test_disabled_benchmarks_are_a_quick_correctness_test(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-disable", "--lmbench-slow", "--benchmark-json=out.json").assert_outcomes(passed=2)
    assert not (pytester.path / "reports").exists()
    edit(pytester, "backend: fake}", "backend: wrong}")
    edit(pytester, "matrix:", "backends: {wrong: {backend: fake, perturb: 5}}\nmatrix:")
    result = bench("--benchmark-disable", "--lmbench-slow")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*FidelityError*"])


def test_a_heavier_subject_regresses_and_is_no_baseline_until_accepted(bench: Bench, pytester: pytest.Pytester) -> None:
    """The stored run is made better than any machine could be, so that an honest rerun must look worse."""
    edit(pytester, "{model: fake, vocab_size: 32}", "{model: fake, vocab_size: 32, work: 20000}")
    bench("--benchmark-autosave", "--lmbench-slow").assert_outcomes(passed=2)
    rescale(runs(pytester)[0], times=1e-3, sizes=0.5)
    worse = bench("--benchmark-autosave", "--benchmark-compare", "--lmbench-slow", "--junitxml=junit.xml")
    assert worse.ret == pytest.ExitCode.TESTS_FAILED
    worse.assert_outcomes(failed=2)
    worse.stdout.fnmatch_lines(["*regressed: *latency*", "*2 cases: 2 regressed*"])
    junit = (pytester.path / "junit.xml").read_text()
    assert 'failures="2"' in junit
    assert junit.count('message="Failed: regressed: ') == 2
    assert (len(runs(pytester)), len(runs(pytester, rejected=True))) == (1, 1)
    again = bench("--benchmark-autosave", "--benchmark-compare", "--lmbench-slow")
    again.assert_outcomes(failed=2)
    (storage,) = (path for path in (pytester.path / "baselines").iterdir() if path.is_dir())
    accept = [sys.executable, "-m", "lmbench", "baseline", "accept", "1", "--reason", "meant", "--storage", str(storage)]
    assert subprocess.run(accept, cwd=pytester.path, check=False).returncode == 0
    assert len(runs(pytester)) == 2
    changes = {(one.case, one.metric): one.change for one in read_ledger(pytester.path / LEDGER)}
    assert changes[SIZE, "parameters"] == pytest.approx(1.0), "twice the parameters of the stored run"


def test_a_rerun_that_is_not_worse_passes_and_is_the_next_baseline(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-autosave", "--lmbench-slow").assert_outcomes(passed=2)
    rescale(runs(pytester)[0], times=1e3, sizes=1.0)
    result = bench("--benchmark-autosave", "--benchmark-compare", "--lmbench-slow")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*speed*stub-fake-none*improved*"])
    assert (len(runs(pytester)), runs(pytester, rejected=True)) == (2, [])


def test_a_changed_declaration_is_incomparable_and_says_what_changed(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-autosave").assert_outcomes(passed=1, deselected=1)
    edit(pytester, "prompt_tokens: 4", "prompt_tokens: 8")
    result = bench("--benchmark-compare")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["*incomparable*", "*prompt_tokens*4*8*"])


def test_a_renamed_case_is_new_and_missing(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-autosave").assert_outcomes(passed=1, deselected=1)
    edit(pytester, "  speed:", "  velocity:")
    result = bench("--benchmark-compare")
    result.stdout.fnmatch_lines(["*1 missing*"])
    assert "1 new" in result.stdout.str()


def test_a_crashing_case_is_an_error_and_the_others_finish(bench: Bench, pytester: pytest.Pytester) -> None:
    edit(pytester, "matrix:", "backends: {dying: {backend: fake, crash: segfault}}\nmatrix:")
    edit(pytester, "backend: fake}", "backend: [dying, fake]}")
    result = bench("--benchmark-autosave", "--benchmark-compare")
    result.assert_outcomes(passed=1, failed=1, deselected=2)
    result.stdout.fnmatch_lines(["*WorkerError: *SIGSEGV*"])
    (path,) = runs(pytester, rejected=True)
    assert [record["failure"]["kind"] for record in stored(path)["lmbench"]["failed"]] == ["WorkerError"]
    accepted = CliRunner().invoke(cli, ["baseline", "accept", "1", "--reason", "the engine is mended next week"])
    assert (accepted.exit_code, "no baseline: " in accepted.output) == (0, True), accepted.output
    shown = CliRunner().invoke(cli, ["baseline", "show", "last"]).output
    assert "kept apart: 1 case regressed or failed" in shown and "the engine is mended next week" in shown


def test_dash_x_stops_at_the_first_failure(bench: Bench, pytester: pytest.Pytester) -> None:
    edit(pytester, "matrix:", "backends: {dying: {backend: fake, crash: exception}}\nmatrix:")
    edit(pytester, "backend: fake}", "backend: [dying, fake]}")
    bench("-x", "--lmbench-slow").assert_outcomes(failed=1)


@pytest.mark.usefixtures("bench")
def test_a_killed_session_leaves_every_finished_case_readable(pytester: pytest.Pytester) -> None:
    edit(pytester, "matrix:", "backends: {stuck: {backend: fake, crash: hang}}\nmatrix:")
    edit(pytester, "backend: fake}", "backend: [fake, stuck]}")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "a.suite.yaml"]
    session = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = until_the_second_cell_hangs(session, pytester.path)
    family = psutil.Process(session.pid).children(recursive=True)
    os.kill(session.pid, signal.SIGKILL)
    session.wait()
    _, alive = psutil.wait_procs(family, timeout=LONG_S)
    assert alive == []
    run = read_run(journal)
    assert [record.case.node_id for record in run.records] == [SPEED]
    assert run.complete is False
    rebuilt = [sys.executable, "-m", "lmbench", "report", str(journal), "--out", "rebuilt"]
    assert subprocess.run(rebuilt, cwd=pytester.path, check=False, capture_output=True).returncode == 0
    assert "speed[stub-fake-none]" in (pytester.path / "rebuilt" / "root--a.csv").read_text()


@pytest.mark.usefixtures("bench")
def test_ctrl_c_keeps_the_finished_cases(pytester: pytest.Pytester) -> None:
    edit(pytester, "matrix:", "backends: {stuck: {backend: fake, crash: hang}}\nmatrix:")
    edit(pytester, "backend: fake}", "backend: [fake, stuck]}")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "a.suite.yaml", "--benchmark-autosave"]
    session = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until_the_second_cell_hangs(session, pytester.path)
    session.send_signal(signal.SIGINT)
    output, _ = session.communicate(timeout=LONG_S)
    assert session.returncode == pytest.ExitCode.INTERRUPTED
    (path,) = runs(pytester)
    run = read_run(path)
    assert [record.case.node_id for record in run.records] == [SPEED]
    assert run.complete is False
    assert "report: " in output


def test_a_storage_of_your_own_is_left_as_it_is(bench: Bench, pytester: pytest.Pytester) -> None:
    bench("--benchmark-autosave", "--benchmark-storage=file://mine").assert_outcomes(passed=1, deselected=1)
    assert len(list((pytester.path / "mine").glob("*/0001_*.json"))) == 1


def test_plain_benchmarks_beside_suites_keep_working(bench: Bench, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_plain="def test_sum(benchmark): assert benchmark(sum, [1, 2]) == 3")
    result = bench("--benchmark-autosave", "test_plain.py", "a.suite.yaml")
    result.assert_outcomes(passed=2, deselected=1)
    names = [entry["fullname"] for entry in stored(runs(pytester)[0])["benchmarks"]]
    assert sorted(names) == sorted([SPEED, "test_plain.py::test_sum"])


def test_cases_can_run_in_pytest_s_own_process(bench: Bench) -> None:
    bench("--lmbench-isolate=none", "--lmbench-reports=none").assert_outcomes(passed=1, deselected=1)


@pytest.mark.usefixtures("bench")
def test_xdist_runs_cases_as_correctness_tests(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "1", "a.suite.yaml")
    result.assert_outcomes(passed=1)
    assert not list(pytester.path.glob("reports/*.md"))


def test_the_limit_of_pytest_timeout_is_for_other_tests(bench: Bench) -> None:
    """A case has its own, and may have to make an engine's file first."""
    pytest.importorskip("pytest_timeout")
    result = bench("--timeout=0.1", "--benchmark-disable", "-k", "speed")
    result.assert_outcomes(passed=1)
