"""`lmbench gate selftest` on a small test: what is injected is found, what is not injected is counted."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from lmbench.compare.gate import NOT_DECIDED_STATUS
from lmbench.compare.verdicts import Verdict
from lmbench.paired.canaries import KERNELS, write_canaries
from lmbench.paired.selftest import Resolution, SelfTest, Sweep

TEST = "def test_count(benchmark):\n    benchmark(sum, range(20000))\n"
COUNTED = """
import pytest

done = 0

def work():
    global done
    for _ in range(5000):
        done += 1

def steps():
    global done
    done += 1
    return done * 1e-6

@pytest.mark.benchmark(timer=steps)
def test_count(benchmark):
    benchmark(work)
"""
"""Its clock counts the steps of the work, so that no load of the machine changes what is compared."""


def test_twice_the_work_is_found_and_the_numbers_of_every_pair_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_a.py").write_text(COUNTED)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["gate", "selftest", "test_a.py::test_count", "--factor", "2.0", "--json"])
    data = json.loads(result.output)
    untouched, doubled = data["sweeps"]
    assert result.exit_code == (1 if data["false_alarms"] else 0)
    (found,) = doubled["verdicts"]
    assert found["outcome"] == "regressed" and found["ratio"] == pytest.approx(2, rel=0.01)
    assert found["evidence"]["pairs"] == len(found["evidence"]["log_ratios"]) >= 8
    assert untouched["verdicts"][0]["ratio"] == pytest.approx(1, rel=0.01)
    assert set(data["resolutions"][0]["visible"]) == {"8", "16", "32"}
    assert data["pair_s"] > 0


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nowhere.suite.yaml", "which is no file below"),
        ("a.suite.yaml::wrong[m-fake-none]", "`lmbench suites show a.suite.yaml` lists them"),
    ],
)
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, message: str) -> None:
    suite = "models: {m: {model: fake}}\nmatrix: {model: m, backend: fake}\ncases: {one: {workload: latency}}\n"
    (tmp_path / "a.suite.yaml").write_text(suite)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["gate", "selftest", argument])
    assert result.exit_code == 2 and message in result.output


def test_a_self_test_that_judges_nothing_is_not_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test_a.py").write_text(TEST)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["gate", "selftest", "test_a.py::test_count", "--budget", "1"])
    assert result.exit_code == NOT_DECIDED_STATUS
    assert "not decided: no case was judged in 3 of 3 sweeps" in result.output
    assert "(0 pairs" in result.output and "inconclusive" in result.output


def test_a_self_test_that_is_terminated_says_what_it_found_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    stops = "import os, signal\ndef test_a(benchmark):\n    open('state', 'w').write(str(os.getpid()))\n    signal.pause()\n"
    (tmp_path / "test_a.py").write_text(stops)
    command = [sys.executable, "-m", "lmbench", "gate", "selftest", "test_a.py::test_a"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ended:
        state = tmp_path / "state"
        while not state.exists() or not state.read_text():
            with contextlib.suppress(subprocess.TimeoutExpired):
                pytest.fail(f"the self-test ended with status {ended.wait(0.05)}")
        ended.send_signal(signal.SIGTERM)
        output, errors = ended.communicate()
    assert ended.returncode == 143, errors
    assert "interrupted in sweep 1 of 3" in errors and "false alarms: 0 of 1" in output
    assert list((tmp_path / "temporary").iterdir()) == []


def test_canaries_do_counted_work(tmp_path: Path) -> None:
    assert len(write_canaries(tmp_path, sizes=3)) == 3 * len(KERNELS)
    assert all(work(count) is not None for work, count in KERNELS.values())


def test_a_case_that_sees_nothing_counts_as_the_worst() -> None:
    sees = [Resolution(node_id=name, metric="m", visible={8: value}) for name, value in (("a", 0.02), ("b", None), ("c", 0.05))]
    alarm = Verdict(node_id="a", metric="m", outcome="regressed", why="")
    sweep = Sweep(factor=1.0, verdicts=(alarm,), pairs_run=8, wall_s=16.0)
    found = SelfTest(sweeps=(sweep,), resolutions=tuple(sees), cells=3)
    assert (found.typical(8), found.false_alarms, found.pair_s) == (0.05, 1, 2.0)
    assert SelfTest(sweeps=(sweep,), resolutions=tuple(sees[1:2]), cells=3).typical(8) is None
