"""Which cases of a gate count as decided, and what the session's exit status makes of it; made-up verdicts."""

from __future__ import annotations

import pytest

from lmbench.compare.decidedness import decidedness, session_status, why_not_decided
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, INCONCLUSIVE, NEW, OK, REGRESSED, Verdict

FAIL_ON = (REGRESSED, ERROR)
TIME, SIZE = "round_p50_s", "parameters"


def verdict(node_id: str, outcome: str, metric: str | None = TIME, *, cut_short: bool = False) -> Verdict:
    limit = None if metric is None else 1.0
    return Verdict(node_id=node_id, metric=metric, outcome=outcome, why="because", limit=limit, cut_short=cut_short)


DECIDING = dict.fromkeys(("a::ok", "a::cleared", "a::last", "a::cut", "a::new", "a::other", "a::sizes"), (TIME,))
VERDICTS = [
    verdict("a::ok", OK),
    Verdict(node_id="a::cleared", metric=TIME, outcome=OK, why="not paired"),
    verdict("a::last", INCONCLUSIVE),
    verdict("a::cut", INCONCLUSIVE, cut_short=True),
    verdict("a::cut", OK, SIZE),
    verdict("a::new", NEW, None),
    verdict("a::other", INCOMPARABLE, None),
    verdict("a::sizes", OK, SIZE),
]


def test_every_case_is_decided_cut_short_or_unpaired() -> None:
    found = decidedness(DECIDING, VERDICTS)
    assert found.decided == ("a::ok", "a::cleared", "a::last")
    assert found.cut_short == ("a::cut",), "an exact metric beside an undecided time decides nothing"
    assert found.unpaired == ("a::new", "a::other", "a::sizes")
    assert found.total == 7 and found.share == pytest.approx(3 / 7)


def test_a_case_without_times_is_decided_by_one_run_of_the_base() -> None:
    found = decidedness({"a::tasks": ()}, [verdict("a::tasks", OK, SIZE)])
    assert found.decided == ("a::tasks",) and why_not_decided(found, required=None) == ""


@pytest.mark.parametrize(
    ("names", "required", "words"),
    [
        (("a::ok", "a::new"), None, ""),
        (("a::ok", "a::cut"), None, "1 of 2 cases decided; the budget cut 1 short (cut)"),
        (("a::ok", "a::cut"), 0.5, ""),
        (("a::ok", "a::cut"), 0.6, "1 of 2 cases decided, 60 % required; the budget cut 1 short (cut)"),
        (("a::ok", "a::new"), 1.0, "100 % required; 1 had nothing to compare with in the base (new)"),
        (("a::new", "a::other"), None, "nothing was compared: no case exists on both sides and works there (new, other)"),
        ((), None, "no case was measured, so nothing was compared"),
        (("a::last",), 1.0, ""),
    ],
)
def test_what_is_not_decided_is_named(names: tuple[str, ...], required: float | None, words: str) -> None:
    why = why_not_decided(decidedness({name: DECIDING[name] for name in names}, VERDICTS), required=required)
    assert why.endswith(words) if words else why == ""


@pytest.mark.parametrize(
    ("status", "outcome", "not_decided", "expected"),
    [(0, OK, "", 0), (0, OK, "why", 8), (0, REGRESSED, "why", 1), (1, OK, "why", 1), (2, OK, "why", 2), (5, OK, "why", 5)],
)
def test_a_failure_outranks_what_was_not_decided(status: int, outcome: str, not_decided: str, expected: int) -> None:
    assert session_status(status, [verdict("a::ok", outcome)], FAIL_ON, not_decided) == expected
