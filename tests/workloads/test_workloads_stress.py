"""stress: exact in virtual time through the simulated target, and once for real with threads, where only states count."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmbench.base.errors import WorkloadError
from lmbench.load.in_process import Reply
from lmbench.load.profiles import Hold, Soak, Spike
from lmbench.load.ramp import Ramp
from lmbench.load.request_log import read_request_log
from lmbench.load.requests import Request, accounts
from lmbench.load.saturation import OverSaturation
from lmbench.load.search import Search
from lmbench.measure.clock import CLOCK
from lmbench.measure.measurement import Measurement
from lmbench.measure.objectives import Pin, pinned_note
from lmbench.suite.params import Slo, StressParams
from lmbench.workloads import stress
from lmbench.workloads.stress_in_process import SubjectServing
from lmbench.workloads.stress_objectives import aims_of
from lmbench.workloads.stress_shape import require_begin, shape_of
from tests.workloads.simulated import virtual
from tests.workloads.virtual import make


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
    assert found.details["limit"]["state"] == "resolved"
    assert found.details["resolution"]["max_sustainable_rate"] == pytest.approx(0.5), "one rung of the ladder that was run"
    assert found.details["resolution"]["goodput_requests_per_s"] == pytest.approx(0.5)
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
    answer, note = found.notes
    held = number(found, "max_sustainable_rate")
    assert (
        answer
        == f"95 % of requests with whole request within 200 ms: {held:.4g} requests/s held, {rates[-1]:.4g} requests/s broke"
    )
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
    assert found.details["limit"]["state"] == "not reached"
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
    assert aims_of(params, 0.02, {}).slo == Slo(latency_s=0.1)
    assert aims_of(StressParams(slo=Slo(attainment=0.9)), 0.02, {}).slo == Slo(latency_s=0.1, attainment=0.9)
    assert aims_of(StressParams(slo=Slo(ttft_s=1.0)), 0.02, {}).slo == Slo(ttft_s=1.0)
    for asked, rate in ((params, 12.5), (StressParams(workers=4), 50.0), (StressParams(start_rate=3.0), 3.0)):
        shape = shape_of(asked, aims_of(asked, 0.02, {}).start_rate, None, once=False)
        assert isinstance(shape, Ramp) and shape.start_rate == pytest.approx(rate)
    assert shape_of(params, 12.5, None, once=True) == Hold(rate=12.5, duration_s=3 / 12.5)
    assert shape_of(StressParams(shape="soak 10 for 2h"), 0.02, None, once=False) == Soak(rate=10.0, duration_s=7200.0)


def test_two_runs_of_other_speeds_use_the_pinned_objectives() -> None:
    """The first run derives them; the second, three times as slow alone, is held to the same, and says from which run."""
    first = aims_of(StressParams(), 0.02, {})
    assert {one.name: one.source for one in first.found} == {
        "slo.latency_s": "derived",
        "slo.attainment": "suite",
        "start_rate": "derived",
    }
    pins = {one.name: Pin(value=one.value, run="0001_x") for one in first.found if one.source == "derived"}
    second = aims_of(StressParams(), 0.06, pins)
    assert (second.slo, second.start_rate) == (first.slo, first.start_rate)
    (note,) = pinned_note(second.found)
    assert note == "pinned from run 0001_x: slo.latency_s 0.1, start_rate 12.5; --lmbench-repin derives them anew"
    asked = aims_of(StressParams(slo=Slo(latency_s=0.5), start_rate=3.0), 0.06, pins)
    assert asked.slo.latency_s == 0.5 and asked.start_rate == 3.0 and {one.source for one in asked.found} == {"suite"}
    soak = shape_of(StressParams(shape="soak 10 for 2h"), 1.0, None, once=False)
    ramp = shape_of(StressParams(), 1.0, None, once=False)
    metrics = ("max_sustainable_rate", "latency_p50_s", "first_call_s", "slo_attainment")
    assert {one.metrics for one in second.bearing_on(ramp, metrics)} == {metrics[:2] + metrics[3:]}
    assert {one.metrics for one in second.bearing_on(soak, metrics)} == {("goodput_requests_per_s", "slo_attainment")}


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
    assert any("stress: ramp 1, 100 requests/s offered, " in line for line in said)
    json.dumps(dict(found.details), allow_nan=False)
    assert builder.checks == [True]


def test_the_thread_that_serves_has_built_and_measured_the_subject_too(monkeypatch: pytest.MonkeyPatch) -> None:
    context, builder, _ = make("stress", {"max_steps": 1, "step_s": 0.1, "recovery_s": 0.1, "start_rate": 100.0}, clock=CLOCK)
    seen: dict[str, set[str]] = {}

    def noted(name: str, call: Any) -> Any:
        def noting(*given: Any, **named: Any) -> Any:
            seen.setdefault(name, set()).add(threading.current_thread().name)
            return call(*given, **named)

        return noting

    monkeypatch.setattr(SubjectServing, "_generate", noted("generate", SubjectServing._generate))
    monkeypatch.setattr(type(builder), "subject", noted("subject", type(builder).subject))
    stress.run(replace(context, text=noted("text", context.text)))
    assert seen == {key: {"lmbench-worker_0"} for key in ("text", "subject", "generate")}


def test_once_sends_a_handful_of_requests() -> None:
    context, _, _ = make("stress", {"output_tokens": 3}, clock=CLOCK, once=True)
    found = stress.run(context)
    assert [step["kind"] for step in found.details["steps"]] == ["hold"]
    assert found.metrics["max_sustainable_rate"].reason.startswith("this shape does not look for a limit")
    assert found.details["accounts"]["sent"] < 30


def test_an_engine_that_breaks_under_load_gives_failed_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    context, _, _ = make("stress", {"max_steps": 1, "step_s": 0.1, "recovery_s": 0.1, "start_rate": 100.0}, clock=CLOCK)

    def broken(_: SubjectServing, batch: Sequence[Request]) -> list[Reply]:
        raise RuntimeError(f"engine lost at {batch[0].index}")

    monkeypatch.setattr(SubjectServing, "_serve", broken)
    found = stress.run(context)
    counts = found.details["accounts"]
    assert counts["failed"] == counts["sent"] > 0
    assert found.details["bottleneck"]["resource"] == "errors"
    assert found.details["steps"][0]["errors"][0].startswith("RuntimeError: engine lost at")


def test_a_search_finds_the_limit_and_says_how_sure_it_is() -> None:
    search = Search(start_rate=20.0, probe_s=60.0, max_total_s=36_000.0)
    found = virtual(hundredth, ramp=search, slo=Slo(latency_s=0.05))
    assert found.details["limit"]["state"] == "resolved"
    low, high = found.details["limit"]["low"], found.details["limit"]["high"]
    assert low <= number(found, "max_sustainable_rate") <= high <= 1.06 * low < 100
    assert number(found, "knee_rate") < 100
    assert {step["kind"] for step in found.details["steps"]} == {"probe"}


def test_a_spike_shows_the_time_to_recover() -> None:
    spike = Spike(base=20.0, peak=300.0, peak_s=5.0, around_s=60.0)
    found = virtual(hundredth, ramp=spike, slo=Slo(latency_s=0.1))
    # 5 s of 200 requests/s too many are a backlog of 1,000, which 80 requests/s of spare capacity clear in 12.5 s.
    assert number(found, "recovery_s") == pytest.approx(12.5, abs=2)
    assert found.metrics["max_sustainable_rate"].value is None
    assert [step["kind"] for step in found.details["steps"]] == ["hold", "spike", "recovery"]
    assert found.details["steps"][0]["slo_met"] and not found.details["steps"][1]["slo_met"]


def test_a_soak_speaks_of_memory_and_drift() -> None:
    found = virtual(hundredth, ramp=Soak(rate=20.0, duration_s=600.0))
    assert any(note.startswith("latency: no drift: ") for note in found.notes)
    assert any(note.startswith("memory: unresolved: ") for note in found.notes), "nothing sampled a simulated service"
    assert found.metrics["leak_bytes_per_request"].value is None
    assert abs(number(found, "latency_drift_per_h")) < 1


def test_every_request_is_in_the_log_beside_the_record(tmp_path: Path) -> None:
    short = {"shape": "steps 50, 100 for 200ms each", "output_tokens": 3, "prompt_tokens": "uniform 4..8", "batch_size": 2}
    context, _, _ = make("stress", short, clock=CLOCK, artifacts=tmp_path)
    found = stress.run(context)
    stored = read_request_log(Path(found.details["request_log"]))
    assert len(stored.logs) == found.details["accounts"]["sent"] == accounts(stored.logs).sent
    assert {log.prompt_tokens for log in stored.logs} <= set(range(4, 9)) and not stored.torn
    assert found.details["asks"]["drawn"]["prompt_tokens"]["max"] <= 8


def test_a_ramp_that_broke_by_chance_is_not_resolved() -> None:
    """97 % of requests are good at every rate: ten per step break a target of 95 % by chance alone."""
    unlucky = np.random.default_rng(0)
    ramp = Ramp(start_rate=1.0, growth=2.0, max_steps=7, step_s=10.0, recovery_s=0.0)
    found = virtual(lambda _: 0.001 if unlucky.random() < 0.9 else -0.001, ramp=ramp, slo=Slo(latency_s=1.0))
    assert found.details["limit"]["state"] == "unresolved"
    assert any("cannot tell whether that was chance" in note for note in found.notes)


def test_a_timed_out_straggler_does_not_stretch_the_rates() -> None:
    found = virtual(lambda request: -60.0 if request.index == 3 else 0.001, ramp=Hold(rate=50.0, duration_s=20.0), workers=2)
    (step,) = found.details["steps"]
    assert step["failed"] == 1 and step["achieved_rate"] == pytest.approx(step["offered_rate"], rel=0.05)
    assert number(found, "requests_per_s") == step["achieved_rate"], "a hold says what it carried"
    assert number(found, "output_tokens_per_s") == pytest.approx(2 * step["achieved_rate"])


def test_recovery_counts_from_when_a_step_was_cut() -> None:
    ramp = Ramp(start_rate=20.0, growth=10.0, max_steps=2, step_s=60.0, recovery_s=200.0)
    found = virtual(hundredth, ramp=ramp, slo=Slo(latency_s=0.5), watch=OverSaturation)
    assert found.details["steps"][1]["state"] == "aborted"
    assert 0 < number(found, "recovery_s") < 200


def test_an_interrupted_step_neither_held_nor_broke() -> None:
    moments = iter(range(1_000_000))

    def stop() -> Any:
        def look(_: Any) -> str:
            if next(moments) > 200:
                raise KeyboardInterrupt
            return ""

        return look

    found = virtual(hundredth, slo=Slo(latency_s=5.0), watch=stop, partial=True)
    assert found.details["interrupted"] and found.details["steps"][-1]["state"] == "interrupted"
    assert found.details["limit"]["state"] == "not reached"
    assert not any("the SLO broke" in note for note in found.notes)
    assert any("interrupted" in note for note in found.notes)


def test_answers_shorter_than_asked_are_told() -> None:
    assert not any("were asked for" in note for note in virtual(hundredth).notes)
    assert any("2 tokens (median) where 64 were asked for" in note for note in virtual(hundredth, asked=64).notes)


def test_a_search_without_time_for_one_probe_is_refused() -> None:
    with pytest.raises(WorkloadError, match=r"begins with 0\.1 requests/s, where a probe takes 2500 s"):
        require_begin(Search(start_rate=0.1))
    require_begin(Search(start_rate=1.0))
