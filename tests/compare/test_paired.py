"""The verdict on pairs: its rule, its words, and properties that hold for any numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lmbench.compare.cells import count_cells, deciding, needs_runs, tests_of, tolerance_of
from lmbench.compare.paired import MARGIN, Cell, decided, judge, visible
from lmbench.compare.verdicts import IMPROVED, INCONCLUSIVE, OK, REGRESSED, Verdict, case_outcome
from lmbench.plan.case import Case, Choice

tests_of.__test__ = False  # type: ignore[attr-defined]
ratios = st.lists(st.floats(-0.5, 0.5), min_size=8, max_size=32)


def cell(numbers: list[float], *, better: str = "lower", tolerance: float = 0.05) -> Cell:
    return Cell(
        node_id="a", metric="m", unit="s", better=better, tolerance=tolerance, log_ratios=tuple(numbers), medians=(1.0, 1.0)
    )


def around(change: float, spread: float = 0.002, n: int = 8) -> list[float]:
    return [math.log1p(change) + spread * float(step) for step in np.linspace(-1, 1, n)]


@pytest.mark.parametrize(
    ("change", "outcome", "words"),
    [
        (0.0, OK, "within the tolerated 5 %"),
        (0.03, OK, "surely worse, within the tolerated 5 %"),
        (0.10, REGRESSED, "surely worse"),
        (-0.10, IMPROVED, "surely better"),
    ],
)
def test_a_clear_change_has_a_clear_verdict(change: float, outcome: str, words: str) -> None:
    verdict = judge(cell(around(change)), cells=1)
    assert verdict.outcome == outcome and words in verdict.why
    assert verdict.ratio == pytest.approx(1 + change, abs=1e-3)
    assert verdict.limit == pytest.approx(1.05)


def test_a_blurred_change_says_what_it_could_see_and_how_many_pairs_it_lacks() -> None:
    verdict = judge(cell(around(0.06, spread=0.08)), cells=10)
    assert verdict.outcome == INCONCLUSIVE and verdict.evidence is not None
    assert verdict.evidence.pairs_needed is not None and verdict.evidence.pairs_needed > 8
    assert f"about {verdict.evidence.pairs_needed} pairs would tell" in verdict.why
    more = around(0.06, spread=0.08) * math.ceil(verdict.evidence.pairs_needed / 8)
    assert decided(judge(cell(more), cells=10)), "so many pairs of that spread do decide"


def test_a_change_between_margin_and_tolerance_may_need_more_pairs_than_anybody_has() -> None:
    verdict = judge(cell(around(0.0499, spread=1.5)), cells=50)
    assert verdict.evidence is not None and verdict.evidence.pairs_needed is None
    assert "no number of pairs would tell" in verdict.why


def test_too_few_pairs_are_inconclusive_without_an_interval() -> None:
    verdict = judge(cell([0.5, 0.5, 0.5]), cells=1)
    assert verdict.outcome == INCONCLUSIVE and "too few" in verdict.why and verdict.evidence is not None
    assert verdict.evidence.pairs == 3 and verdict.evidence.low is None
    assert verdict.ratio == pytest.approx(math.exp(0.5)), "what they show is shown, without an interval"


def test_what_stands_in_one_line_agrees_and_the_medians_of_each_side_are_kept() -> None:
    """The median of ratios is not the ratio of medians: half of these pairs ran on a host twice as fast."""
    verdict = judge(
        Cell(
            node_id="a",
            metric="m",
            unit="s",
            better="lower",
            tolerance=0.05,
            log_ratios=(0.0,) * 8,
            medians=(576e-6, 318e-6),
        ),
        cells=1,
    )
    assert verdict.outcome == OK and verdict.ratio == 1
    assert verdict.baseline == verdict.now == 576e-6
    assert verdict.evidence is not None and verdict.evidence.medians == (576e-6, 318e-6)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_four_wild_pairs_see_nothing_instead_of_overflowing() -> None:
    """A run that ends early judges what there is: with 4 pairs and many tests the bound lies thousands of errors away."""
    verdict = judge(cell([-0.2, -0.13, 0.14, 0.2]), cells=200)
    assert verdict.outcome == INCONCLUSIVE and verdict.evidence is not None
    assert verdict.evidence.smallest_visible is None and "see no slowdown of any size" in verdict.why
    assert Verdict.from_json(verdict.to_json()) == verdict
    assert visible([-0.2, -0.13, 0.14, 0.2], 4, cells=200) is None


@given(st.lists(st.floats(-3, 3), min_size=0, max_size=40), st.integers(1, 2000), st.floats(0, 5))
def test_any_pairs_get_a_verdict_and_a_finite_interval(numbers: list[float], cells: int, tolerance: float) -> None:
    verdict = judge(cell(numbers, tolerance=tolerance), cells=cells)
    evidence = verdict.evidence
    assert evidence is not None and evidence.pairs == len(numbers)
    assert (evidence.low is None) == (len(numbers) < 4)
    assert (verdict.now is None) == (not numbers)
    if evidence.low is not None:
        assert evidence.high is not None
        assert 0 <= evidence.low <= evidence.high < math.inf


def test_a_tolerance_above_a_doubling_is_said_in_percent() -> None:
    assert "within the tolerated 150 %" in judge(cell(around(0.0), tolerance=1.5), cells=1).why


def test_a_tolerance_below_the_margin_is_kept() -> None:
    assert judge(cell(around(0.004, spread=0.0005), tolerance=0.001), cells=1).outcome == REGRESSED
    assert judge(cell(around(0.004, spread=0.0005), tolerance=0.05), cells=1).outcome == OK


@given(ratios, st.integers(1, 500))
def test_the_number_of_tests_only_ever_makes_an_alarm_rarer(numbers: list[float], cells: int) -> None:
    if judge(cell(numbers), cells=cells).outcome == REGRESSED:
        assert judge(cell(numbers), cells=1).outcome == REGRESSED


@given(ratios)
def test_a_rate_is_judged_as_the_time_it_mirrors(numbers: list[float]) -> None:
    time, rate = judge(cell(numbers), cells=3), judge(cell([-value for value in numbers], better="higher"), cells=3)
    assert time.outcome == rate.outcome
    assert time.ratio is not None and rate.ratio is not None and time.ratio * rate.ratio == pytest.approx(1)


@given(ratios, st.floats(-0.3, 0.3), st.integers(1, 100))
def test_base_and_head_swapped_turn_a_regression_into_an_improvement(numbers: list[float], shift: float, cells: int) -> None:
    """Both need the same certainty, so each regression is a sure improvement backwards; the tolerance only excuses."""
    there = [0.05 * value + shift for value in numbers]
    forth, back = judge(cell(there), cells=cells), judge(cell([-value for value in there]), cells=cells)
    if forth.outcome == REGRESSED:
        assert back.outcome == IMPROVED
    if forth.outcome == IMPROVED:
        assert back.outcome in (OK, REGRESSED)
    assert forth.ratio is not None and back.ratio is not None and forth.ratio * back.ratio == pytest.approx(1)


@given(ratios, st.floats(0, 0.3))
def test_slower_is_never_better(numbers: list[float], shift: float) -> None:
    rank = {IMPROVED: 0, OK: 1, INCONCLUSIVE: 2, REGRESSED: 3}
    before = judge(cell(numbers), cells=2).outcome
    after = judge(cell([value + shift for value in numbers]), cells=2).outcome
    assume(before != REGRESSED or after != INCONCLUSIVE)  # equal up to rounding of the spread
    assert rank[after] >= rank[before]


@given(ratios)
def test_the_interval_encloses_the_estimate_and_survives_json(numbers: list[float]) -> None:
    verdict = judge(cell(numbers), cells=4)
    evidence = verdict.evidence
    assert evidence is not None and evidence.low is not None and evidence.high is not None and verdict.ratio is not None
    assert evidence.low <= verdict.ratio * (1 + 1e-12) and verdict.ratio <= evidence.high * (1 + 1e-12)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_more_pairs_see_smaller_changes() -> None:
    seen = [visible(around(0.0, spread=0.05), pairs, cells=10) for pairs in (8, 16, 32)]
    assert all(one is not None for one in seen)
    assert seen[0] > seen[1] > seen[2] > MARGIN  # type: ignore[operator]
    assert visible([0.1, 0.2], 8, cells=1) is None


def case(workload: str, **gate: float) -> Case:
    choice = Choice(name="m", kind="fake")
    return Case(
        suite="a",
        name="c",
        workload=workload,
        params={"growth": 1.5},
        model=choice,
        backend=choice,
        compression=choice,
        corpus={},
        gate=gate,
    )


def test_metrics_that_say_the_same_count_once_and_those_a_suite_names_decide() -> None:
    assert tests_of(case("training_step")) == 1
    assert tests_of(case("latency")) == 3
    assert tests_of(case("throughput")) == 1
    assert tests_of(case("scoring")) == 1
    assert tests_of(None) == 1
    assert tests_of(case("latency", prefill_p50_s=0.1)) == 4
    assert count_cells([case("latency"), None, case("training_step")]) == 5
    assert count_cells([]) == 1
    assert "prefill_p50_s" in deciding(case("latency", prefill_p50_s=0.1))


def test_a_quantile_or_a_peak_needs_whole_runs() -> None:
    assert needs_runs(case("stress")) and needs_runs(case("memory"))
    assert not needs_runs(case("latency", perplexity=0.01))
    assert not needs_runs(case("scoring", masked_perplexity=0.01))
    assert needs_runs(case("latency", latency_p95_s=0.1))


def test_the_tolerance_is_the_suites_then_the_catalogues_then_the_default() -> None:
    assert tolerance_of(case("latency", ttft_p50_s=0.2), "ttft_p50_s", 0.05) == 0.2
    assert tolerance_of(case("latency"), "ttft_p50_s", 0.07) == 0.07
    assert tolerance_of(case("memory"), "weights_rss_bytes", 0.05) == 0.10
    assert tolerance_of(case("stress"), "max_sustainable_rate", 0.05) == 0.05, "what runs resolve is theirs to say"
    assert tolerance_of(case("stress", max_sustainable_rate=0.02), "max_sustainable_rate", 0.05) == 0.02
    assert tolerance_of(None, "round_p50_s", 0.05) == 0.05


def test_a_case_is_as_bad_as_its_deciding_metrics() -> None:
    bad, good = judge(cell(around(0.2)), cells=1), judge(cell(around(0.0)), cells=1)
    assert case_outcome([good, bad]) == REGRESSED
