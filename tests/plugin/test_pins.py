"""Objectives that a suite leaves open are those of the first stored run, until they are derived anew on purpose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.plugin.conftest import Runner, write

SUITE = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  ramp:
    workload: stress
    prompt_tokens: 4
    output_tokens: 2
    max_steps: 2
    step_s: 0.1
    recovery_s: 0.1
    resolution: 5
"""


def objectives(pytester: pytest.Pytester) -> dict[str, dict[str, Any]]:
    """Of the newest stored run."""
    path = max((pytester.path / "baselines").glob("*/*/*.json"), key=lambda path: path.name)
    (bench,) = json.loads(path.read_text())["benchmarks"]
    found: dict[str, dict[str, Any]] = bench["extra_info"]["lmbench"]["details"]["objectives"]
    return found


def test_later_runs_use_the_objectives_of_the_first_stored_one(bench: Runner, pytester: pytest.Pytester) -> None:
    write(pytester, SUITE)
    bench("a.suite.yaml", "--benchmark-autosave").assert_outcomes(passed=1)
    first = objectives(pytester)
    assert (first["slo.latency_s"]["source"], first["start_rate"]["source"]) == ("derived", "derived")

    result = bench("a.suite.yaml", "--benchmark-autosave")
    second = objectives(pytester)
    for name in ("slo.latency_s", "start_rate"):
        assert second[name]["value"] == first[name]["value"] and second[name]["source"] == "pinned"
        assert second[name]["run"].startswith("0001_")
    printed = " ".join(result.stdout.str().split())
    assert "pinned from run 0001_" in printed and "--lmbench-repin derives them anew" in printed

    bench("a.suite.yaml", "--benchmark-autosave", "--lmbench-repin", "--benchmark-compare")
    third = objectives(pytester)
    assert third["slo.latency_s"]["source"] == "derived" and third["slo.latency_s"]["value"] != first["slo.latency_s"]["value"]
    said = json.loads((pytester.path / "reports" / "verdicts.json").read_text())
    found = {one["metric"]: one for one in said["verdicts"]}
    assert {found[name]["outcome"] for name in ("latency_mean_s", None)} == {"incomparable"}, "the metric, and so the case"
    assert "other objectives: slo.latency_s" in found["latency_mean_s"]["why"]
    for kind in ("md", "html"):
        (report,) = (pytester.path / "reports").glob(f"*.{kind}")
        text = report.read_text()
        assert "other objectives" in text and "derived from this run" in text, kind

    bench("a.suite.yaml", "--benchmark-autosave")
    fourth = objectives(pytester)
    assert fourth["slo.latency_s"]["value"] == third["slo.latency_s"]["value"] and fourth["slo.latency_s"]["run"].startswith(
        "0003_"
    )
