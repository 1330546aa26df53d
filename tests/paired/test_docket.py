"""What becomes of pairs: looks, failures, budgets, floors, explanations; made-up numbers, no process."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lmbench.compare.paired import LOOKS
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, INCONCLUSIVE, MISSING, NEW, OK, REGRESSED
from lmbench.paired.cost import Cost, affordable, updated
from lmbench.paired.docket import ROUND_UNIT, Docket, explain
from lmbench.paired.numbers import BASE, HEAD, CasePair, Job
from lmbench.plan.case import Case, Choice

PLAIN = "test_a.py::test_x"


def case(workload: str = "memory", **gate: float) -> Case:
    choice = Choice(name="m", kind="fake")
    return Case(
        suite="a.suite.yaml",
        name="c",
        workload=workload,
        params={},
        model=choice,
        backend=choice,
        compression=choice,
        corpus={},
        gate=gate,
    )


def pair(node_id: str, ratio: float, name: str = "round_p50_s", base: float = 1.0, **more: object) -> CasePair:
    numbers = {"log_ratios": {name: math.log(ratio)}, "base": {name: base}, "head": {name: base * ratio}}
    return CasePair(node_id=node_id, **numbers, **more)  # type: ignore[arg-type]


def plain_docket() -> Docket:
    return Docket([(Job(node_id=PLAIN), ROUND_UNIT)], tolerance=0.05)


def test_a_case_is_judged_at_looks_only_and_closed_once_decided() -> None:
    docket = plain_docket()
    for number, ratio in enumerate(np.linspace(0.999, 1.001, LOOKS[0])):
        assert docket.open() and not docket.verdicts(), number
        docket.add(pair(PLAIN, float(ratio)))
    assert not docket.open()
    assert [one.outcome for one in docket.verdicts()] == [OK]


def test_what_is_never_decided_is_inconclusive_after_the_last_look() -> None:
    docket, rng = plain_docket(), np.random.default_rng(0)
    while docket.open():
        docket.add(pair(PLAIN, float(np.exp(rng.normal(0.03, 0.2)))))
    (verdict,) = docket.verdicts()
    assert verdict.outcome == INCONCLUSIVE and verdict.evidence is not None
    assert verdict.evidence.pairs == LOOKS[-1]


@pytest.mark.parametrize(
    ("side", "absent", "failure", "outcome"),
    [
        (HEAD, False, "head: crashed", ERROR),
        (BASE, False, "the base tree cannot be collected", INCOMPARABLE),
        (BASE, True, "the base tree does not have this case", NEW),
        (BASE, True, "the case is declared differently in the base", INCOMPARABLE),
        (HEAD, True, "the base has this case and the head does not any more", MISSING),
        ("", False, "both fell", ERROR),
    ],
)
def test_a_failure_closes_its_case_with_a_verdict_on_the_whole(side: str, absent: bool, failure: str, outcome: str) -> None:
    docket = plain_docket()
    docket.add(CasePair(node_id=PLAIN, side=side, absent=absent, failure=failure))
    assert not docket.open()
    assert [(one.metric, one.outcome, one.why) for one in docket.verdicts()] == [(None, outcome, failure)]


def test_closing_early_judges_what_there_is_and_says_why() -> None:
    docket = plain_docket()
    for ratio in (1.0, 1.3, 0.8, 1.1, 1.2):
        docket.add(pair(PLAIN, ratio))
    docket.close(lambda entry: f"the budget ended after {len(entry.pairs)} of {entry.following_look} pairs")
    (verdict,) = docket.verdicts()
    assert verdict.outcome == INCONCLUSIVE and verdict.cut_short
    assert verdict.why.endswith("the budget ended after 5 of 8 pairs")
    untouched = plain_docket()
    untouched.close(lambda _: "interrupted")
    assert [(one.outcome, one.cut_short) for one in untouched.verdicts()] == [(INCONCLUSIVE, True)]


def test_what_few_pairs_decide_all_the_same_is_not_cut_short() -> None:
    docket = plain_docket()
    for ratio in (1.0, 1.0, 1.0, 1.0, 1.0):
        docket.add(pair(PLAIN, ratio))
    docket.close(lambda _: "the budget ended")
    assert [(one.outcome, one.cut_short) for one in docket.verdicts()] == [(OK, False)]


def test_after_the_last_look_nothing_is_cut_short() -> None:
    docket, rng = plain_docket(), np.random.default_rng(0)
    while docket.open():
        docket.add(pair(PLAIN, float(np.exp(rng.normal(0.03, 0.2)))))
    docket.close(lambda _: "the budget ended")
    assert [(one.outcome, one.cut_short) for one in docket.verdicts()] == [(INCONCLUSIVE, False)]


def test_memory_that_grows_within_its_floor_is_ok() -> None:
    job = Job(node_id=case().node_id, case=case())
    for base, outcome in ((50e6, OK), (5e9, REGRESSED)):
        docket = Docket([(job, "pair of whole runs")], tolerance=0.05)
        for ratio in np.linspace(1.0999, 1.1001, LOOKS[0]):
            docket.add(pair(job.node_id, float(ratio), "peak_rss_bytes", base))
        assert [one.outcome for one in docket.verdicts()] == [outcome]


def test_a_metric_that_does_not_decide_is_shown_and_never_fails() -> None:
    job = Job(node_id=case("latency").node_id, case=case("latency"))
    docket = Docket([(job, ROUND_UNIT)], tolerance=0.05)
    for ratio in np.linspace(1.1999, 1.2001, LOOKS[0]):
        one = {"prefill_p50_s": math.log(float(ratio)), "latency_p50_s": 0.0}
        same = dict.fromkeys(one, 1.0)
        docket.add(CasePair(node_id=job.node_id, log_ratios=one, base=same, head=same))
    found = {one.metric: one for one in docket.verdicts()}
    assert found["latency_p50_s"].outcome == OK and found["latency_p50_s"].limit is not None
    assert found["prefill_p50_s"].outcome == INCONCLUSIVE and found["prefill_p50_s"].limit is None
    assert "only reported" in found["prefill_p50_s"].why


def test_cpu_time_decides_only_where_one_thread_worked() -> None:
    for parallel, name in ((False, "round_cpu_p50_s"), (True, "round_p50_s")):
        docket = plain_docket()
        for ratio in np.linspace(1.0999, 1.1001, LOOKS[0]):
            both = {"round_p50_s": math.log(float(ratio)), "round_cpu_p50_s": math.log(float(ratio))}
            same = dict.fromkeys(both, 1.0)
            docket.add(CasePair(node_id=PLAIN, log_ratios=both, base=same, head=same, clock="cpu", parallel=parallel))
        assert [one.metric for one in docket.verdicts() if one.limit is not None] == [name]


def test_the_explanation_names_cpu_time_and_switches() -> None:
    text = explain([pair(PLAIN, 1.2, cpu_log_ratio=math.log(1.01), switches=(0.5, 4.0))], "round_p50_s")
    assert text == "CPU time +1.0 %, involuntary switches per round 0.5 -> 4.0"
    assert explain([pair(PLAIN, 1.2)], "round_p50_s") == ""


def test_a_budget_goes_to_the_widest_intervals_and_hopeless_cases_come_last() -> None:
    cost = Cost(start_s=2.0, cases={"a": 10.0, "b": 10.0, "c": 10.0})
    undecided = {"a": 1.2, "b": math.inf, "c": 3.0}
    assert affordable(undecided, cost, pairs=8, left_s=None) == ("a", "b", "c")
    assert affordable(undecided, cost, pairs=8, left_s=8 * 12.0) == ("c",)
    assert affordable(undecided, cost, pairs=8, left_s=8 * 22.0) == ("a", "c")
    assert affordable(undecided, cost, pairs=8, left_s=8 * 11.0) == ()


def test_a_prediction_is_corrected_by_what_pairs_took() -> None:
    cost = updated(Cost(start_s=9.0, cases={"a": 1.0, "b": 1.0}), {"a": [3.0, 5.0]}, [1.0, 2.0])
    assert cost.pair_s(["a", "b"]) == 1.5 + 4.0 + 1.0
    assert cost.bounds_s(["a"]) == (8 * 5.5, 32 * 5.5)
    assert cost.pair_s([]) == 0
