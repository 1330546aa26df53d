"""What pytest and pytest-benchmark themselves decide about a plain test, as a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lmbench.compare.contention import REMEDY
from lmbench.compare.plain import compare_test
from lmbench.compare.verdicts import ERROR, IMPROVED, INCONCLUSIVE, OK, REGRESSED, Verdict
from lmbench.store.plain import PlainTest

ALLOWED = "within what --benchmark-compare-fail allows"


def in_error(node_id: str, why: str) -> Verdict:
    """The test failed, so that its time means nothing."""
    return Verdict(node_id=node_id, metric=None, outcome=ERROR, why=why)


def unconfirmed(verdict: Verdict) -> Verdict:
    """A regression that only contended processes saw decides nothing."""
    if verdict.outcome != REGRESSED:
        return verdict
    why = f"{verdict.why}; the CPUs were contended in all of them, so this may be the neighbours' doing: {REMEDY}"
    return replace(verdict, outcome=INCONCLUSIVE, why=why)


def judge_by_rule(now: PlainTest, stored: Sequence[PlainTest], failed: Sequence[str]) -> Verdict:
    """The verdict of --benchmark-compare-fail: where it is given, it alone decides what has regressed, on any machine.

    `failed` holds what the rule says against the test; `stored` the runs that it compared with.
    """
    alike = [replace(test, machine=now.machine) for test in stored]
    verdict = compare_test(now, alike)
    if not stored:
        return verdict
    if failed:
        return replace(verdict, outcome=REGRESSED, why="; ".join(failed))
    return verdict if verdict.outcome == IMPROVED else replace(verdict, outcome=OK, why=ALLOWED)
