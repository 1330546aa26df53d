"""Back to normal is measured against the time before the spike, and not being back has a reason."""

from __future__ import annotations

import numpy as np
import pytest

from lmbench.load.recovery import Recovery, after_spike
from lmbench.load.requests import COMPLETED, FAILED, REJECTED, Request, RequestLog
from lmbench.load.shapes import HOLD, RECOVERY, SPIKE, Step
from tests.load.queues import finish_moments, poisson_moments

SERVICE_S = 0.1


def steps(*parts: tuple[str, float, float]) -> list[Step]:
    """Steps of (kind, rate, seconds), one after the other."""
    found: list[Step] = []
    for kind, rate, length in parts:
        start = found[-1].end_s if found else 0.0
        found.append(Step(index=len(found), kind=kind, rate=rate, start_s=start, duration_s=length))
    return found


def served(plan: list[Step], seed: int = 0, *, failing: tuple[float, float] = (-1.0, -1.0)) -> list[RequestLog]:
    """Logs of one server with 0.1 s of service; requests scheduled in `failing` fail."""
    rng = np.random.default_rng(seed)
    arrivals = np.concatenate([step.start_s + poisson_moments(step.rate, step.duration_s, rng) for step in plan])
    ends = finish_moments(arrivals, np.full(len(arrivals), SERVICE_S), 1)
    return [
        RequestLog(
            request=Request(index=place, step=0, scheduled_s=moment, sent_s=moment),
            status=FAILED if failing[0] <= moment < failing[1] else COMPLETED,
            started_s=end - SERVICE_S,
            finished_s=end,
        )
        for place, (moment, end) in enumerate(zip(arrivals.tolist(), ends.tolist(), strict=True))
    ]


PLAN = steps((HOLD, 5, 60), (SPIKE, 20, 10), (RECOVERY, 5, 60))


@pytest.mark.parametrize("seed", range(5))
def test_recovery_takes_as_long_as_the_backlog_needs(seed: int) -> None:
    # Ten seconds at twice the capacity leave 100 requests, which go at 10 - 5 per second: 20 s.
    found = after_spike(served(PLAN, seed), PLAN)
    assert found.reason == ""
    assert found.seconds is not None
    assert 12 <= found.seconds <= 30
    assert found.latency_back_s is not None
    assert found.in_flight_back_s is not None
    assert found.seconds >= max(found.latency_back_s, found.in_flight_back_s)


def test_a_spike_that_changed_nothing_is_recovered_from_at_once() -> None:
    plan = steps((HOLD, 5, 60), (SPIKE, 5, 5), (RECOVERY, 5, 60))
    found = after_spike(served(plan, 1), plan)
    assert found.seconds is not None
    assert found.seconds <= 2


def test_a_service_that_stays_slow_is_not_back() -> None:
    plan = steps((HOLD, 5, 60), (SPIKE, 20, 30), (RECOVERY, 9, 20))
    found = after_spike(served(plan), plan)
    assert found.seconds is None
    assert found.reason.startswith("not back within 20 s: median latency at the end ")
    assert "requests in flight" in found.reason


def test_failures_after_the_spike_are_not_a_recovery() -> None:
    found = after_spike(served(PLAN, failing=(70.0, 130.0)), PLAN)
    assert found.seconds is None
    assert found.latency_back_s is None
    assert found.in_flight_back_s is not None


def test_a_rejected_request_was_never_in_flight_and_an_open_one_stays() -> None:
    logs = served(PLAN, 2)
    rejected = RequestLog(request=Request(index=0, step=0, scheduled_s=75.0, sent_s=75.0), status=REJECTED)
    one_more = after_spike([*logs, rejected], PLAN)
    assert one_more.in_flight_back_s == after_spike(logs, PLAN).in_flight_back_s
    stuck = [RequestLog(request=Request(index=k, step=0, scheduled_s=69.0, sent_s=69.0)) for k in range(50)]
    assert after_spike([*logs, *stuck], PLAN).in_flight_back_s is None


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (steps((HOLD, 5, 60)), "found 0 spikes; expected one"),
        (steps((SPIKE, 20, 10), (RECOVERY, 5, 60)), "no hold before the spike"),
        (steps((HOLD, 5, 60), (SPIKE, 20, 10)), "no step after the spike"),
        (steps((HOLD, 5, 3), (SPIKE, 20, 10), (RECOVERY, 5, 60)), "too short"),
    ],
)
def test_what_cannot_be_told_has_a_reason(plan: list[Step], reason: str) -> None:
    found = after_spike(served(plan), plan)
    assert found.seconds is None
    assert reason in found.reason


def test_no_normal_state_before_the_spike() -> None:
    found = after_spike(served(PLAN, failing=(0.0, 60.0)), PLAN)
    assert found == Recovery(seconds=None, reason=found.reason)
    assert "failed before the spike" in found.reason
