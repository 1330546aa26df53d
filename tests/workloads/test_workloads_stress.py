"""stress: exact in virtual time through the simulated target, and once for real with threads, where only states count."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmbench.load.climb import Route, climb
from lmbench.load.requests import Request
from lmbench.load.shapes import Ramp
from lmbench.load.simulated import ServiceTime, Simulated
from lmbench.load.steps import summarize
from lmbench.measure.clock import CLOCK, ManualClock
from lmbench.measure.measurement import Measurement
from lmbench.measure.phases import measure_rounds
from lmbench.suite.params import Budget, Slo, StressParams
from lmbench.workloads import stress
from lmbench.workloads.stress import objective, ramp_of
from lmbench.workloads.stress_result import Outcome, measurement
from tests.workloads.virtual import make

RAMP = Ramp(start_rate=25.0, growth=1.5, max_steps=8, step_s=20.0, recovery_s=20.0)


def virtual(
    service: ServiceTime, *, ramp: Ramp = RAMP, slo: Slo | None = None, cpu: float = 0.0, lag_s: float = 0.0
) -> Measurement:
    """A stress measurement of a simulated target on a ManualClock; the sender is late by `lag_s` each time."""
    clock = LateClock(lag_s)
    promise = slo or Slo(latency_s=0.05)
    rounds = measure_rounds(
        lambda: clock.advance(0.01),
        budget=Budget(min_rounds=5, max_rounds=5, max_time_s=1, min_warmup_rounds=6, max_warmup_s=1),
        clock=clock,
    )
    route = Route(ramp=ramp, slo=promise, seed=1, drain_s=30.0, cpu_s=lambda: cpu * clock.now())
    started = clock.now()
    result = climb(route, Simulated(service, clock), clock)
    outcome = Outcome(
        climb=result,
        steps=summarize(result, promise, workers=1, cpus=2),
        slo=promise,
        ramp=ramp,
        workers=1,
        started_s=started,
        unloaded_s=0.01,
        closed_loop=rounds,
    )
    return measurement(outcome, ())


class LateClock(ManualClock):
    """Wakes up late: what a sender without a core of its own sees."""

    def __init__(self, lag_s: float) -> None:
        super().__init__(50.0)
        self.lag_s = lag_s

    def sleep_until(self, moment: float) -> None:
        super().sleep_until(moment + self.lag_s if self.lag_s else moment)


def hundredth(request: Request) -> float:
    del request
    return 0.01


def number(found: Measurement, name: str) -> float:
    value = found.metrics[name].value
    assert value is not None, found.metrics[name].reason
    return value


def test_a_server_of_a_hundred_per_second_breaks_below_a_hundred() -> None:
    found = virtual(hundredth, slo=Slo(latency_s=0.2), cpu=0.9)
    rates = [step["rate"] for step in found.details["steps"] if step["kind"] == "ramp"]
    assert rates == pytest.approx([25.0 * 1.5**k for k in range(len(rates))])
    assert number(found, "max_sustainable_rate") == rates[-2]
    assert found.details["sustainable"]["resolved"]
    met = [step["slo_met"] for step in found.details["steps"]]
    assert met[: len(rates)] == [True] * (len(rates) - 1) + [False]
    assert number(found, "achieved_rate") == pytest.approx(100, rel=0.02)
    assert number(found, "offered_rate") > 100
    assert number(found, "service_p50_s") == pytest.approx(0.01)
    assert number(found, "latency_p95_s") > number(found, "service_p95_s")
    assert number(found, "ttft_mean_s") == pytest.approx(number(found, "latency_mean_s") - 0.005)
    assert 0 < number(found, "recovery_s") < 20
    assert number(found, "errors") == 0
    assert number(found, "sender_lag_p99_s") == 0
    assert number(found, "cpu_utilization") == pytest.approx(0.45)
    assert found.details["bottleneck"]["resource"] == "queue (workers)"
    assert found.details["bottleneck"]["evidence"]["worker_utilization"] == pytest.approx(1, abs=0.03)
    assert len(found.series["latency"]) == found.details["steps"][found.details["shown_step"]]["completed"]
    (note,) = found.notes
    assert note.startswith(f"the SLO broke at {rates[-1]:.4g} requests/s; bottleneck: queue (workers): ")
    assert "raise workers" in note


def test_every_request_is_in_the_details_and_all_of_it_is_json() -> None:
    found = virtual(hundredth)
    json.dumps(dict(found.details), allow_nan=False)
    columns = found.details["requests"]
    assert {len(values) for values in columns.values()} == {found.details["accounts"]["sent"]}
    assert found.details["accounts"]["sent"] == sum(step["sent"] for step in found.details["steps"])
    assert columns["scheduled"] == sorted(columns["scheduled"])
    assert 0 <= columns["scheduled"][0] < 1
    for scheduled, sent, first, finished in zip(
        columns["scheduled"], columns["sent"], columns["first_token"], columns["finished"], strict=True
    ):
        assert scheduled <= sent < first < finished


def test_a_busy_processor_is_named() -> None:
    assert virtual(hundredth, cpu=1.9).details["bottleneck"]["resource"] == "cpu"


def test_a_ramp_that_never_breaks_gives_a_lower_bound() -> None:
    found = virtual(lambda _: 0.0001, ramp=Ramp(start_rate=25.0, growth=1.5, max_steps=3, step_s=5.0, recovery_s=5.0))
    assert number(found, "max_sustainable_rate") == 25.0 * 1.5**2
    assert not found.details["sustainable"]["resolved"]
    assert any("at least" in note for note in found.notes)
    assert found.metrics["recovery_s"].value is None
    assert "never broke" in found.metrics["recovery_s"].reason
    assert found.details["bottleneck"]["resource"] == "not reached"


def test_a_first_step_that_breaks_sustains_nothing() -> None:
    found = virtual(lambda _: 0.1)
    for name in ("max_sustainable_rate", "goodput_requests_per_s", "requests_per_s"):
        assert found.metrics[name].value is None
        assert "first step" in found.metrics[name].reason
    assert found.metrics["recovery_s"].value is None
    assert found.details["bottleneck"]["resource"] == "service time"
    assert found.series["latency"]


def test_a_late_client_voids_the_latencies() -> None:
    found = virtual(hundredth, lag_s=0.004)
    assert any("invalid because the client was late" in note for note in found.notes)
    assert found.details["bottleneck"]["resource"] == "client"


def test_failures_are_counted_and_named() -> None:
    found = virtual(lambda request: -0.001 if request.index % 3 == 0 else 0.001)
    assert number(found, "errors") == found.details["accounts"]["failed"] > 0
    assert found.details["bottleneck"]["resource"] == "errors"
    assert found.details["steps"][0]["errors"] == ["the simulated service failed"]


def test_when_nothing_completes_the_series_is_the_unloaded_one_and_says_so() -> None:
    found = virtual(lambda _: -0.001)
    assert found.series["latency"] == pytest.approx((0.01,) * 5)
    assert any("no request of the shown step completed" in note for note in found.notes)
    assert found.metrics["latency_mean_s"].value is None


def test_defaults_follow_the_unloaded_subject() -> None:
    params = StressParams()
    assert objective(params, 0.02) == Slo(latency_s=0.1)
    assert objective(StressParams(slo=Slo(attainment=0.9)), 0.02) == Slo(latency_s=0.1, attainment=0.9)
    assert objective(StressParams(slo=Slo(ttft_s=1.0)), 0.02) == Slo(ttft_s=1.0)
    assert ramp_of(params, 0.02, once=False).start_rate == pytest.approx(12.5)
    assert ramp_of(StressParams(workers=4), 0.02, once=False).start_rate == pytest.approx(50)
    assert ramp_of(StressParams(start_rate=3.0), 0.02, once=False).start_rate == 3.0
    assert ramp_of(params, 0.02, once=True).max_steps == 1


@pytest.mark.parametrize("params", [{}, {"workers": 2, "slo": {"latency_s": 5.0, "ttft_s": 5.0}}])
def test_the_real_target_serves_a_short_ramp(params: dict[str, Any]) -> None:
    short = {"max_steps": 2, "step_s": 0.2, "recovery_s": 0.2, "output_tokens": 3, "prompt_tokens": 8, "start_rate": 100.0}
    context, builder, said = make("stress", {**short, **params}, clock=CLOCK)
    found = stress.run(context)
    counts = found.details["accounts"]
    assert counts["sent"] == counts["completed"] > 0
    assert counts["failed"] == counts["rejected"] == 0
    assert found.series["latency"]
    assert found.details["bottleneck"]["resource"]
    assert any("step 1/2, 100.0 requests/s offered" in line for line in said)
    json.dumps(dict(found.details), allow_nan=False)
    assert builder.checks == [True]


def test_once_sends_a_handful_of_requests() -> None:
    context, _, _ = make("stress", {"output_tokens": 3}, clock=CLOCK, once=True)
    found = stress.run(context)
    assert len([step for step in found.details["steps"] if step["kind"] == "ramp"]) == 1
    assert found.details["accounts"]["sent"] < 30


def test_an_engine_that_breaks_under_load_gives_failed_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    context, _, _ = make("stress", {"max_steps": 1, "step_s": 0.1, "recovery_s": 0.1, "start_rate": 100.0}, clock=CLOCK)
    real = stress._serve

    def broken(*arguments: Any) -> Any:
        real(*arguments)

        def serve(request: Request) -> Any:
            raise RuntimeError(f"engine lost at {request.index}")

        return serve

    monkeypatch.setattr(stress, "_serve", broken)
    found = stress.run(context)
    counts = found.details["accounts"]
    assert counts["failed"] == counts["sent"] > 0
    assert found.details["bottleneck"]["resource"] == "errors"
    assert found.details["steps"][0]["errors"][0].startswith("RuntimeError: engine lost at")
