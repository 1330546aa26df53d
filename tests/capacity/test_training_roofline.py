"""Training plans and rooflines from records whose numbers are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmbench.base.errors import SubjectError
from lmbench.capacity.roofline import BANDWIDTH, COMPUTE, roofline
from lmbench.capacity.training import training_plan
from lmbench.measure.ceilings import Ceilings
from lmbench.record.record import Record
from tests.capacity.records import record

CEILINGS = Ceilings(matmul_flops={"fp32": 1e11}, memory_bytes_per_s=1e10, measured_at="now")


def training(**changes: float) -> Record:
    metrics = {"trained_tokens_per_s": 1000.0, "parameters": 1e6, "mfu": 0.25} | changes
    return record("training_step", "none", {"batch": 8}, metrics, series={"step": (0.5, 0.6, 0.4, 0.5)})


def test_time_energy_and_cost_follow_from_the_rate() -> None:
    found = training_plan(training(), 7.2e6, machines=4, efficiency=0.5, price_per_hour=3.0, busy_w=200.0)
    assert found.tokens_per_s == 2000.0
    assert found.time_s == 3600.0
    assert found.machine_hours == 4.0
    assert found.cost == 12.0
    assert found.energy_j == 200 * 3600 * 4
    assert found.flops == pytest.approx(6 * 1e6 * 7.2e6)
    assert found.time_interval_s[0] < found.time_s < found.time_interval_s[1]
    assert any("given, not measured" in note for note in found.notes)
    alone = training_plan(training(), 1e6)
    assert (alone.cost, alone.energy_j, alone.machines) == (None, None, 1)
    assert not any("given" in note for note in alone.notes)


def test_a_record_without_a_rate_is_refused() -> None:
    for broken in (replace(training(), series={}), replace(training(), metrics={}), replace(training(), mode="once")):
        with pytest.raises(SubjectError, match="run its training_step case in full"):
            training_plan(broken, 1e6)


def test_a_prefill_is_bound_by_compute_and_a_decode_step_by_bandwidth() -> None:
    metrics = {"prefill_p50_s": 0.01, "decode_p50_s": 0.001, "mfu": 0.5, "mbu": 0.4, "weights_bytes": 4e6}
    one = record("latency", "none", {"batch": 1}, metrics, subject={"facts": {"parameters": 1_000_000}})
    prefill, decode = roofline(one, CEILINGS)
    # 4 MB in 10 ms at 10 GB/s is 4 % of the bandwidth; 2 MFLOP in 1 ms at 100 GFLOP/s 2 % of the compute.
    assert (prefill.bound, decode.bound) == (COMPUTE, BANDWIDTH)
    assert prefill.bandwidth_share == pytest.approx(0.04)
    assert decode.compute_share == pytest.approx(0.02)
    assert (prefill.distance, decode.distance) == (2.0, 2.5)


def test_without_ceilings_only_the_record_s_own_shares_are_known() -> None:
    one = record("scoring", "none", {}, {"latency_p50_s": 0.1, "mfu": 0.2, "weights_bytes": 4e6})
    (point,) = roofline(one, None)
    assert (point.compute_share, point.bandwidth_share, point.bound) == (0.2, None, None)
    assert point.distance == pytest.approx(5.0)
    assert "lmbench ceilings" in point.reason
    assert roofline(replace(one, status="error"), CEILINGS) == []
    assert roofline(record("memory", "none", {}, {}), CEILINGS) == []
    (unknown,) = roofline(record("scoring", "none", {}, {"latency_p50_s": 0.1}), None)
    assert unknown.distance is None
