"""The bottleneck is named from its evidence, the most disqualifying one first."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from lmbench.load.bottleneck import classify, late_client
from lmbench.load.evidence import Evidence

BASE = Evidence(
    broke=True,
    sender_lag_p99_s=0.0001,
    median_latency_s=0.1,
    cpu_utilization=0.3,
    worker_utilization=0.3,
    queue_depth_end=20,
    failed=0,
    good=50,
    requests=100,
    workers=1,
    service_over_slo=0.2,
)
GIB = 2.0**30
LADDER = (
    ("client", {"sender_lag_p99_s": 0.02}, "20.00 ms late"),
    ("client", {"loop_lag_p99_s": 0.02}, "event loop was up to 20.00 ms late"),
    ("client", {"client_cpu_utilization": 0.93}, "headroom 7%"),
    ("not reached", {"broke": False}, "held at every rate"),
    ("queue limit", {"rejected": 40, "queue_limit": 16}, "40 of 50 bad requests were turned away by a full queue of 16"),
    ("errors", {"failed": 40}, "40 of 50 bad requests failed"),
    ("stolen cpu", {"stolen_share": 0.1}, "10% of the CPUs"),
    ("cpu quota", {"throttled_share": 0.3}, "30% of the time"),
    ("memory", {"rss_bytes": 3.9 * GIB, "memory_limit_bytes": 4 * GIB}, "3.9 GiB of 4 GiB"),
    ("memory", {"swap_bytes": GIB}, "1 GiB were swapped"),
    ("memory", {"memory_stall_share": 0.2}, "waited for memory 20% of the time"),
    ("service time", {"service_over_slo": 1.4}, "1.40 times the latency objective"),
    ("memory bandwidth", {"bandwidth_utilization": 0.85}, "85% of this machine's measured bandwidth"),
    ("gpu memory", {"gpu_memory_bytes": 23.5 * GIB, "gpu_memory_limit_bytes": 24 * GIB, "gpu_utilization": 0.5}, "busy 50%"),
    ("gpu", {"gpu_utilization": 0.97}, "busy 97%"),
    ("cpu", {"cpu_utilization": 0.95}, "used 95% of its CPUs while 20 requests waited"),
    ("server cpu", {"server_cpu_utilization": 0.9}, "used 90% of their CPUs"),
    ("batcher", {"batch_fill": 0.97}, "97% full"),
    ("queue (workers)", {"worker_utilization": 0.97}, "busy 97% of the time"),
)
"""Resource, what shows it, and a part of the sentence, in the order of the rules."""


@pytest.mark.parametrize(("resource", "shown", "sentence"), LADDER, ids=[f"{row[0]} {next(iter(row[1]))}" for row in LADDER])
def test_the_resource_follows_from_the_evidence(resource: str, shown: dict[str, float], sentence: str) -> None:
    found = classify(replace(BASE, **shown))  # type: ignore[arg-type]
    assert found.resource == resource
    assert sentence in found.because
    assert found.recommendation


@pytest.mark.parametrize("place", range(len(LADDER) - 1))
def test_of_two_causes_the_one_that_voids_the_other_is_named(place: int) -> None:
    resource, shown, _ = LADDER[place]
    for _, others, _ in LADDER[place + 1 :]:
        both = replace(BASE, **{**others, **shown})  # type: ignore[arg-type]
        assert classify(both).resource == resource


def test_nothing_saturated_is_unclear() -> None:
    assert classify(BASE).resource == "unclear"
    assert classify(replace(BASE, cpu_utilization=None, worker_utilization=None)).resource == "unclear"


def test_what_is_not_known_is_never_a_cause() -> None:
    optional = [field.name for field in fields(Evidence) if field.default is None]
    assert len(optional) >= 14
    assert classify(replace(BASE, **dict.fromkeys(optional))) == classify(BASE)  # type: ignore[arg-type]


def test_a_busy_gpu_with_full_memory_is_named_for_its_compute() -> None:
    full = replace(BASE, gpu_memory_bytes=24 * GIB, gpu_memory_limit_bytes=24 * GIB, gpu_utilization=0.98)
    assert classify(full).resource == "gpu"


def test_full_batches_without_a_queue_are_no_bottleneck() -> None:
    assert classify(replace(BASE, batch_fill=1.0, queue_depth_end=0)).resource == "unclear"


def test_a_client_is_late_beyond_a_tenth_of_the_median() -> None:
    assert late_client(0.011, 0.1)
    assert not late_client(0.009, 0.1)
    assert not late_client(1.0, None)


def test_a_server_that_queues_is_seen_from_outside() -> None:
    waiting = replace(BASE, cpu_utilization=None, worker_utilization=None, server_cpu_utilization=0.6, in_flight=9.0)
    found = classify(replace(waiting, latency_over_unloaded=8.0))
    assert found.resource == "queue (server)"
    assert "9.0 requests were open" in found.because and "8.0 times as long" in found.because and "60%" in found.because
    assert classify(replace(waiting, latency_over_unloaded=1.2)).resource == "unclear", "many open, and none of them waits"
    assert classify(replace(waiting, latency_over_unloaded=8.0, server_cpu_utilization=0.95)).resource == "server cpu"
