"""Which cases of a gate were decided, which were cut short, which had nothing to compare with; pure.

A case is decided when its deciding metrics have a verdict to which more time would add nothing: from stored runs
that cleared it, from pairs, or from one run of the base where no metric needs pairs. A case that is inconclusive
after its last look was measured to the end: it counts as decided here, and `--lmbench-fail-on` says whether it
fails. What is left are cases that the budget cut short and cases that have no counterpart in the base.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lmbench.compare.gate import FAILED_STATUS, NOT_DECIDED_STATUS, exit_fails
from lmbench.compare.verdicts import ERROR, INCOMPARABLE, MISSING, NEW, Verdict, by_case

UNPAIRED = (NEW, MISSING, INCOMPARABLE)
_NAMED = 3
"""Cases that a sentence names before it counts the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decidedness:
    """Node ids by what became of them; every case of the gate is in exactly one of the three."""

    decided: tuple[str, ...] = ()
    cut_short: tuple[str, ...] = ()
    unpaired: tuple[str, ...] = ()
    """New, declared differently, or not able to run in the base."""
    unmeasured: tuple[str, ...] = ()
    """Cases that the session's own budget of time left out, so that there was nothing to compare."""

    @property
    def total(self) -> int:
        return len(self.decided) + len(self.cut_short) + len(self.unpaired)

    @property
    def share(self) -> float:
        """Decided cases over all, those that were not measured included; 0 without cases."""
        every = self.total + len(self.unmeasured)
        return len(self.decided) / every if every else 0.0


def decidedness(deciding: Mapping[str, Collection[str]], verdicts: Iterable[Verdict]) -> Decidedness:
    """Sort the cases of `deciding` (node id -> names of its deciding metrics, empty where none needs pairs)."""
    table = by_case(verdicts)
    states = {node_id: _state(table.get(node_id, ()), names) for node_id, names in deciding.items()}

    def of(state: str) -> tuple[str, ...]:
        return tuple(node_id for node_id, found in states.items() if found == state)

    return Decidedness(decided=of("decided"), cut_short=of("cut short"), unpaired=of("unpaired"))


def why_not_decided(found: Decidedness, *, required: float | None) -> str:
    """Why the gate as a whole is not decided, as one sentence; empty when it is.

    `required` is the share of cases that must be decided. Without it every case that has a counterpart in the base
    must be, and at least one case must have one; a case that was not measured is taken to have one.
    """
    if not found.total:
        return "no case was measured, so nothing was compared"
    if not found.decided and not found.cut_short:
        return f"nothing was compared: no case exists on both sides and works there ({listed(found.unpaired)})"
    if required is None and not found.cut_short and not found.unmeasured:
        return ""
    if required is not None and found.share >= required:
        return ""
    wanted = "" if required is None else f", {required * 100:.4g} % required"
    parts = [f"{len(found.decided)} of {found.total + len(found.unmeasured)} cases decided{wanted}"]
    if found.cut_short:
        parts.append(f"the budget cut {len(found.cut_short)} short ({listed(found.cut_short)})")
    if found.unmeasured:
        parts.append(f"--lmbench-budget left {len(found.unmeasured)} unmeasured ({listed(found.unmeasured)})")
    if found.unpaired and required is not None:
        parts.append(f"{len(found.unpaired)} had nothing to compare with in the base ({listed(found.unpaired)})")
    return "; ".join(parts)


def session_status(status: int, verdicts: Collection[Verdict], fail_on: Collection[str], not_decided: str) -> int:
    """The exit status of a session that would end with `status`: a failure outranks what was not decided."""
    if status != 0:
        return status
    if exit_fails(verdicts, fail_on):
        return FAILED_STATUS
    return NOT_DECIDED_STATUS if not_decided else status


def listed(node_ids: Collection[str]) -> str:
    """'a, b, c and 4 more', by case id."""
    names = [node_id.partition("::")[2] or node_id for node_id in node_ids]
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + rest


def _state(verdicts: Collection[Verdict], deciding: Collection[str]) -> str:
    if any(one.cut_short and (one.metric is None or one.limit is not None) for one in verdicts):
        return "cut short"
    if any(one.metric is None and one.outcome == ERROR for one in verdicts):
        return "decided"  # it failed, and fails the session
    judged = [one for one in verdicts if one.metric is not None and one.outcome not in UNPAIRED]
    if deciding:
        judged = [one for one in judged if one.metric in deciding]
    return "decided" if judged else "unpaired"
