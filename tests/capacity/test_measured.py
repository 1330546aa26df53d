"""Records into replicas: what is known of an option, how sure a back-test is, what is missing and said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lmbench.base.errors import SubjectError
from lmbench.capacity.measured import Source, backtests, replica
from lmbench.capacity.plan_file import Option
from tests.capacity.records import GIB, record, sources, stress

OPTION = Option(model="gpt")


@pytest.fixture(scope="module")
def known() -> list[Source]:
    return sources()


def test_everything_the_records_know_is_in_the_replica(known: list[Source]) -> None:
    found = replica("fp32", OPTION, known)
    assert (found.option, found.slots, found.machine_class) == ("fp32", 1, "m")
    assert np.mean(found.service_s) == pytest.approx(0.01, rel=0.05)
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
    assert np.mean(found.service_s) == pytest.approx(0.01, rel=0.15)
    assert max(abs(test.error) for test in found.backtests) < 0.2


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
    assert backtests(short, []) == []
