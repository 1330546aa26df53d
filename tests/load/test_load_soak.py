"""A planted leak is found, a clean run raises none, and what cannot be told is not told."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.load.requests import COMPLETED, Request, RequestLog
from lmbench.load.soak import DRIFT, LEAK, NO_DRIFT, NO_LEAK, UNRESOLVED, drift, leak
from lmbench.measure.series import Pair

MIB = 2**20
RATE = 10.0
LENGTH_S = 600.0


def memory(seed: int, *, leak_bytes: float = 0.0, warm_s: float = 40.0, length_s: float = LENGTH_S) -> list[Pair]:
    """One sample per second: warm-up that levels off, three arenas of some MiB that come and go, page noise, and a leak."""
    rng = np.random.default_rng([seed, int(length_s)])
    moments = np.arange(0.0, length_s)
    values = 500 * MIB + 80 * MIB * (1 - np.exp(-moments / warm_s)) + leak_bytes * RATE * moments
    for _ in range(3):
        switches = np.cumsum(rng.exponential(40.0, size=int(length_s)))
        values += 4 * MIB * (0.5 + rng.random()) * (np.searchsorted(switches, moments) % 2)
    values += rng.normal(0, 0.2 * MIB, len(moments))
    return [(float(moment), float(round(value / 4096) * 4096)) for moment, value in zip(moments, values, strict=True)]


def logs(seed: int = 0, *, length_s: float = LENGTH_S, per_hour: float = 0.0, settle_s: float = 0.0) -> list[RequestLog]:
    """Requests at the rate, latencies around 100 ms with a long tail, drifting by a share per hour."""
    rng = np.random.default_rng([seed, 5])
    moments = np.arange(0.0, length_s, 1 / RATE)
    latency = 0.1 * rng.lognormal(0, 0.4, len(moments)) * (1 + per_hour * moments / 3600)
    if settle_s:
        latency *= 1 + np.exp(-moments / settle_s)
    return [
        RequestLog(
            request=Request(index=place, step=0, scheduled_s=moment, sent_s=moment),
            status=COMPLETED,
            started_s=moment,
            finished_s=moment + wait,
        )
        for place, (moment, wait) in enumerate(zip(moments.tolist(), latency.tolist(), strict=True))
    ]


REQUESTS = logs()


def test_a_leak_of_one_megabyte_per_hundred_requests_is_found() -> None:
    found = [leak(memory(seed, leak_bytes=10_000), REQUESTS) for seed in range(40)]
    assert sum(one.verdict == LEAK for one in found) >= 36
    middle = np.median([one.per_request for one in found if one.per_request is not None])
    assert middle == pytest.approx(1e4, rel=0.15)
    assert "keeps growing" in found[0].reason


def test_clean_runs_raise_no_leak() -> None:
    found = [leak(memory(seed), REQUESTS) for seed in range(200)]
    assert sum(one.verdict == LEAK for one in found) <= 10
    covered = sum(one.low is not None and one.high is not None and one.low <= 0 <= one.high for one in found)
    assert covered >= 170


def test_no_leak_states_the_smallest_it_could_have_seen() -> None:
    found = leak(memory(0), REQUESTS)
    assert found.verdict == NO_LEAK
    assert found.smallest_per_request is not None
    assert 1e2 < found.smallest_per_request < 3e4
    assert found.reason.endswith("MB would have shown")


def test_a_flat_series_has_no_leak() -> None:
    found = leak([(float(moment), 5e8) for moment in range(600)], REQUESTS)
    assert found.verdict == NO_LEAK
    assert found.bytes_per_s == pytest.approx(0.0, abs=1e-3)


def test_growth_that_levels_off_late_is_not_called_a_leak() -> None:
    smooth = [(float(moment), 500 * MIB + 200 * MIB * (1 - np.exp(-moment / 90))) for moment in range(600)]
    found = leak(smooth, REQUESTS)
    assert found.verdict != LEAK


def test_one_step_up_is_not_a_leak() -> None:
    noise = np.random.default_rng(4).normal(0, MIB / 4, 600)
    stepped = [(float(moment), 500 * MIB + (30 * MIB if moment > 430 else 0) + noise[moment]) for moment in range(600)]
    assert leak(stepped, REQUESTS).verdict == NO_LEAK


def test_short_and_sparse_runs_are_unresolved() -> None:
    sparse = leak(memory(0)[::20], REQUESTS)
    assert (sparse.verdict, sparse.bytes_per_s) == (UNRESOLVED, None)
    assert "too few samples of memory: 30, a slope needs 90" in sparse.reason
    quick = leak([(0.1 * place, 5e8) for place in range(200)], REQUESTS)
    assert "too short: 19.9 s" in quick.reason


def test_without_requests_the_slope_is_per_second_only() -> None:
    found = leak(memory(1, leak_bytes=20_000), [])
    assert found.verdict == LEAK
    assert found.bytes_per_s == pytest.approx(2e5, rel=0.3)
    assert found.per_request is None


@pytest.mark.parametrize("per_hour", [2.0, -2.0])
def test_a_drift_of_latency_is_found_in_both_directions(per_hour: float) -> None:
    found = [drift(logs(seed, per_hour=per_hour)) for seed in range(10)]
    assert sum(one.verdict == DRIFT for one in found) >= 7
    assert all(one.verdict != NO_DRIFT for one in found)
    assert all(one.per_hour is not None and one.per_hour * per_hour > 0 for one in found)


def test_steady_latencies_do_not_drift() -> None:
    found = [drift(logs(seed)) for seed in range(30)]
    assert sum(one.verdict != NO_DRIFT for one in found) <= 3


def test_latencies_that_settle_are_not_called_a_drift() -> None:
    assert sum(drift(logs(seed, settle_s=50.0)).verdict == DRIFT for seed in range(10)) <= 2
    assert drift([]).reason == "too few completed requests: 0, a slope needs 90"
