"""mlperf with MLCommons' real LoadGen, for fractions of a second: verdicts with reasons, LoadGen's numbers, errors that surface."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.base.seams import FloatArray, IntArray, State
from lmbench.measure.clock import CLOCK
from lmbench.measure.measurement import Measurement
from lmbench.suite.params import MlperfParams
from lmbench.workloads import mlperf, mlperf_drive
from lmbench.workloads.mlperf_summary import parse_summary
from tests.workloads.virtual import VirtualBuilder, make

SHORT = {"min_duration_s": 0.1, "min_queries": 10, "samples": 20, "prompt_tokens": 4, "output_tokens": 3}
real = pytest.mark.skipif(importlib.util.find_spec("mlperf_loadgen") is None, reason="mlcommons-loadgen is not installed")


def measured(params: Mapping[str, Any], *, once: bool = False) -> Measurement:
    context, _, said = make("mlperf", {**SHORT, **params}, clock=CLOCK, once=once)
    found = mlperf.run(context)
    assert said[-1].startswith("mlperf: LoadGen: the ")
    json.dumps(found.details, allow_nan=False)
    return found


@real
def test_single_stream_gives_loadgens_numbers() -> None:
    found = measured({"scenario": "SingleStream"})
    details = found.details["mlperf"]
    values = {name: one.value for name, one in found.metrics.items()}
    assert details["summary"]["Scenario"] == "SingleStream"
    assert details["queries"] == details["samples"] == len(found.series["latency"]) >= 10
    assert values["latency_p50_s"] == pytest.approx(int(details["summary"]["50.00 percentile latency (ns)"]) / 1e9)
    assert values["ttft_mean_s"] == pytest.approx(int(details["summary"]["Mean First Token latency (ns)"]) / 1e9)
    assert values["tpot_mean_s"] == pytest.approx(int(details["summary"]["Mean Time per Output Token (ns)"]) / 1e9)
    assert values["requests_per_s"] == pytest.approx(float(details["summary"]["QPS w/ loadgen overhead"]))
    assert values["output_tokens_per_s"] == pytest.approx(3 * (values["requests_per_s"] or 0))
    assert (values["ttft_mean_s"] or 0) < (values["latency_mean_s"] or 0)


@real
def test_multi_stream_is_invalid_after_so_few_queries_and_says_so() -> None:
    # LoadGen wants 662 queries for its 99th percentile, and its queries end with min_queries here.
    found = measured({"scenario": "MultiStream", "min_duration_s": 0.001, "batch": 4})
    details = found.details["mlperf"]
    assert details["samples"] == 8 * details["queries"]
    assert 10 <= details["queries"] < 662
    assert not details["valid"]
    assert "Early stopping not satisfied" in details["reasons"]
    (note,) = [note for note in found.notes if note.startswith("LoadGen: the MultiStream run is INVALID: ")]
    assert "Need to process at least 662 queries for early stopping." in note
    assert found.metrics["latency_p50_s"].n == details["queries"]
    assert found.metrics["requests_per_s"].value


@real
def test_server_keeps_a_limit_on_the_latency() -> None:
    found = measured({"scenario": "Server", "target_qps": 200.0, "target_latency_s": 30.0})
    details = found.details["mlperf"]
    assert details["limits"] == {"latency_s": 30.0}
    assert details["summary"]["Performance constraints satisfied"] == "Yes"
    assert float(details["summary"]["target_qps"]) == details["qps"] == 200
    assert found.metrics["ttft_p50_s"].value is None
    assert "set ttft_s or tpot_s" in found.metrics["ttft_p50_s"].reason


@real
def test_server_keeps_limits_on_tokens_instead() -> None:
    found = measured({"scenario": "Server", "target_qps": 200.0, "ttft_s": 1e-9})
    details = found.details["mlperf"]
    assert details["limits"] == {"ttft_s": 1e-9}
    assert details["summary"]["Performance constraints satisfied"] == "NO"
    assert not details["valid"]
    assert any("TTFT" in reason for reason in details["reasons"])
    assert found.metrics["ttft_mean_s"].value is not None


@real
def test_offline_serves_everything_in_batches() -> None:
    found = measured({"scenario": "Offline", "target_qps": 100.0, "batch": 4, "min_duration_s": 0.3})
    details = found.details["mlperf"]
    assert details["queries"] == 1
    assert details["samples"] >= 30
    assert found.metrics["requests_per_s"].value == pytest.approx(float(details["summary"]["Samples per second"]))


@real
def test_a_quick_round_works_in_every_scenario() -> None:
    for scenario in ("SingleStream", "MultiStream", "Server", "Offline"):
        found = measured({"scenario": scenario, "min_duration_s": 600.0, "min_queries": 10**6}, once=True)
        assert found.details["mlperf"]["samples"] >= 1
        assert found.series["latency"]


@real
def test_one_output_token_has_no_time_per_token() -> None:
    found = measured({"scenario": "SingleStream", "output_tokens": 1})
    assert found.metrics["tpot_mean_s"].value is None
    assert found.metrics["latency_mean_s"].value is not None


class Failing:
    """The fake engine, until a forward too many."""

    def __init__(self, inner: Any, calls: int) -> None:
        self.inner, self.left = inner, calls

    def forward(self, ids: IntArray, positions: IntArray, state: State) -> tuple[FloatArray, State]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("the engine broke")
        result: tuple[FloatArray, State] = self.inner.forward(ids, positions, state)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@real
@pytest.mark.parametrize("scenario", ["SingleStream", "MultiStream", "Server", "Offline"])
@pytest.mark.parametrize("forwards", [3, 4])
def test_a_subject_that_fails_in_loadgens_hands_is_an_error(
    scenario: str, forwards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With `once` the closed loop takes one generation of three forwards; the next ones fail at a prefill or at a decode.
    context, builder, _ = make("mlperf", {**SHORT, "scenario": scenario}, clock=CLOCK, once=True)
    build = VirtualBuilder.subject

    def failing(self: VirtualBuilder, *, check: bool = True) -> Any:
        subject = build(self, check=check)
        object.__setattr__(subject, "engine", Failing(subject.engine, forwards))
        return subject

    monkeypatch.setattr(VirtualBuilder, "subject", failing)
    assert context.build is builder
    with pytest.raises(WorkloadError, match="found RuntimeError: the engine broke while LoadGen ran") as caught:
        mlperf.run(context)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_without_the_library_the_case_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlperf_drive, "find_spec", lambda _: None)
    context, builder, _ = make("mlperf", SHORT, clock=CLOCK)
    with pytest.raises(Unavailable, match=r"not installed.*pip install"):
        mlperf.run(context)
    assert builder.engine is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenario": "Offline", "ttft_s": 1.0},
        {"scenario": "Server", "ttft_s": 1.0, "target_latency_s": 1.0},
        {"scenario": "SingleStream", "target_qps": 5.0},
        {"scenario": "Server", "tpot_s": 1.0, "output_tokens": 1},
        {"scenario": "Batch"},
    ],
)
def test_parameters_that_loadgen_would_ignore_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MlperfParams.model_validate(wrong)


SUMMARY = """\
MLPerf Results Summary
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : inf
Result is : INVALID
  Performance constraints satisfied : Yes
  Min duration satisfied : NO
  Min queries satisfied : NO
  Early stopping satisfied: {early}
