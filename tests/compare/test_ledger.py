"""Which regressions a change of the ledger explains."""

from __future__ import annotations

import pytest

from lmbench.compare.ledger import accept
from lmbench.compare.verdicts import ACCEPTED, ERROR, REGRESSED, Verdict
from lmbench.store.ledger import Change

CASE = "suites/a.suite.yaml::first-token[nano-torch-none]"


def verdict(ratio: float | None = 1.12, **more: object) -> Verdict:
    fields: dict[str, object] = {
        "node_id": CASE,
        "metric": "ttft_p50_s",
        "outcome": REGRESSED,
        "why": "x",
        "better": "lower",
        "ratio": ratio,
    }
    return Verdict(**{**fields, **more})  # type: ignore[arg-type]


def change(amount: float = 0.12, *, case: str = CASE, metric: str = "ttft_p50_s") -> Change:
    return Change(case=case, metric=metric, change=amount, reason="safer sampling")


@pytest.mark.parametrize(
    ("found", "written", "explained"),
    [
        (verdict(), change(), True),
        (verdict(1.139), change(), True),
        (verdict(1.16), change(), False),
        (verdict(), change(metric="*"), True),
        (verdict(), change(metric="tpot_p50_s"), False),
        (verdict(), change(case="suites/*::first-token[nano-*]"), True),
        (verdict(), change(case="suites/*::other*"), False),
        (verdict(0.9, better="higher"), change(-0.1), True),
        (verdict(0.8, better="higher"), change(-0.1), False),
    ],
)
def test_a_change_explains_its_case_its_metric_and_no_more_than_its_amount(
    found: Verdict, written: Change, explained: bool
) -> None:
    (settled,) = accept([found], [written])
    assert settled.outcome == (ACCEPTED if explained else REGRESSED)
    if explained:
        assert settled.why.startswith("meant: safer sampling (accepted ")


def test_errors_are_never_explained_away() -> None:
    broken = verdict(outcome=ERROR, metric=None, ratio=None)
    assert accept([broken], [change(metric="*")]) == [broken]
