"""Contended CPUs in real sessions: the figures that the sampler would have found are put into the records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.test_plugin_run import rescale, runs

Bench = Callable[..., pytest.RunResult]
BOUND = ("--lmbench-max-contention=20%", "--lmbench-isolate=none")
FIGURES = """
import dataclasses, json, pathlib
import lmbench.plugin.confirm as confirm
import lmbench.plugin.session as session

real = session.execute
shares = iter(json.loads(pathlib.Path("shares.json").read_text()))

def execute(case, setting, progress):
    record = real(case, setting, progress)
    figure = {"share": next(shares), "source": "pressure", "others": 0.5}
    return dataclasses.replace(record, resources={**record.resources, "contention": figure})

session.execute = execute
confirm.pressure_now = lambda: 0.0
"""
STRESS = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  limit:
    workload: stress
    prompt_tokens: 4
    output_tokens: 2
    start_rate: 100
    max_steps: 2
    step_s: 0.2
    recovery_s: 0.1
    slo: {latency_s: 60}
    gate: {max_sustainable_rate: 1%}
"""


def test_contended_runs_decide_nothing_and_the_reruns_must_be_uncontended(bench: Bench, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(FIGURES)

    def session(*shares: float) -> tuple[int, str]:
        Path(pytester.path, "shares.json").write_text(json.dumps(shares))
        result = bench("--benchmark-compare=0001", *BOUND)
        return int(result.ret), " ".join(result.stdout.str().split())

    Path(pytester.path, "shares.json").write_text("[0.02]")
    bench("--benchmark-autosave", *BOUND).assert_outcomes(passed=1, deselected=1)
    rescale(runs(pytester)[0], times=1e-3, sizes=1.0)

    status, text = session(0.96, 0.96, 0.96, 0.96, 0.96)
    assert (status, "regressed" in text, "1 inconclusive" in text) == (0, False, True)
    assert (
        "inconclusive: latency_p50_s, ttft_p50_s, tpot_p50_s" in text
        and "tasks waited for a CPU 96% of the measured time" in text
    )
    assert "1 of 1 cases were measured on contended CPUs" in text

    status, text = session(0.96, 0.96, 0.02, 0.02)
    assert (status, "regressed: latency_p50_s" in text) == (1, True), "two uncontended reruns confirm it"

    contend(runs(pytester)[0], 0.96)
    rescale(runs(pytester)[0], times=1e6, sizes=1.0)
    status, text = session(0.02)
    assert (status, "1 inconclusive" in text, "no stored run was measured on uncontended CPUs" in text) == (0, True, True)


def contend(path: Path, share: float) -> None:
    """Say of a stored run that its CPUs were contended."""
    data = json.loads(path.read_text())
    for entry in data["benchmarks"]:
        entry["extra_info"]["lmbench"]["resources"]["contention"]["share"] = share
    path.write_text(json.dumps(data))


def test_a_bound_that_is_no_share_is_a_usage_error(bench: Bench) -> None:
    assert bench("--lmbench-max-contention=much", "--collect-only").ret == pytest.ExitCode.USAGE_ERROR


def test_a_rate_that_was_never_broken_is_no_ok(bench: Bench, pytester: pytest.Pytester) -> None:
    """Both runs held the highest rate of the ladder: that they are equal says nothing of the limit."""
    pytester.path.joinpath("a.suite.yaml").write_text(STRESS)
    bench("--benchmark-autosave", "--lmbench-isolate=none").assert_outcomes(passed=1)
    (entry,) = json.loads(runs(pytester)[0].read_text())["benchmarks"]
    assert entry["extra_info"]["lmbench"]["details"]["resolution"]["max_sustainable_rate"] is None
    result = bench("--benchmark-compare=0001", "--lmbench-isolate=none")
    verdicts = json.loads((pytester.path / "reports" / "verdicts.json").read_text())["verdicts"]
    (rate,) = (one for one in verdicts if one["metric"] == "max_sustainable_rate")
    assert (rate["outcome"], "only a lower bound" in rate["why"]) == ("inconclusive", True)
    assert "inconclusive: max_sustainable_rate: a run ended before the SLO broke" in " ".join(result.stdout.str().split())
