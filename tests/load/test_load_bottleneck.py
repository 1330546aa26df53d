"""The bottleneck is named from its evidence, the most disqualifying one first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lmbench.load.bottleneck import Evidence, classify, late_client

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


@pytest.mark.parametrize(
    ("evidence", "resource"),
    [
        (replace(BASE, sender_lag_p99_s=0.02), "client"),
        (replace(BASE, broke=False), "not reached"),
        (replace(BASE, failed=40), "errors"),
        (replace(BASE, service_over_slo=1.4), "service time"),
        (replace(BASE, cpu_utilization=0.95, worker_utilization=1.0), "cpu"),
        (replace(BASE, cpu_utilization=0.5, worker_utilization=0.97), "queue (workers)"),
        (replace(BASE, cpu_utilization=None, worker_utilization=None), "unclear"),
        (BASE, "unclear"),
    ],
)
def test_the_resource_follows_from_the_evidence(evidence: Evidence, resource: str) -> None:
    found = classify(evidence)
    assert found.resource == resource
    assert found.because
    assert found.recommendation


def test_a_client_is_late_beyond_a_tenth_of_the_median() -> None:
    assert late_client(0.011, 0.1)
    assert not late_client(0.009, 0.1)
    assert not late_client(1.0, None)
