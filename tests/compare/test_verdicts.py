"""Records against stored records: which verdict each kind of metric gets, and when the run fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.catalogue import METRICS
from lmbench.base.errors import StoreError
from lmbench.base.registry import WORKLOADS
from lmbench.compare.gate import common_shift, counts, exit_fails, summary
from lmbench.compare.judging import compare_case, compare_missing, suspects
from lmbench.compare.verdicts import SEVERITY, Verdict, by_case, worst
from lmbench.record.record import Record
from tests.report.synthetic import case, failed, record, with_values

KINDS = sorted(WORKLOADS)


def outcome(verdicts: list[Verdict], metric: str | None) -> str:
    return next(verdict.outcome for verdict in verdicts if verdict.metric == metric)


def test_what_workloads_name_for_the_gate_exists_and_is_of_a_kind_that_it_can_judge() -> None:
    entries = WORKLOADS.values()
    assert {METRICS[name].kind for entry in entries for name in entry.tripwired} == {"time", "rate"}
    assert {METRICS[name].kind for entry in entries for name in entry.decided_by} == {"time", "rate", "memory"}
    assert all(set(entry.per_round) <= set(METRICS) and bool(entry.per_round) <= bool(entry.source) for entry in entries)


@pytest.mark.parametrize("workload", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_an_untouched_rerun_is_ok_everywhere(workload: str, k: int) -> None:
    stored = [record(workload, seed=seed) for seed in range(k)]
    verdicts = compare_case(stored[-1], stored)
    assert {verdict.outcome for verdict in verdicts} == {"ok"}
    assert not exit_fails(verdicts)
    assert not suspects(stored[-1], stored)


@pytest.mark.parametrize("workload", ["training_step", "latency", "throughput", "scoring", "stress"])
@settings(max_examples=20, deadline=None)
@given(k=st.integers(1, 5), factor=st.floats(2.6, 8.0))
def test_a_model_twice_as_slow_regresses_with_any_number_of_stored_runs(workload: str, k: int, factor: float) -> None:
    stored = [record(workload, seed=seed) for seed in range(k)]
    slow = record(workload, scale=factor, seed=99)
    assert suspects(slow, stored)
    assert exit_fails(compare_case(slow, stored, [slow, slow]))
    assert worst(compare_case(record(workload, scale=1 / factor), stored)) == "improved"


def test_only_central_times_fail_and_tails_are_inconclusive() -> None:
    stored = [record(seed=seed) for seed in range(5)]
    slow_tail = with_values(stored[0], itl_p99_s=1.0, first_call_s=9.0)
    verdicts = compare_case(slow_tail, stored)
    assert outcome(verdicts, "itl_p99_s") == "inconclusive"
    assert outcome(verdicts, "first_call_s") == "inconclusive"
    assert not exit_fails(verdicts)


def test_reruns_that_are_fast_take_back_the_suspicion() -> None:
    stored = [record(seed=seed) for seed in range(5)]
    slow = record(scale=3.0, seed=9)
    verdicts = compare_case(slow, stored, [record(scale=1.15, seed=10), record(scale=3.0, seed=11)])
    assert outcome(verdicts, "tpot_p50_s") == "inconclusive"
    assert not exit_fails(verdicts)
    assert "not confirmed by 2 more" in next(verdict.why for verdict in verdicts if verdict.metric == "tpot_p50_s")


def test_a_failed_rerun_does_not_count_as_a_process() -> None:
    stored = [record(seed=seed) for seed in range(5)]
    slow = record(scale=3.0, seed=9)
    assert compare_case(slow, stored, [failed()]) == compare_case(slow, stored)


def test_a_mean_stands_in_for_an_unknown_median() -> None:
    stored = [with_values(record(seed=seed), ttft_p50_s=None) for seed in range(5)]
    slow = with_values(record(seed=9), ttft_p50_s=None, ttft_mean_s=1.0)
    assert outcome(compare_case(slow, stored), "ttft_mean_s") == "regressed"
    slow_mean_known_median = with_values(record(seed=9), ttft_mean_s=1.0)
    assert outcome(compare_case(slow_mean_known_median, stored), "ttft_mean_s") == "inconclusive"


def test_a_gate_widens_the_tripwire_and_opts_metrics_in() -> None:
    gated = case(gate={"tpot_p50_s": 0.9, "first_call_s": 0.1})
    stored = [record(case=gated) for _ in range(5)]
    now = with_values(record(case=gated), tpot_p50_s=0.0041 * 1.7, first_call_s=0.3)
    verdicts = compare_case(now, stored)
    assert outcome(verdicts, "tpot_p50_s") == "inconclusive"
    assert outcome(verdicts, "first_call_s") == "regressed"


def test_exact_metrics_are_gated_tightly_in_both_directions() -> None:
    stored = [record(seed=seed) for seed in range(3)]
    assert outcome(compare_case(with_values(record(), perplexity=12.52), stored), "perplexity") == "regressed"
    assert outcome(compare_case(with_values(record(), perplexity=12.505), stored), "perplexity") == "ok"
    assert outcome(compare_case(with_values(record(), perplexity=12.4), stored), "perplexity") == "improved"
    assert outcome(compare_case(with_values(record(), weights_bytes=6.5e6), stored), "weights_bytes") == "regressed"


def test_memory_must_exceed_tolerance_and_floor() -> None:
    stored = [record("memory")]
    mib = float(1 << 20)
    base = stored[0].metrics["peak_rss_bytes"].value or 0.0
    assert outcome(compare_case(with_values(record("memory"), peak_rss_bytes=base + 7 * mib), stored), "peak_rss_bytes") == "ok"
    assert (
        outcome(compare_case(with_values(record("memory"), peak_rss_bytes=base * 1.06), stored), "peak_rss_bytes") == "regressed"
    )
    assert outcome(compare_case(with_values(record("memory"), peak_rss_bytes=base * 0.9), stored), "peak_rss_bytes") == "improved"


def test_unknown_numbers_are_said() -> None:
    stored = [record()]
    verdicts = compare_case(with_values(record(), perplexity=None, tpot_p50_s=None, peak_rss_bytes=None), stored)
    assert outcome(verdicts, "perplexity") == "error"
    assert outcome(verdicts, "tpot_p50_s") == "inconclusive"
    assert outcome(verdicts, "peak_rss_bytes") == "inconclusive"
    assert "not enough samples" in next(verdict.why for verdict in verdicts if verdict.metric == "perplexity")
    assert outcome(compare_case(record(), [with_values(record(), perplexity=None)]), "perplexity") == "new"


def test_a_metric_that_vanished_is_said() -> None:
    now = record()
    less = replace(now, metrics={name: entry for name, entry in now.metrics.items() if name != "perplexity"})
    assert outcome(compare_case(less, [record()]), "perplexity") == "error"


def test_a_zero_baseline_has_no_ratio_but_a_gate() -> None:
    gated = case("stress", gate={"errors": 0.0})
    verdicts = compare_case(with_values(record("stress", case=gated), errors=3), [record("stress", case=gated)])
    verdict = next(entry for entry in verdicts if entry.metric == "errors")
    assert (verdict.outcome, verdict.ratio) == ("regressed", None)
    assert all(entry.metric != "errors" for entry in compare_case(record("stress"), [record("stress")]))


def test_whole_case_verdicts() -> None:
    assert outcome(compare_case(record(), []), None) == "new"
    error = compare_case(failed(), [record()])
    assert [(entry.metric, entry.outcome) for entry in error] == [(None, "error")]
    assert "KL divergence" in error[0].why
    assert exit_fails(error)
    assert compare_case(record(mode="once"), [record()]) == []


def test_incomparable_says_what_changed() -> None:
    def why(now: Record) -> str:
        verdicts = compare_case(now, [record()])
        assert [entry.outcome for entry in verdicts] == ["incomparable"]
        assert not exit_fails(verdicts)
        return verdicts[0].why

    other = replace(case().model, options={"layers": 8})
    assert "model.options.layers 4 -> 8" in why(record(case=replace(case(), model=other)))
    assert "linux-x86_64-2cpu -> arm" in why(record(machine_class="arm"))
    assert "corpus changed" in why(record(corpus_digest="0"))


def test_stored_records_of_an_older_declaration_are_left_out() -> None:
    old = record(case=case(seed=7), scale=0.1)
    verdicts = compare_case(record(), [record(), old, old])
    assert {entry.outcome for entry in verdicts} == {"ok"}
    assert {entry.n_baselines for entry in verdicts} == {1}


def test_missing_cases() -> None:
    here, gone, elsewhere = "a.suite.yaml::x[m]", "a.suite.yaml::y[m]", "b.suite.yaml::z[m]"
    found = compare_missing([here, gone, elsewhere], [here], suites=["a.suite.yaml"])
    assert [(entry.node_id, entry.outcome) for entry in found] == [(gone, "missing")]
    skipped = compare_missing([here], [here], skipped={here: "needs a GPU"})
    assert "needs a GPU" in skipped[0].why
    assert not exit_fails(found)


def test_worst_first_and_counts_by_case() -> None:
    stored = [record()]
    verdicts = [*compare_case(with_values(record(), perplexity=20.0), stored), *compare_missing(["s::gone"], [])]
    assert counts(verdicts) == {"regressed": 1, "missing": 1}
    assert summary(verdicts) == "2 cases: 1 regressed, 1 missing"
    assert summary([]) == "no case was compared"
    assert list(by_case(verdicts)) == [record().case.node_id, "s::gone"]


@given(st.lists(st.sampled_from(SEVERITY), min_size=1))
def test_a_case_is_as_bad_as_its_worst_metric(outcomes: list[str]) -> None:
    verdicts = [Verdict(node_id="n", metric=str(index), outcome=found, why="") for index, found in enumerate(outcomes)]
    assert worst(verdicts) == min(outcomes, key=SEVERITY.index)
    assert exit_fails(verdicts) == bool({"error", "regressed"} & set(outcomes))


def test_a_host_that_is_slower_for_all_is_pointed_out() -> None:
    moved = []
    for index in range(6):
        one = case(name=f"case-{index}")
        moved += compare_case(record(case=one, scale=1.2), [record(case=one)])
    assert "+20.0 %" in (common_shift(moved) or "")
    assert common_shift(moved[:4]) is None


def test_verdicts_survive_json() -> None:
    for verdict in compare_case(record(scale=3.0), [record()]):
        assert Verdict.from_json(verdict.to_json()) == verdict
    with pytest.raises(StoreError, match="damaged verdict"):
        Verdict.from_json({"node_id": "x"})
    with pytest.raises(StoreError, match="damaged verdict"):
        Verdict.from_json({"node_id": "x", "metric": None, "outcome": "fine", "why": ""})