Recommendations:
 * Increase the target QPS so the loadgen pre-generates more queries.
 * The test exited early, before enough queries were issued.
   See the detailed log for why this may have occurred.
Early Stopping Result:
 * Run unsuccessful.
 * Would need to run at least 442 more queries,
 with the run being successful if every additional
 query were under latency.

Additional Stats
50.00 percentile latency (ns)   : 2179894
1 ERROR encountered. See detailed log.
"""


def test_a_summary_is_read_with_its_reasons() -> None:
    found = parse_summary(SUMMARY.replace("{early}", "NO"))
    assert found.reasons == (
        "Min duration not satisfied",
        "Min queries not satisfied",
        "Early stopping not satisfied",
        "Increase the target QPS so the loadgen pre-generates more queries.",
        "The test exited early, before enough queries were issued. See the detailed log for why this may have occurred.",
        "Run unsuccessful.",
        "Would need to run at least 442 more queries, with the run being successful if every additional query were under latency.",
    )
    assert found.complaints == ("1 ERROR encountered. See detailed log.",)
    assert found.rate is None, "of a single sample LoadGen says infinity"
    assert found.percentile_s("latency", 50) == pytest.approx(0.002179894)
    assert found.percentile_s("latency", 90) is None
    assert len(parse_summary(SUMMARY.replace("{early}", "Yes")).reasons) == 4
    with pytest.raises(WorkloadError, match="found no verdict"):
        parse_summary("nothing here")
