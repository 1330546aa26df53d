"""The pass/fail rule over all verdicts, and the figures that sum them up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from statistics import median

from lmbench.base.catalogue import HIGHER, METRICS
from lmbench.base.units import pretty_change
from lmbench.compare.tolerance import NOISY
from lmbench.compare.verdicts import ERROR, REGRESSED, SEVERITY, Verdict, by_case, case_outcome

FAILING = (ERROR, REGRESSED)
FAILED_STATUS, NOT_DECIDED_STATUS, UNWRITTEN_STATUS = 1, 8, 9
"""Exit statuses of a session and of `lmbench compare`: something failed; nothing, or not enough, could be
decided; all is well, but an output that was asked for could not be written. The second and third lie outside pytest's own
0 to 5, and what comes first here outranks what comes later."""
SHIFT_CASES = 5
SHIFT_REPORTED = 0.05


def exit_fails(verdicts: Collection[Verdict], fail_on: Collection[str] = FAILING) -> bool:
    """Whether the run must fail: by default anything regressed or in error. Everything else is said loudly and passes.

    `fail_on` may name other outcomes. Then they count per case (see `case_outcome`), so that a tail that never decides
    does not fail a release for being inconclusive; what is regressed or in error counts wherever it stands.
    """
    strict = [outcome for outcome in FAILING if outcome in fail_on]
    if any(verdict.outcome in strict for verdict in verdicts):
        return True
    return any(case_outcome(found) in fail_on for found in by_case(verdicts).values())


def counts(verdicts: Collection[Verdict]) -> dict[str, int]:
    """Cases by their worst outcome, worst first; outcomes that no case has are left out."""
    outcomes = [case_outcome(found) for found in by_case(verdicts).values()]
    return {outcome: outcomes.count(outcome) for outcome in SEVERITY if outcome in outcomes}


def summary(verdicts: Collection[Verdict]) -> str:
    """'12 cases: 1 regressed, 2 inconclusive, 9 ok'."""
    table = counts(verdicts)
    total = sum(table.values())
    if not total:
        return "no case was compared"
    return f"{total} case{'s' if total != 1 else ''}: " + ", ".join(f"{count} {outcome}" for outcome, count in table.items())


def doubts(verdicts: Collection[Verdict]) -> list[str]:
    """Why runs could not decide their metrics, once per case and reason; only of metrics that may fail."""
    table: dict[tuple[str, str], list[str]] = {}
    for one in verdicts:
        if one.doubt and one.limit is not None and one.metric is not None:
            table.setdefault((one.node_id, one.doubt), []).append(one.metric)
    return [f"{node_id}: inconclusive: {', '.join(names)}: {doubt}" for (node_id, doubt), names in table.items()]


def common_shift(verdicts: Sequence[Verdict]) -> str | None:
    """A sentence when the times of at least 5 cases moved together by more than 5 %: the host, most likely, not the code.

    Never taken out of the numbers: it is said beside them.
    """
    slowness = []
    for found in by_case(verdicts).values():
        ratios = [_slowness(verdict) for verdict in found if _is_noisy(verdict) and verdict.ratio]
        if ratios:
            slowness.append(median(ratios))
    if len(slowness) < SHIFT_CASES:
        return None
    shift = median(slowness)
    if abs(shift - 1) <= SHIFT_REPORTED:
        return None
    moved = f"the times of {len(slowness)} compared cases moved together: {pretty_change(shift)} (median)"
    return f"{moved}; this may be the host, not the code"


def _is_noisy(verdict: Verdict) -> bool:
    spec = METRICS.get(verdict.metric or "")
    return spec is not None and spec.kind in NOISY


def _slowness(verdict: Verdict) -> float:
    ratio = verdict.ratio or 1.0
    return 1 / ratio if verdict.better == HIGHER else ratio
