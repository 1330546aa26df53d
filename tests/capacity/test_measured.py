"""Records into replicas: what is known of an option, how sure a back-test is, what is missing and said to be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import gamma

from lmbench.base.errors import SubjectError
from lmbench.capacity.matching import Source
from lmbench.capacity.measured import replica
from lmbench.capacity.nouns import ERROR_RATE, OLDER_RUNS, OTHER_RATES
from lmbench.capacity.plan_file import Option
from lmbench.capacity.promised import fewest, quantile_of, share_of, steady
from lmbench.capacity.stressed import backtests, stress_run
from lmbench.record.record import Record
from tests.capacity.records import GIB, record, sources, stress

OPTION = Option(model="gpt")


@pytest.fixture(scope="module")
def known() -> list[Source]:
    return sources()


def test_everything_the_records_know_is_in_the_replica(known: list[Source]) -> None:
    found = replica("fp32", OPTION, known)
    assert (found.option, found.slots, found.machine_class) == ("fp32", 1, "m")
    assert found.mean_service_s == pytest.approx(0.01, rel=0.05)
    assert found.rates == tuple(sorted(found.rates))
    assert len(found.rates) >= 4
    assert (found.prompt_tokens, found.output_tokens) == (32.0, 2.0)
    assert (found.weights_bytes, found.state_bytes_per_token, found.memory_bytes) == (GIB, 4096.0, 16 * GIB)
    assert (found.cold_start_s, found.perplexity_ratio) == (3.0, 1.0)
    assert found.joules_per_token is None
    assert "energy_per_token_j" in found.reasons["joules_per_token"]
    # Two prompt lengths: 32 tokens take 5 ms, 64 take 10 ms, so a token takes 0.156 ms and nothing is fixed.
    assert found.scaling["prompt_s_per_token"] == pytest.approx(0.005 / 32)
    assert found.scaling["fixed_s"] == pytest.approx(0, abs=1e-9)
    assert len(found.sources) == 4


@pytest.mark.parametrize(("scv", "workers"), [(0.0, 1), (0.25, 1), (1.0, 1), (0.25, 3)])
def test_held_out_rates_below_the_knee_are_predicted(scv: float, workers: int) -> None:
    one = stress(scv=scv, workers=workers, start=20.0 * workers)
    found = replica("fp32", OPTION, [Source(record=one)])
    assert found.slots == workers
    tests = found.backtests
    assert len(tests) >= 3
    assert all(test.below_knee and test.requests >= 30 for test in tests)
    assert max(abs(test.error) for test in tests) < 0.2, [(test.rate, test.error) for test in tests]


def test_an_endpoint_s_slots_are_fitted() -> None:
    """Only latencies are seen of it; three slots of 10 ms are found from how latency grows."""
    one = stress(workers=3, scv=0.05, start=60.0, kind="endpoint")
    columns = {**one.details["requests"], "started": one.details["requests"]["sent"]}
    one = replace(one, details={**one.details, "requests": columns})
    found = replica("served", OPTION, [Source(record=one)])
    assert found.slots == 3
    assert "fitted" in found.reasons["slots"]
    assert found.mean_service_s == pytest.approx(0.01, rel=0.15)
    assert max(abs(test.error) for test in found.backtests) < 0.2


def test_a_client_that_was_late_is_told(known: list[Source]) -> None:
    one = known[0].record
    assert replica("fp32", OPTION, known).late_client_s is None
    columns = one.details["requests"]
    late = {**columns, "sent": [moment + 0.004 for moment in columns["scheduled"]]}
    found = replica("fp32", OPTION, [Source(record=replace(one, details={**one.details, "requests": late}))])
    assert found.late_client_s == pytest.approx(0.004)


def test_the_newest_record_of_each_workload_counts(known: list[Source]) -> None:
    newer = record("memory", "none", {}, {"peak_rss_bytes": 7.0}, at="2026-02-01T00:00:00+00:00")
    failed = replace(newer, status="error", started_at="2026-03-01T00:00:00+00:00")
    quick = replace(newer, mode="once", started_at="2026-03-01T00:00:00+00:00")
    found = replica("fp32", OPTION, [*known, *(Source(record=one) for one in (newer, failed, quick))])
    assert found.peak_rss_bytes == 7.0
    assert found.state_bytes_per_token is None


@pytest.mark.parametrize(
    "option",
    [
        Option(model="other"),
        Option(model="gpt", backend="onnxruntime"),
        Option(model="gpt", compression="bf16"),
        Option(model="gpt", machine_class="x"),
    ],
)
def test_an_option_without_records_says_what_there_is(option: Option, known: list[Source]) -> None:
    with pytest.raises(SubjectError, match=r"found no stored stress record of .*there are: gpt / torch / none"):
        replica("fp32", option, known)
    assert replica("by kind", Option(model="decoder"), known).option == "by kind"


def test_a_wrong_model_of_the_service_shows_in_the_back_test() -> None:
    """A service that slows down with load is no queue of one slot with these times: the error says so."""
    one = stress(scv=0.25)
    steps = [row["index"] for row in one.details["steps"]]
    columns = {name: list(values) for name, values in one.details["requests"].items()}
    for place, step in enumerate(columns["step"]):
        late = columns["finished"][place]
        if late is not None:
            columns["finished"][place] = late + 0.004 * steps.index(step)
            columns["started"][place] = columns["scheduled"][place]
    found = replica("odd", OPTION, [Source(record=replace(one, details={**one.details, "requests": columns}))])
    assert max(abs(test.error) for test in found.backtests) > 0.2


def test_few_requests_or_few_rates_give_no_back_test(known: list[Source]) -> None:
    del known
    short = stress(start=0.2, growth=1.2)  # at most a hundred requests in all
    assert all(test.requests >= 30 for test in replica("few", OPTION, [Source(record=short)]).backtests)
    one = stress_run(short)
    assert backtests(replace(one, steps=one.steps[:2])) == []


def columns(one: Record, **changed: Any) -> Record:
    """The record with columns of its requests made anew: each a function of (value, step)."""
    found = {name: list(values) for name, values in one.details["requests"].items()}
    for name, change in changed.items():
        found[name] = [change(value, step) for value, step in zip(found[name], found["step"], strict=True)]
    return replace(one, details={**one.details, "requests": found})


def test_time_per_token_and_failures_are_those_below_the_knee() -> None:
    """The second of two tokens comes after half of a gamma service time of 10 ms; each fortieth request fails."""
    run = stress_run(stress(fails_each=40))
    found, why = steady([run])
    ended = sum(step.ended for step in run.below_knee)
    truth = gamma.ppf(0.95, 4, scale=0.0025) / 2
    tpot, errors = found["tpot p95"], found["error_rate"]
    assert tpot.value == pytest.approx(truth, rel=0.03)
    assert tpot.low < truth < tpot.high < 1.1 * tpot.low
    assert tpot.n + round(errors.value * ended) == errors.n == ended
    assert errors.low < 1 / 40 < errors.high < 1 / 20
    assert errors.value == pytest.approx(1 / 40, rel=0.02)
    assert not why
    assert steady([stress_run(stress())])[0]["error_rate"].high == pytest.approx(1 - 0.025 ** (1 / ended), rel=0.05)


def test_of_an_endpoint_the_highest_rate_below_the_knee_tells_the_time_per_token() -> None:
    run = stress_run(stress())
    highest = run.below_knee[-1]
    (index,) = [row["index"] for row in run.record.details["steps"] if row["offered_rate"] == highest.rate]
    slower = columns(run.record, finished=lambda end, step: end if end is None or step != index else end + 0.1)
    served = replace(slower, case=replace(slower.case, model=replace(slower.case.model, kind="endpoint")))
    assert steady([stress_run(slower)])[0]["tpot p50"].value < 0.02
    unfavourable = steady([stress_run(served)])[0]["tpot p50"]
    assert unfavourable.low > 0.1
    assert unfavourable.n == len(highest.latency_s)


def test_what_the_requests_cannot_tell_is_not_told_and_says_why() -> None:
    found, why = steady([stress_run(columns(stress(), tokens=lambda tokens, _: min(tokens, 1)))])
    assert set(found) == {ERROR_RATE}
    assert "no request has two tokens" in why["tpot p95"]
    few, said = steady([stress_run(stress(start=0.2, growth=1.2))])
    assert "tpot p50" in few and "tpot p99" not in few
    assert "cannot tell p99: that takes 368" in said["tpot p99"]
    broken = stress(start=200.0)
    nothing, reasons = steady([stress_run(broken)])
    assert not stress_run(broken).below_knee
    assert not nothing and ERROR_RATE in reasons


@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.99])
def test_the_interval_of_a_quantile_takes_enough_requests(share: float) -> None:
    enough = fewest(share)
    times = np.random.default_rng(0).random(enough).tolist()
    found = quantile_of([times], share)
    assert found is not None
    assert found.high == max(times)
    assert quantile_of([times[1:]], share) is None


def test_the_interval_of_a_quantile_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [quantile_of([rng.exponential(size=300).tolist()], 0.9) for _ in range(1000)]
    held = [one is not None and one.low <= -np.log(0.1) <= one.high for one in found]
    assert 0.94 < np.mean(held) < 0.98


def test_intervals_hold_every_run() -> None:
    calm, slow = [1.0] * 1000, [1.3] * 1000
    found = quantile_of([calm, slow], 0.95)
    assert found is not None
    assert (found.low, found.high) == (1.0, 1.3)
    assert share_of([(0, 1000), (10, 100)]).high == pytest.approx(0.1)
    assert share_of([(0, 1000)]).high == pytest.approx(1 - 0.025 ** (1 / 1000))


@pytest.fixture(scope="module")
def seven() -> list[Source]:
    """Runs of one case, a tenth slower each month; between them another subject, another case and a machine of another class."""
    months = [stress(mean_s=0.01 + 0.001 * month, at=f"2026-{month + 1:02}-01") for month in range(7)]
    last = months[-1]
    other = replace(last, case=replace(last.case, params={**last.case.params, "prompt_tokens": 64}), started_at="2026-06-15")
    strange = [other, replace(last, machine_class="x", started_at="2026-06-16"), stress("bf16", at="2026-06-17")]
    return [Source(record=one) for one in [*months, *strange, months[3]]]


def test_the_newest_runs_of_the_same_case_are_pooled_run_by_run(seven: list[Source]) -> None:
    found = replica("fp32", OPTION, seven)
    assert [np.mean(run) for run in found.service_s] == pytest.approx([0.012, 0.013, 0.014, 0.015, 0.016], rel=0.03)
    assert found.mean_service_s == pytest.approx(0.014, rel=0.03)
    assert found.slowest_service_s == pytest.approx(0.016, rel=0.03)
    assert [len(run) for run in found.first_token_s] == [len(run) for run in found.service_s]
    assert len(found.sources) == len(set(found.sources)) == 5
    assert found.steady["tpot p50"].high >= np.median(found.service_s[-1]) / 2 * 0.999
    alone = replica("fp32", OPTION, seven[:1])
    assert len(alone.service_s) == 1


def test_the_newest_run_is_predicted_from_the_older_ones_alone(seven: list[Source]) -> None:
    found = replica("fp32", OPTION, seven).backtests
    own, older = ([test for test in found if test.source == source] for source in (OTHER_RATES, OLDER_RUNS))
    assert {test.rate for test in own} >= {test.rate for test in older[:3]}
    assert max(abs(test.error) for test in own) < 0.2
    # 13.5 ms of service against 16 ms: the newest run is slower than the older ones let expect.
    assert all(test.error < -0.1 for test in older)
    assert not [test for test in replica("fp32", OPTION, seven[:1]).backtests if test.source == OLDER_RUNS]


def test_older_runs_without_a_steady_rate_are_left_out(seven: list[Source]) -> None:
    broken = columns(seven[5].record, status=lambda *_: "failed")
    found = replica("fp32", OPTION, [Source(record=broken), seven[6]])
    assert len(found.service_s) == 1
