"""Regressions that are meant: a change of the ledger turns a verdict into 'accepted', with its reason; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from lmbench.base.catalogue import HIGHER
from lmbench.base.units import pretty_change
from lmbench.compare.verdicts import ACCEPTED, REGRESSED, Verdict
from lmbench.store.ledger import Change

SLACK = 0.02
"""An accepted change is written down from one measurement; the next may differ by this much and still be the same change."""
ANY = "*"


def accept(verdicts: Iterable[Verdict], changes: Sequence[Change]) -> list[Verdict]:
    """The verdicts, those regressions that a change explains as 'accepted'. Errors and everything else stay as they are."""
    return [_settled(verdict, changes) for verdict in verdicts]


def explains(change: Change, verdict: Verdict) -> bool:
    """Whether `change` covers a regressed verdict: same case and metric, and no more than SLACK worse than accepted."""
    if verdict.metric is None or verdict.ratio is None or change.metric not in (ANY, verdict.metric):
        return False
    pattern = change.case.replace("[", "[[]")
    if not fnmatchcase(verdict.node_id, pattern):
        return False
    accepted, found = 1 + change.change, verdict.ratio
    if verdict.better == HIGHER:
        return found >= accepted / (1 + SLACK)
    return found <= accepted * (1 + SLACK)


def _settled(verdict: Verdict, changes: Sequence[Change]) -> Verdict:
    if verdict.outcome != REGRESSED:
        return verdict
    change = next((one for one in changes if explains(one, verdict)), None)
    if change is None:
        return verdict
    accepted, found = pretty_change(1 + change.change), pretty_change(verdict.ratio)
    return replace(verdict, outcome=ACCEPTED, why=f"meant: {change.reason} (accepted {accepted}, found {found})")
