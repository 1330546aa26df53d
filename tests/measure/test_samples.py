"""The arithmetic of samples: spreads, counters at window edges, gaps, energy, damaged files."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.measure.energy import energy
from lmbench.measure.samples import Samples, gaps, parse, summary
from lmbench.measure.series import at, decimated, deltas, integral, pairs, rates, spread

MOMENTS = st.lists(st.integers(0, 100_000), min_size=2, max_size=60, unique=True).map(lambda raw: [t / 100 for t in sorted(raw)])
VALUES = st.floats(-1e9, 1e9)
HEADER = {"kind": "header", "hz": 20.0, "devices": None, "gpu_reason": "no NVIDIA driver", "reasons": {"rapl_j": "no RAPL"}}


def rows_of(moments: list[float], **columns: Any) -> list[dict[str, Any]]:
    return [{"t": t, "own_cpu_s": t / 1000, **{name: value(t) for name, value in columns.items()}} for t in moments]


@given(st.lists(VALUES, min_size=1, max_size=50))
def test_a_spread_brackets_its_mean(values: list[float]) -> None:
    found = spread([(float(i), value) for i, value in enumerate(values)])
    assert found["n"] == len(values)
    assert found["min"] == min(values)
    assert found["max"] == max(values)
    assert found["min"] <= found["mean"] <= found["max"]


@given(MOMENTS, st.floats(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_a_steady_counter_grows_by_rate_times_window(moments: list[float], rate: float, a: float, b: float) -> None:
    series = [(t, rate * t) for t in moments]
    span = moments[-1] - moments[0]
    start, end = moments[0] + min(a, b) * span, moments[0] + max(a, b) * span
    assert deltas(series, start, end) == pytest.approx(rate * (end - start), abs=1e-6 * (1 + rate) * moments[-1])


@given(MOMENTS, VALUES)
def test_the_integral_of_a_constant_is_a_rectangle(moments: list[float], height: float) -> None:
    series = [(t, height) for t in moments]
    span = moments[-1] - moments[0]
    assert integral(series, moments[0], moments[-1]) == pytest.approx(height * span, rel=1e-6, abs=1e-6)


@given(MOMENTS, st.floats(0.5, 50))
def test_rates_of_a_steady_counter_are_its_rate(moments: list[float], rate: float) -> None:
    for moment, value in rates([(t, rate * t) for t in moments]):
        assert moment in moments
        assert value == pytest.approx(rate, rel=1e-6)


@given(st.integers(1, 2000))
def test_a_timeline_never_exceeds_its_points(count: int) -> None:
    series = [(float(i), float(i)) for i in range(count)]
    found = decimated(series, 0.0)
    assert 0 < len(found) <= 120
    assert found == sorted(found)


def test_a_value_between_samples_is_interpolated() -> None:
    series = [(0.0, 0.0), (2.0, 10.0)]
    assert [at(series, t) for t in (-1.0, 0.0, 0.5, 2.0, 3.0)] == [0.0, 0.0, 2.5, 10.0, 10.0]


def test_pairs_skip_rows_without_the_quantity() -> None:
    assert pairs([{"t": 0, "x": 1}, {"t": 1}, {"t": 2, "x": None}, {"t": 3, "x": 4}], "x") == [(0.0, 1.0), (3.0, 4.0)]


@given(st.lists(st.sampled_from([1, 1, 1, 2, 3, 7]), max_size=50))
def test_gaps_count_the_samples_that_are_missing(steps: list[int]) -> None:
    moments = [0.0]
    for step in steps:
        moments.append(moments[-1] + step * 0.05)
    found = gaps(moments, 0.05)
    assert found["count"] == sum(step > 1 for step in steps)
    assert found["lost_samples"] == sum(step - 1 for step in steps)
    assert found["longest_s"] == pytest.approx(max((step * 0.05 for step in steps if step > 1), default=0.0))


def test_a_summary_cuts_its_window_out() -> None:
    moments = [i * 0.05 for i in range(41)]
    rows = rows_of(moments, cpu_s=lambda t: 1.5 * t, rss_bytes=lambda t: 1000 if t <= 1 else 9000)
    found = summary(Samples(header=HEADER, rows=rows), start=0.0, end=1.0)
    assert found["window"]["samples"] == 21
    assert found["quantities"]["rss_bytes"] == {"n": 21, "min": 1000, "mean": 1000, "max": 1000}
    assert found["totals"]["cpu_s"] == pytest.approx(1.5)
    assert found["quantities"]["cpu_cores"]["mean"] == pytest.approx(1.5)
    assert found["sampler"]["share"] == pytest.approx(0.001)
    assert found["gaps"] == {"count": 0, "longest_s": 0.0, "lost_samples": 0}
    assert found["gpu"] is None
    assert found["gpu_reason"] == "no NVIDIA driver"
    json.dumps(found, allow_nan=False)


def test_a_window_without_samples_still_has_totals() -> None:
    rows = rows_of([0.0, 10.0], cpu_s=lambda t: 2 * t, rss_bytes=lambda _: 5)
    found = summary(Samples(header=HEADER, rows=rows), start=4.0, end=5.0)
    assert found["window"]["samples"] == 0
    assert found["totals"]["cpu_s"] == pytest.approx(2.0)
    assert "rss_bytes" not in found["quantities"]


def test_energy_adds_what_is_known_and_says_what_is_not() -> None:
    header = {**HEADER, "devices": [{"index": 0}, {"index": 1}], "gpu_reason": ""}
    rows = rows_of([0.0, 1.0, 2.0], devices=lambda t: [{"energy_j": 50 * t, "power_w": 1.0}, {}])
    found = energy(header, rows, 0.5, 1.5)
    assert found["total_j"] == pytest.approx(50.0)
    assert found["covers"] == ["gpu0"]
    assert "package: no RAPL" in found["reason"]
    assert "gpu1: the device gives neither" in found["reason"]


def test_energy_of_the_package_comes_from_its_counter() -> None:
    rows = rows_of([0.0, 1.0, 2.0], rapl_j=lambda t: 30 * t)
    found = energy(HEADER, rows, 0.0, 2.0)
    assert found["total_j"] == pytest.approx(60.0)
    assert found["reason"] == "no NVIDIA driver"


def test_no_energy_source_is_none_with_reasons() -> None:
    found = energy(HEADER, rows_of([0.0, 1.0]), 0.0, 1.0)
    assert found["total_j"] is None
    assert found["reason"] == "package: no RAPL; no NVIDIA driver"


def test_a_line_cut_short_is_left_out() -> None:
    lines = [json.dumps(HEADER), '{"t":1.0,"rss_bytes":7,"own_cpu_s":0.1}', '{"t":2.0,"rss_by']
    samples = parse(lines)
    assert [row["t"] for row in samples.rows] == [1.0]
    assert "killed" in samples.problem
    assert summary(samples)["quantities"]["rss_bytes"]["n"] == 1
