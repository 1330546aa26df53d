"""What a budget goes to and what is said of what it does not reach; pairs and clock are made up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lmbench.compare.verdicts import INCONCLUSIVE, OK
from lmbench.paired import adjudicate
from lmbench.paired.adjudicate import Adjudication, Judgement, Terms
from lmbench.paired.cost import Cost
from lmbench.paired.docket import ROUND_UNIT
from lmbench.paired.numbers import CasePair, Job
from lmbench.report.gate_facts import GateFacts
from lmbench.report.terminal import render

NAMES = ("test_a.py::test_x", "test_a.py::test_y")


class FakeClock:
    """Stands still until a pair moves it."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An adjudication of NAMES, every visit of which takes `visit_s`; returns the judgement and the pairs kept."""

    def hold(*, budget_s: float | None, guess_s: float, visit_s: float) -> tuple[Judgement, list[dict[str, Any]]]:
        clock = FakeClock()

        def pairs(_: Any, jobs: Sequence[Job], number: int, rng: np.random.Generator, __: Any) -> Iterator[CasePair]:
            for job in jobs:
                clock.time += visit_s
                ratio = {"round_p50_s": math.log(1.0 + 0.001 * float(rng.normal()) + 0.2 * (number % 2))}
                yield CasePair(
                    node_id=job.node_id, log_ratios=ratio, base={"round_p50_s": 1.0}, head={"round_p50_s": 3.0}, wall_s=visit_s
                )

        monkeypatch.setattr(adjudicate, "CLOCK", clock)
        monkeypatch.setattr(adjudicate, "run_pair", pairs)
        cost = Cost(start_s=0.0, cases=dict.fromkeys(NAMES, guess_s))
        jobs = [(Job(node_id=name), ROUND_UNIT) for name in NAMES]
        kept: list[dict[str, Any]] = []
        terms = Terms(budget_s=budget_s, seed=1)
        sides, setting = None, None
        made = Adjudication(jobs, sides, terms, cost=cost, setting=setting)  # type: ignore[arg-type]
        return made.run(lambda _: None, kept.append), kept

    return hold


def test_a_guess_that_is_too_high_is_corrected_by_one_pair(held: Any) -> None:
    judgement, _ = held(budget_s=100.0, guess_s=40.0, visit_s=1.0)
    assert judgement.pairs_run > 1 and all(one.evidence.pairs >= 8 for one in judgement.verdicts)
    assert not any(one.cut_short and one.evidence.pairs < 32 and judgement.wall_s < 50 for one in judgement.verdicts)


def test_costs_that_turn_out_higher_leave_one_case_its_first_look(held: Any) -> None:
    """Both seemed to fit. After the first pair only one does, and it is looked at, instead of neither."""
    judgement, _ = held(budget_s=100.0, guess_s=1.0, visit_s=10.0)
    found = {one.node_id: one for one in judgement.verdicts}
    assert found[NAMES[0]].evidence.pairs == 8
    assert found[NAMES[1]].evidence.pairs == 1 and found[NAMES[1]].cut_short
    assert found[NAMES[1]].why.endswith("the budget of 1 min 40 s ended after 1 of 8 pairs; the other 7 take about 1 min 10 s")
    assert judgement.wall_s <= 100.0


def test_a_budget_for_no_pair_at_all_says_what_one_look_takes(held: Any) -> None:
    judgement, kept = held(budget_s=5.0, guess_s=10.0, visit_s=10.0)
    assert judgement.pairs_run == 0 and not kept
    assert {(one.outcome, one.cut_short) for one in judgement.verdicts} == {(INCONCLUSIVE, True)}
    assert judgement.verdicts[0].why == (
        "not a single pair was run; the budget of 5 s does not cover the 8 pairs of a first look, which take about 1 min 20 s"
    )


def test_without_a_budget_nothing_is_cut_short(held: Any) -> None:
    judgement, _ = held(budget_s=None, guess_s=1.0, visit_s=1.0)
    assert not any(one.cut_short for one in judgement.verdicts)
    assert {one.evidence.pairs for one in judgement.verdicts} <= {8, 16, 32}


def test_few_pairs_are_shown_with_their_number_and_the_reason(held: Any) -> None:
    judgement, _ = held(budget_s=100.0, guess_s=1.0, visit_s=10.0)
    facts = GateFacts(
        base="main (1234567890)",
        head="abcdef1234",
        cases_paired=2,
        cases_cleared=0,
        pairs_run=judgement.pairs_run,
        wall_s=judgement.wall_s,
        predicted_s=8.0,
        budget_s=100.0,
        shift_sentence=None,
        problems=(),
        fail_on=(),
        exit_status=8,
        not_decided="1 of 2 cases decided; the budget cut 1 short (test_y)",
    )
    text = StringIO()
    render(judgement.verdicts, [], Console(file=text, width=80, highlight=False), facts)
    lines = text.getvalue().splitlines()
    row = lines[next(index for index, line in enumerate(lines) if line.startswith("test_y")) + 1].split()
    assert row[:5] == ["round_p50_s", "1", "s", "1", "s"] and row[7:] == ["1", "inconclusive"], row
    assert "the budget of 1 min 40 s ended after 1 of 8 pairs" in " ".join(text.getvalue().split())
    assert "stored runs behind the baseline" not in text.getvalue()
    assert any(line.startswith("gate NOT DECIDED: abcdef1234 against main (1234567890)") for line in lines)
    assert GateFacts.from_json(facts.to_json()) == facts
    assert {one.outcome for one in judgement.verdicts} <= {OK, INCONCLUSIVE}
