"""A run in which every case failed is stored too, so that no older good value passes for the present state of its case."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from tests.plugin.conftest import SUITE, Runner, write


def test_a_run_of_errors_alone_is_stored_and_seen_behind_the_last_good_values(
    bench: Runner, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench("--benchmark-autosave").assert_outcomes(passed=1, deselected=1)
    write(pytester, SUITE.replace("vocab_size: 32", "vocab_size: 32, max_tokens: 2"))
    result = bench("--benchmark-autosave")
    result.assert_outcomes(failed=1, deselected=1)
    assert "Not saving anything" not in result.stdout.str() + result.stderr.str()
    (stored,) = pytester.path.glob("baselines/*/rejected/*/*.json")
    assert json.loads(stored.read_text())["benchmarks"] == []
    monkeypatch.chdir(pytester.path)
    run = CliRunner()
    rows = [json.loads(line) for line in run.invoke(cli, ["export", "jsonl"]).stdout.splitlines() if line.startswith("{")]
    good = [row for row in rows if row["metric"] == "latency_p50_s"]
    assert [(row["status"], row["latest"], row["latest_status"]) for row in good] == [("ok", False, "error")]
    failed = [row for row in rows if row["status"] == "error"]
    assert len(failed) == 1 and all(row["latest"] and "expected at most 2" in row["reason"] for row in failed)
    assert all(one["age_s"] > two["age_s"] >= 0 for one in good for two in failed)
    pytest.importorskip("prometheus_client")
    shown = run.invoke(cli, ["export", "openmetrics"]).stdout.splitlines()
    assert [line.rpartition(" ")[2] for line in shown if line.startswith("lmbench_case_ok{")] == ["0.0"]
    assert sum(line.startswith("lmbench_case_failure{") for line in shown) == 1
