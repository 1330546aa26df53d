"""Training plans and rooflines from records whose numbers are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError, SubjectError
from lmbench.capacity.matching import Source, absent, newest
from lmbench.capacity.plan_file import Option
from lmbench.capacity.roofline import ABOVE, BANDWIDTH, CACHED, COMPUTE, NO_CEILINGS, newest_points, roofline, roofs
from lmbench.capacity.training import HOUR_S, KAPLAN, OWN_COUNT, training_plan, training_plans
from lmbench.capacity.training_file import TrainingRequest, load_training
from lmbench.measure.measurement import metric
from lmbench.report.roofline import NOTHING, reading, reasons, roofline_json, roofline_table
from lmbench.report.roofline_chart import roofline_chart
from lmbench.report.training_plan import answer, span, training_table
from tests.capacity.records import record
from tests.capacity.roofed import WITH_ROOFS, latency, training

AGAIN = "lmbench ceilings --threads 2 --refresh"


def test_time_energy_and_cost_follow_from_the_rate() -> None:
    found = training_plan(training(), 7.2e6, machines=4, efficiency=0.5, price_per_hour=3.0, busy_w=200.0)
    assert found.tokens_per_s == 2000.0
    assert found.time_s == 3600.0
    assert found.machine_hours == 4.0
    assert found.cost == 12.0
    assert found.energy_j == 200 * 3600 * 4
    assert found.mfu == 0.125, "of all machines together"
    assert found.flops == pytest.approx(6 * 1e6 * 7.2e6)
    assert KAPLAN in found.notes
    assert found.time_interval_s[0] < found.time_s < found.time_interval_s[1]
    assert any("given, not measured" in note for note in found.notes)
    alone = training_plan(training(), 1e6)
    assert (alone.cost, alone.energy_j, alone.machines) == (None, None, 1)
    assert not any("given" in note for note in alone.notes)


def test_flops_are_the_model_s_own_count_where_the_record_holds_its_ceilings() -> None:
    # 500 tokens per step, 0.25 of 100 GFLOP/s in half a second: 25 MFLOP per token.
    found = training_plan(training(more={"details": WITH_ROOFS}), 7.2e6)
    assert found.flops == pytest.approx(25e6 * 7.2e6)
    assert OWN_COUNT in found.notes and KAPLAN not in found.notes
    autocast = training_plan(training("bf16-autocast", {"details": WITH_ROOFS}), 7.2e6)
    assert autocast.flops == pytest.approx(4 * 25e6 * 7.2e6), "its share is one of the bf16 peak"


def test_energy_is_the_measured_one_where_no_power_is_given_and_only_of_one_machine() -> None:
    one = training()
    one = replace(one, metrics={**one.metrics, "energy_per_token_j": metric("energy_per_token_j", 0.5, reason="covers package")})
    found = training_plan(one, 1e6)
    assert found.energy_j == 0.5e6
    assert any("covers package" in note for note in found.notes)
    assert training_plan(one, 1e6, busy_w=10.0).energy_j == 10.0 * 1000
    assert training_plan(one, 1e6, machines=2).energy_j is None


def test_what_a_record_warns_of_is_in_the_plan() -> None:
    warned = training(more={"notes": ("the CPUs were contended",)})
    assert training_plan(warned, 1e6).warnings == ("the CPUs were contended",)
    found = training_plans(request(options={"a": {"model": "gpt"}}), [Source(record=warned)])
    assert "its record holds warnings, see below" in answer(found)[0]
    assert "Warning: a: the CPUs were contended" in training_table(found).notes


def test_a_record_without_a_rate_is_refused() -> None:
    for broken in (replace(training(), series={}), replace(training(), metrics={}), replace(training(), mode="once")):
        with pytest.raises(SubjectError, match="run its case in full"):
            training_plan(broken, 1e6)


def request(**changes: Any) -> TrainingRequest:
    options = {
        "slow": {"model": "gpt", "price_per_hour": 1.0},
        "wide": {"model": "gpt", "price_per_hour": 1.0, "machines": 4, "efficiency": 0.5},
        "gone": {"model": "other"},
    }
    return TrainingRequest.model_validate({"tokens": 7.2e6, "options": options} | changes)


def sources() -> list[Source]:
    older = training(more={"at": "2025-01-01T00:00:00+00:00"}, trained_tokens_per_s=1.0)
    return [Source(record=training()), Source(record=older), Source(record=replace(training(), mode="once"))]


def test_options_are_planned_from_the_newest_record_and_ranked_by_cost() -> None:
    found = training_plans(request(), sources())
    assert [one.name for one in found.options] == ["slow", "wide", "gone"]
    slow, wide, gone = found.options
    assert slow.plan is not None and wide.plan is not None and gone.plan is None
    assert (slow.plan.time_s, wide.plan.time_s) == (7200.0, 3600.0)
    assert (slow.plan.cost, wide.plan.cost) == (2.0, 4.0)
    assert "no stored training_step record of other / torch / none; there are: gpt / torch / none;" in gone.refused
    assert [one.name for one in found.kept] == ["slow", "wide"]
    lead, other = answer(found)
    assert lead.startswith("Cheapest: 'slow', 2 h (") and "; fastest: 'wide', 1 h (" in lead
    assert "intervals of times do not overlap" in lead and "how 'wide' scales was given, not measured" in lead
    assert other.startswith("Not 'gone': found no stored")
    table = training_table(found)
    assert [row[:3] for row in table.rows] == [("slow", "1", "1,000"), ("wide", "4 at 50 %", "2,000")]
    assert [row[6] for row in table.rows] == ["2.00", "4.00"]
    assert table.rows[0][7:] == ("43.2 TFLOP", "25.0 %")
    assert any(
        note.startswith("slow: from 4 steps of suites/plan.suite.yaml::training_step[gpt-torch-none]") for note in table.notes
    )


def test_an_option_may_name_records_of_all_processes_of_a_machine_together() -> None:
    one = training(trained_tokens_per_s=1800.0)
    together = replace(one, case=replace(one.case, workload="data_parallel"))
    option = {"model": "gpt", "workload": "data_parallel"}
    (found,) = training_plans(request(options={"a": option}), [*sources(), Source(record=together)]).options
    assert found.plan is not None and found.plan.tokens_per_s == 1800.0
    (missing,) = training_plans(request(options={"a": option}), sources()).options
    assert "no stored data_parallel record" in missing.refused


def test_a_deadline_is_met_only_with_the_unfavourable_end_of_the_interval() -> None:
    found = training_plans(request(deadline_h=2.01), sources())
    assert [one.name for one in found.kept] == ["wide"]
    said = answer(found)
    assert said[0].startswith("Cheapest and fastest within the deadline of 2.01 h: 'wide'")
    assert any(text.startswith("Not 'slow': only by the unfavourable end of its interval it is late") for text in said)
    late = training_plans(request(deadline_h=0.5), sources())
    assert late.kept == ()
    assert answer(late)[0].startswith("No option meets the deadline of 0.5 h. The fastest is 'wide', 1 h (")
    assert training_plans(request(), []).kept == ()
    assert answer(training_plans(request(), []))[0].startswith("No option can be planned")


def test_without_prices_only_the_fastest_is_told_and_whether_it_is_clearly_so() -> None:
    options = {"a": {"model": "gpt"}, "b": {"model": "gpt", "suite": "suites/plan.suite.yaml"}}
    lead, *others = answer(training_plans(request(options=options), sources()))
    assert lead.startswith("Fastest: 'a'") and "not clearly faster than 'b'" in lead and "cost not known" in lead
    assert others == []


@given(st.floats(1.0, 1e9), st.floats(0.5, 1.0), st.floats(1.0, 2.0))
def test_a_span_has_its_ends_in_one_unit_around_it(seconds: float, low: float, high: float) -> None:
    value, unit, ends = span(seconds, (seconds * low, seconds * high)).replace(",", "").split(" ", 2)
    bottom, top = ends.strip("()").removesuffix(f" {unit}").split("..")
    assert unit in ("s", "min", "h")
    assert float(bottom) <= float(value) <= float(top)
    size = {"s": 1.0, "min": 60.0, "h": HOUR_S}[unit]
    assert float(value) * size == pytest.approx(seconds, rel=0.006)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("a: {model: gpt, machines: 4}", "found machines: 4 without efficiency"),
        ("a: {model: gpt, machines: 4, efficiency: 1.5}", "1.5"),
        ("a: {model: gpt, efficiency: 0.9}", "found efficiency: 0.9 of one machine"),
        ("a: {backend: torch}", "the key 'model'"),
        ("a: {model: gpt, prize_per_hour: 1}", "price_per_hour"),
    ],
)
def test_faults_of_a_training_file_have_their_file_and_line(tmp_path: Path, options: str, words: str) -> None:
    path = tmp_path / "a.training.yaml"
    path.write_text(f"tokens: 1.0e9\noptions:\n  {options}\n")
    with pytest.raises(ConfigError) as caught:
        load_training(path)
    assert "a.training.yaml:3" in str(caught.value) and words in str(caught.value)
    path.write_text("tokens: 0\noptions: {a: {model: gpt}}\n")
    with pytest.raises(ConfigError, match=r"a\.training\.yaml:1"):
        load_training(path)


def test_a_case_that_an_option_names_is_the_one_that_is_used() -> None:
    fast = training(trained_tokens_per_s=5000.0)
    fast = replace(fast, case=replace(fast.case, name="accumulated"))
    both = [Source(record=training()), Source(record=fast)]
    for name, found in (("accumulated", fast), ("training_step", both[0].record)):
        chosen = newest("training_step", Option(model="decoder", case=name), both)
        assert chosen is not None and chosen.record is found
    wrong = Option(model="gpt", case="none")
    assert newest("training_step", wrong, both) is None
    assert "none from case none; there are: accumulated: gpt / torch / none; training_step: gpt" in absent(
        "training_step", wrong, both
    )


def test_a_prefill_is_bound_by_compute_and_a_decode_step_by_bandwidth() -> None:
    prefill, decode = roofline(latency())
    # 4 MB in 10 ms at 10 GB/s is 4 % of the bandwidth; half of 100 GFLOP/s for 10 ms over 100 tokens is 5 MFLOP for each, which
    # in 1 ms is 5 % of the compute.
    assert (prefill.bound, decode.bound) == (COMPUTE, BANDWIDTH)
    assert prefill.bandwidth_share == pytest.approx(0.04)
    assert decode.compute_share == pytest.approx(0.05)
    assert (prefill.distance, decode.distance) == (2.0, 2.5)
    assert prefill.flops == pytest.approx(5e8) and prefill.bytes == 4e6
    assert decode.flops == pytest.approx(5e6) and decode.bytes == pytest.approx(4e6)
    assert prefill.intensity == pytest.approx(125) and prefill.flops_per_s == pytest.approx(5e10)
    assert (prefill.least_flops, prefill.least_bytes) == (False, True)
    assert (decode.least_flops, decode.least_bytes) == (True, False)
    assert not prefill.most_distance and not decode.most_distance
    assert prefill.reasons == decode.reasons == ()


def test_shares_are_of_the_peak_of_the_weights_own_type() -> None:
    bf16 = {"lineage": {"weights": "bf16, fp32 scales"}, "facts": {"parameters": 1}}
    prefill, decode = roofline(latency("bf16", {"subject": bf16}))
    assert prefill.dtype == "bf16"
    assert prefill.flops == pytest.approx(0.5 * 0.01 * 4e11)
    assert decode.compute_share == pytest.approx(0.05)
    (step,) = roofline(training("bf16-autocast", {"details": WITH_ROOFS}))
    assert (step.dtype, step.peak_flops_per_s) == ("bf16", 4e11)
    int8 = {"lineage": {"weights": "int8"}}
    unknown, _ = roofline(latency("int8-dynamic", {"subject": int8}))
    assert (unknown.flops, unknown.compute_share) == (None, 0.5), "the record's own share stays"
    assert unknown.reasons == ("no compute ceiling was measured for int8",)


def test_a_training_step_reads_at_least_weights_gradients_and_optimizer_state() -> None:
    (step,) = roofline(training(more={"details": WITH_ROOFS}, gradient_bytes=4e6, optimizer_bytes=8e6))
    assert step.bytes == 16e6 and step.least_bytes
    assert step.bandwidth_share == pytest.approx(16e6 / 0.5 / 1e10)
    assert step.flops == pytest.approx(0.25 * 0.5 * 1e11) and not step.least_flops


def test_where_only_some_weights_are_read_bytes_are_not_known() -> None:
    prefill, _ = roofline(latency(more={"subject": {"facts": {"reads_all_weights": False}}}))
    assert (prefill.bytes, prefill.bandwidth_share, prefill.bound, prefill.least_bytes) == (None, None, None, False)
    assert prefill.most_distance, "of the two shares one is not known"


def test_without_ceilings_only_the_record_s_own_shares_are_known() -> None:
    one = record("scoring", "none", {}, {"latency_p50_s": 0.1, "mfu": 0.2, "weights_bytes": 4e6})
    (point,) = roofline(one)
    assert (point.compute_share, point.bandwidth_share, point.bound, point.flops) == (0.2, None, None, None)
    assert point.distance == pytest.approx(5.0)
    assert point.reasons == (NO_CEILINGS,)
    assert roofs(one) is None
    assert roofline(replace(one, status="error")) == roofline(replace(one, mode="once")) == []
    assert roofline(record("memory", "none", {}, {})) == []
    (unknown,) = roofline(record("scoring", "none", {}, {"latency_p50_s": 0.1}))
    assert unknown.distance is None


@pytest.mark.parametrize("damaged", [None, "x", {}, {"matmul_flops": 3}, {"matmul_flops": {"fp32": "fast", "bf16": -1}}])
def test_damaged_ceilings_are_none(damaged: object) -> None:
    found = roofs(latency(more={"details": {"ceilings": damaged}}))
    assert found is None or (found.flops_per_s, found.bytes_per_s) == ({}, None)


def test_a_share_above_one_and_one_that_was_refused_are_told() -> None:
    one = latency(weights_bytes=4e9, prefill_p50_s=0.2, mbu=0.9)
    refused = metric("mfu", None, reason="the ratio would be 1.30, and nothing exceeds its ceiling")
    prefill, decode = roofline(replace(one, metrics={**one.metrics, "mfu": refused}))
    assert prefill.bandwidth_share == pytest.approx(2.0)
    assert prefill.reasons == ("mfu: the ratio would be 1.30, and nothing exceeds its ceiling", CACHED.format(command=AGAIN))
    assert decode.compute_share is None and decode.most_distance
    assert decode.distance == pytest.approx(1 / 0.9)
    slow_prefill = latency(prefill_p50_s=30.0)
    assert ABOVE.format(command=AGAIN) in roofline(slow_prefill)[1].reasons


@given(
    mfu=st.floats(0.001, 1.0),
    mbu=st.floats(0.001, 1.0),
    peak=st.floats(1e9, 1e15),
    stream=st.floats(1e8, 1e13),
    times=st.tuples(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3)),
)
def test_a_point_is_under_its_roof_exactly_when_no_share_is_above_one(
    mfu: float, mbu: float, peak: float, stream: float, times: tuple[float, float]
) -> None:
    ceilings = {"matmul_flops": {"fp32": peak}, "memory_bytes_per_s": stream}
    more = {"details": {"ceilings": ceilings}}
    for point in roofline(latency(more=more, mfu=mfu, mbu=mbu, prefill_p50_s=times[0], decode_p50_s=times[1])):
        assert point.intensity is not None and point.flops_per_s is not None
        assert point.compute_share is not None and point.bandwidth_share is not None
        roof = min(peak, point.intensity * stream)
        assert point.flops_per_s / roof == pytest.approx(max(point.compute_share, point.bandwidth_share))
        assert point.distance == pytest.approx(roof / point.flops_per_s)


def test_the_newest_record_of_each_case_counts_on_each_machine_and_the_furthest_comes_first() -> None:
    old = latency(mfu=0.01, more={"at": "2025-01-01T00:00:00+00:00"})
    elsewhere = replace(latency(mfu=0.1), machine_class="z")
    points = newest_points([latency(), old, elsewhere, replace(latency(mfu=0.9), mode="once")])
    assert [(point.machine_class, point.phase) for point in points] == [
        ("z", "prefill"),
        ("m", "decode step"),
        ("z", "decode step"),
        ("m", "prefill"),
    ]
    said = reading(points)
    assert said.startswith("Furthest from its roof: prefill of latency[gpt-torch-none], 10x; nearest: prefill of latency")
    assert said.endswith("Of 4 phases: 2 nearer to compute, 2 to bandwidth, 0 not known.")
    assert reading([]) == NOTHING
    first = roofline_table(points).rows[1]
    assert first[2:7] == ("1 ms", "at least 5.0 %", "40.0 %", "bandwidth", "2.5x")
    assert roofline_json(points)[1]["bound"] == "bandwidth" and roofline_json(points)[1]["least_flops"] is True
    one = newest_points([record("scoring", "none", {}, {"latency_p50_s": 0.1, "mfu": 0.2})])
    assert roofline_table(one).rows[0][6] == "at most 5x"
    assert reasons(one) == [f"{NO_CEILINGS}: pass of scoring[gpt-torch-none]."]


def test_the_chart_has_every_placed_point_and_roof_and_nothing_of_a_name_as_markup() -> None:
    hostile = replace(latency(), case=replace(latency().case, name="<b>"))
    points = newest_points([latency(), hostile, training("bf16-autocast", {"details": WITH_ROOFS})])
    chart = str(roofline_chart("<m>", points))
    assert chart.count('<path class="mark') == len(points) + 3, "each phase has a key"
    assert chart.count('<path class="line') == 2, "one roof per number type"
    assert "bf16: 400 GFLOP/s, 10 GB/s" in chart and "fp32: 100 GFLOP/s, 10 GB/s" in chart, "titles"
    assert chart.count(">10 GB/s</text>") == 1 and ">bf16: 400 GFLOP/s</text>" in chart
    assert "<b>" not in chart and "&lt;b&gt;" in chart and "<m>" not in chart
    assert str(roofline_chart("m", newest_points([record("scoring", "none", {}, {"latency_p50_s": 0.1, "mfu": 0.2})]))) == ""
