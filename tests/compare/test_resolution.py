"""What a run could tell apart decides beside the tolerance: falls on a ladder, bounds, gates that are finer than a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lmbench.compare.judging import compare_case, suspects
from lmbench.compare.resolution import DECLARED, resolution_of
from lmbench.compare.verdicts import IMPROVED, INCONCLUSIVE, OK, REGRESSED, Verdict
from lmbench.paired.docket import Docket
from lmbench.paired.numbers import Job
from lmbench.paired.runs import RUN_UNIT, _numbers
from lmbench.record.record import Record
from tests.report.synthetic import case, record, with_values

RATE = "max_sustainable_rate"
WITHIN = 2 ** (1 / 8) - 1
"""The last step of a bisection from a doubling that has to come within 10 %."""


def searched(rate: float, step: float | None = WITHIN, **gate: float) -> Record:
    """A run of the shipped search, whose parameters also hold the default `growth` of 1.5 that it ignores."""
    of_case = case("stress", gate=gate, params={"growth": 1.5, "shape": "search 2.. for 10s each, within 10%"})
    source = with_values(record("stress", case=of_case), **{RATE: rate})
    return replace(source, details={**source.details, "resolution": {RATE: step}})


def paired(base: Record, head: Record, pairs: int = 8) -> Verdict:
    docket = Docket([(Job(node_id=head.case.node_id, case=head.case), RUN_UNIT)], tolerance=0.05)
    for _ in range(pairs):
        docket.add(_numbers(head.case.node_id, base, head, 1.0))
    return next(one for one in docket.verdicts() if one.metric == RATE)


def single(base: Record, head: Record, stored: int = 5) -> Verdict:
    found = compare_case(head, [base] * stored, [head, head])
    return next(one for one in found if one.metric == RATE)


@pytest.mark.parametrize(
    ("fall", "outcome"), [(0.0, OK), (0.05, OK), (0.2, REGRESSED), (0.3, REGRESSED), (0.5, REGRESSED), (-0.3, IMPROVED)]
)
def test_falls_of_the_shipped_search_are_judged_by_what_it_resolves(fall: float, outcome: str) -> None:
    verdict = paired(searched(32.0), searched(32.0 * (1 - fall)))
    assert verdict.outcome == outcome, verdict.why
    assert verdict.tolerance == pytest.approx(WITHIN)
    assert "a run resolves 9.05 %" in verdict.why, "what widens the default tolerance is said"


def test_a_fall_of_ten_percent_is_not_ok() -> None:
    assert paired(searched(32.0), searched(28.8)).outcome == REGRESSED


@pytest.mark.parametrize(("fall", "outcome"), [(0.0, INCONCLUSIVE), (0.08, INCONCLUSIVE), (0.3, REGRESSED)])
def test_a_gate_finer_than_a_run_is_never_widened(fall: float, outcome: str) -> None:
    base, head = searched(32.0, **{RATE: 0.02}), searched(32.0 * (1 - fall), **{RATE: 0.02})
    found = [paired(base, head), single(base, head)]
    assert [one.outcome for one in found] == [outcome, outcome], [one.why for one in found]
    if outcome == INCONCLUSIVE:
        assert all("within the resolution: a run resolves 9.05 %" in one.why and "tolerates 2 %" in one.why for one in found)


def test_more_pairs_are_not_run_for_what_no_number_of_them_decides() -> None:
    docket = Docket([(Job(node_id="x", case=searched(1.0, **{RATE: 0.02}).case), RUN_UNIT)], tolerance=0.05)
    one = searched(32.0, **{RATE: 0.02})
    for _ in range(8):
        docket.add(replace(_numbers("x", one, one, 1.0), log_ratios={RATE: 0.0}))
    assert not [entry for entry in docket.open() if entry.job.node_id == "x"]


@pytest.mark.parametrize("judge", [paired, single])
def test_a_gate_that_a_run_can_resolve_is_obeyed(judge: Any) -> None:
    base = searched(32.0, **{RATE: 0.6})
    assert judge(base, searched(32.0 * 0.8, **{RATE: 0.6})).outcome == OK if judge is paired else True
    assert judge(base, searched(32.0 * 0.5, **{RATE: 0.6})).outcome == REGRESSED


@pytest.mark.parametrize("judge", [paired, single])
def test_a_rate_that_no_run_broke_is_only_a_bound(judge: Any) -> None:
    """At least 64 and at least 64: nobody knows which is lower."""
    same = judge(searched(64.0, None), searched(64.0, None))
    assert same.outcome == INCONCLUSIVE and "only a lower bound" in same.why
    assert judge(searched(64.0), searched(32.0, None)).outcome == INCONCLUSIVE
    assert judge(searched(64.0, None), searched(32.0)).outcome == REGRESSED, "it held 64 at least, and now breaks at 35"


def test_one_rung_of_a_ladder_may_be_chance_and_two_are_not() -> None:
    base, one, two = (replace_step(with_values(record("stress"), **{RATE: 27.0 / 1.5**k}), 0.5) for k in range(3))
    assert single(base, one).outcome == INCONCLUSIVE and not suspects(one, [base] * 5)
    assert single(base, two).outcome == REGRESSED
    assert paired(base, one).outcome == OK and "a run resolves 50 %" in paired(base, one).why
    assert paired(base, two).outcome == REGRESSED


def replace_step(source: Record, step: float) -> Record:
    return replace(source, details={**source.details, "resolution": {RATE: step}})


def test_older_records_have_their_bracket_and_the_oldest_their_declaration() -> None:
    ladder = record("stress")
    bracket = replace(ladder, details={**ladder.details, "limit": {"low": 10.0, "high": 11.0, "rate": 10.0}})
    assert resolution_of(bracket, RATE).step == pytest.approx(0.1) and resolution_of(bracket, RATE).recorded
    assert resolution_of(ladder, RATE).step == pytest.approx(0.5)
    assert resolution_of(replace(searched(1.0), details={}), RATE).step == pytest.approx(0.1), "the shape's, not growth"
    old = replace(searched(32.0), details={})
    verdict = paired(old, replace(searched(25.0), details={}))
    assert verdict.outcome == REGRESSED and paired(old, old).outcome == OK
    assert DECLARED in paired(old, old).why
    assert resolution_of(ladder, "latency_p50_s").step == 0
