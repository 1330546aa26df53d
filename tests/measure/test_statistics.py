"""Percentiles against numpy and their rule, the arithmetic of tokens, ratios over ceilings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.measure.ceilings import Ceilings
from lmbench.measure.statistics import distribution, itl_s, needed_samples, percentile, ratio_interval, tpot_s
from lmbench.measure.utilization import mbu, mfu, resource_metrics

CEILINGS = Ceilings(matmul_flops={"fp32": 1e11}, memory_bytes_per_s=1e10, measured_at="2026-01-01T00:00:00+00:00")


@pytest.mark.parametrize(("q", "needed"), [(50, 5), (90, 29), (95, 59), (99, 299), (10, 29)])
def test_a_percentile_needs_this_many_samples(q: float, needed: int) -> None:
    assert needed_samples(q) == needed
    assert percentile([1.0] * (needed - 1), q) == (None, f"{needed - 1} samples; p{q:g} needs {needed}")
    assert percentile([1.0] * needed, q) == (1.0, "")


@given(st.integers(50, 99))
def test_the_rule_is_a_95_percent_upper_bound(q: int) -> None:
    n = needed_samples(q)
    assert 1 - (q / 100) ** n >= 0.95
    assert 1 - (q / 100) ** (n - 1) < 0.95


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=299, max_size=310), st.sampled_from([50, 90, 95, 99]))
def test_percentiles_are_numpys(samples: list[float], q: int) -> None:
    value, reason = percentile(samples, q)
    assert reason == ""
    assert value == float(np.percentile(samples, q))
    assert min(samples) <= value <= max(samples)


@pytest.mark.parametrize("q", [0, 100, -1, 200])
def test_a_percentile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], q)


def test_a_distribution_has_every_metric_with_count_and_reason() -> None:
    found = {entry.name: entry for entry in distribution("latency", [0.1] * 30)}
    assert list(found) == ["latency_mean_s", "latency_p50_s", "latency_p90_s", "latency_p95_s", "latency_p99_s"]
    assert found["latency_mean_s"].value == pytest.approx(0.1)
    assert found["latency_p90_s"].value == pytest.approx(0.1)
    assert found["latency_p95_s"].value is None
    assert found["latency_p95_s"].reason == "30 samples; p95 needs 59"
    assert {entry.n for entry in found.values()} == {30}


def test_an_empty_distribution_is_reasons_only() -> None:
    assert [entry.value for entry in distribution("step", [])] == [None] * 5


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=50))
def test_tpot_is_the_mean_of_the_gaps(gaps: list[float]) -> None:
    times = [0.5]
    for gap in gaps:
        times.append(times[-1] + gap)
    value = tpot_s(ttft_s=times[0], latency_s=times[-1], tokens=len(times))
    assert value == pytest.approx(math.fsum(itl_s(times)) / len(gaps))


def test_one_token_has_neither_tpot_nor_gaps() -> None:
    assert tpot_s(ttft_s=0.1, latency_s=0.1, tokens=1) is None
    assert itl_s([0.1]) == []


def test_utilization_is_work_over_time_over_ceiling() -> None:
    assert mfu(5e10, 1.0, "fp32", CEILINGS).value == pytest.approx(0.5)
    assert mbu(2e9, 2.0, CEILINGS).value == pytest.approx(0.1)


@given(st.floats(1e-3, 1e15), st.floats(1e-6, 1e3))
def test_utilization_is_never_above_one(work: float, seconds: float) -> None:
    for entry in (mfu(work, seconds, "fp32", CEILINGS), mbu(work, seconds, CEILINGS)):
        if entry.value is None:
            assert "lmbench ceilings --refresh" in entry.reason
        else:
            assert 0 <= entry.value <= 1


def test_what_is_not_known_is_none_with_a_reason() -> None:
    assert mfu(1.0, 1.0, "fp32", None).reason.endswith("run `lmbench ceilings`")
    assert mfu(1.0, 1.0, "int8", CEILINGS).reason == "no measured matmul ceiling for int8"
    assert mfu(None, 1.0, "fp32", CEILINGS).reason == "the model's FLOPs are not known"
    assert mbu(None, 1.0, CEILINGS).value is None
    assert mbu(1.0, 0.0, CEILINGS).value is None
    assert mbu(1.0, 1.0, Ceilings(matmul_flops={}, memory_bytes_per_s=None, measured_at="")).value is None


def test_resource_metrics_come_from_a_summary() -> None:
    summary = {
        "window": {"wall_s": 2.0, "samples": 40},
        "totals": {"cpu_s": 3.0},
        "energy": {"total_j": 10.0, "covers": ["package"], "reason": ""},
    }
    rounds = {"total_j": 8.0, "covers": ["gpu0"], "reason": "package: no counter"}
    found = {entry.name: entry for entry in resource_metrics(summary, cpus=2.0, work=rounds, tokens=5)}
    assert found["cpu_utilization"].value == pytest.approx(0.75)
    assert found["energy_j"].value == 10.0
    assert found["energy_per_token_j"].value == pytest.approx(1.6)
    assert (found["energy_j"].reason, found["energy_per_token_j"].reason) == (
        "covers package (the whole machine's)",
        "covers gpu0",
    )
    uncounted = {entry.name: entry for entry in resource_metrics(summary, cpus=2.0)}["energy_per_token_j"]
    assert (uncounted.value, uncounted.reason) == (None, "this workload has no timed rounds whose tokens were counted")
    unknown = resource_metrics(summary, cpus=2.0, work={"total_j": None, "covers": [], "reason": "no counter"}, tokens=5)[-1]
    assert (unknown.value, unknown.reason) == (None, "no counter")


def test_resource_metrics_without_samples_are_reasons() -> None:
    found = resource_metrics({"window": None, "problem": "the sampler was never started"}, cpus=2.0)
    assert [entry.value for entry in found] == [None, None, None]
    assert [entry.reason for entry in found[:2]] == ["the sampler was never started"] * 2


def test_the_interval_of_a_ratio_covers_the_truth_and_pairs_that_move_together_make_it_narrow() -> None:
    rng = np.random.default_rng(1)
    covered, widths = 0, []
    for _ in range(400):
        host = rng.lognormal(0.0, 0.3, size=12)  # what slows both samples of a pair alike
        top, bottom = (host * mean * rng.lognormal(0.0, 0.03, size=12) for mean in (0.8, 1.0))
        low, high = ratio_interval(list(top), list(bottom)) or (math.nan, math.nan)
        covered += low <= 0.8 <= high
        widths.append(high - low)
    assert 0.91 <= covered / 400 <= 0.99
    assert np.median(widths) < 0.1, "unpaired samples that vary by 30 % would leave half of the ratio open"
    assert ratio_interval([1.0, 2.0], [1.0, 2.0]) is None
    assert ratio_interval([2.0] * 3, [1.0] * 3) == (2.0, 2.0)
