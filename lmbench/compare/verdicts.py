"""The noun of this room: a verdict on one metric, or on a case as a whole, with its reason and its JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmbench.base.errors import StoreError

OK, REGRESSED, IMPROVED, INCONCLUSIVE = "ok", "regressed", "improved", "inconclusive"
NEW, MISSING, ERROR, INCOMPARABLE = "new", "missing", "error", "incomparable"

SEVERITY = (ERROR, REGRESSED, MISSING, INCOMPARABLE, INCONCLUSIVE, NEW, IMPROVED, OK)
"""Worst first: a case is as bad as its worst metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to be said about one metric of one case; `metric` is None when it concerns the whole case.

    Values are in `unit`. `ratio` is now / baseline, whichever direction is better; None where it has no meaning.
    """

    node_id: str
    metric: str | None
    outcome: str
    why: str
    unit: str = ""
    better: str | None = None
    baseline: float | None = None
    """Median of the stored runs it was compared with."""
    now: float | None = None
    ratio: float | None = None
    tolerance: float | None = None
    """Relative change for the worse that this verdict would still have allowed."""
    limit: float | None = None
    """The value, in `unit`, beyond which the metric is regressed; None where it cannot fail."""
    n_baselines: int = 0

    def __post_init__(self) -> None:
        if self.outcome not in SEVERITY:
            raise ValueError(f"outcome {self.outcome!r}; expected one of {', '.join(SEVERITY)}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal verdict back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_json`; raises StoreError for anything else."""
        try:
            return cls(**data)
        except (TypeError, ValueError) as error:
            raise StoreError(f"found a damaged verdict: {error}; expected what this version stores; rerun the suite") from error


def worst(verdicts: Iterable[Verdict]) -> str:
    """The worst outcome by SEVERITY; 'ok' when there are none."""
    found = {verdict.outcome for verdict in verdicts}
    return next((outcome for outcome in SEVERITY if outcome in found), OK)


def case_outcome(verdicts: Iterable[Verdict]) -> str:
    """The outcome of one case: the worst of what concerns it as a whole and of the metrics that can fail.

    Metrics that never fail on single runs (tails, first calls ...) speak for themselves only.
    """
    found = tuple(verdicts)
    decisive = [verdict for verdict in found if verdict.metric is None or verdict.limit is not None]
    return worst(decisive or found)


def by_case(verdicts: Iterable[Verdict]) -> dict[str, tuple[Verdict, ...]]:
    """Verdicts by node id, in the order they came."""
    table: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        table.setdefault(verdict.node_id, []).append(verdict)
    return {node_id: tuple(found) for node_id, found in table.items()}
