"""The noun of this room: a verdict on one metric, or on a case as a whole, with its reason and its JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.typed import made

OK, REGRESSED, IMPROVED, INCONCLUSIVE = "ok", "regressed", "improved", "inconclusive"
NEW, MISSING, ERROR, INCOMPARABLE, ACCEPTED = "new", "missing", "error", "incomparable", "accepted"

SEVERITY = (ERROR, REGRESSED, MISSING, INCOMPARABLE, INCONCLUSIVE, NEW, ACCEPTED, IMPROVED, OK)
"""Worst first: a case is as bad as its worst metric. 'accepted' is a regression that the ledger of changes explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What base and head, run side by side, say about one metric; ratios are head / base, whichever direction is better.

    The verdict's `ratio` is the estimate. An interval that cannot be given (too few pairs) is None, None.
    """

    pairs: int
    """Process pairs behind the numbers."""
    low: float | None
    high: float | None
    """Two-sided 90 % interval of the ratio."""
    smallest_visible: float | None
    """Smallest relative change for the worse that these pairs would have shown as regressed; None: none."""
    pairs_needed: int | None
    """Estimate of the pairs after which an undecided metric would be decided; None when decided or hopeless."""
    log_ratios: tuple[float, ...] = ()
    """ln(head / base), one per pair, in the order they were run."""
    running: tuple[float, ...] = ()
    """The same without the time in which threads waited for a CPU; the interval covers both. Empty where not known."""
    unit: str = "pair of processes"
    """What one pair is: rounds alternated inside two processes, or one whole run per side."""
    within_resolution: bool = False
    """The change is smaller than one run can resolve, so that more pairs would not decide it."""
    explanation: str = ""
    """CPU time and involuntary switches beside the wall time; explains, never decides."""
    medians: tuple[float, float] | None = None
    """Each side's own median over its pairs, base and head, in the metric's unit. Their quotient is not
    the estimate, which comes pair by pair; None for what older versions stored."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Evidence:
        """The inverse of `dataclasses.asdict`."""
        return made(cls, data)


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
    """Median of the stored runs it was compared with, or of the base's side of the pairs."""
    now: float | None = None
    """This run's value; of a paired metric baseline x ratio, so that the three agree."""
    ratio: float | None = None
    tolerance: float | None = None
    """Relative change for the worse that this verdict would still have allowed."""
    limit: float | None = None
    """The value, in `unit`, beyond which the metric is regressed; None where it cannot fail."""
    n_baselines: int = 0
    doubt: str = ""
    """Why these runs cannot decide it, whatever their numbers: contended CPUs, or steps that are too coarse."""
    evidence: Evidence | None = None
    """Present when base and head were run side by side; None when stored runs were compared."""
    cut_short: bool = False
    """The budget or an interrupt ended the measuring before this could be decided."""

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
            return made(cls, data)
        except Unreadable as error:
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
