"""What cases will take by what they took before, and which of them a budget of time goes to; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, median_low

from lmbench.plan.case import Case

STORED, LIKE, UNKNOWN = "stored", "like", "unknown"
"""What an expected time rests on: runs of the case, runs of cases like it, nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One earlier run of a case on this machine class."""

    case: Case
    seconds: float
    at_s: float
    """When it began, in seconds since 1970."""
    failed: bool = False
    worker_only: bool = False
    """Stored before the whole time of a case was kept: `seconds` lacks the start of its process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What one case will take."""

    seconds: float | None
    """None where nothing comparable was run."""
    basis: str
    at_s: float | None
    """When the case was measured last, in seconds since 1970; None for never."""
    worker_only: bool = False


class Forecast:
    """Times by node id; grows by what the session itself measures."""

    def __init__(self, timings: Mapping[str, Sequence[Timing]]) -> None:
        self._timings = {name: list(found) for name, found in timings.items()}

    def learn(self, timing: Timing) -> None:
        """Know a run of this session too."""
        self._timings.setdefault(timing.case.node_id, []).append(timing)

    def of(self, case: Case) -> Expected:
        """The middle of the case's own runs; of a case that was never run, of the runs of the cases most like it.

        A run of another declaration under the same name is a run of a case like it. Runs that failed count only
        where none succeeded, and such a case counts as never measured.
        """
        own = [one for one in self._timings.get(case.node_id, ()) if one.case.digest == case.digest]
        good = [one for one in own if not one.failed]
        at_s = max((one.at_s for one in good), default=None)
        if used := good or own:
            worker_only = all(one.worker_only for one in used)
            # The low median: a first run that made an engine's file is no measure of the second.
            return Expected(seconds=median_low([one.seconds for one in used]), basis=STORED, at_s=at_s, worker_only=worker_only)
        alike = self._alike(case)
        return Expected(seconds=median(alike) if alike else None, basis=LIKE if alike else UNKNOWN, at_s=None)

    def _alike(self, case: Case) -> list[float]:
        """Times of the cases that share most with `case`; what they must share is the work and the kind of model."""
        known = [one for found in self._timings.values() for one in found if not one.failed]
        ranked = [(_likeness(case, one.case), one.seconds) for one in known if _comparable(case, one.case)]
        best = max((rank for rank, _ in ranked), default=None)
        return [seconds for rank, seconds in ranked if rank == best]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a list of cases will take together."""

    seconds: float
    """Of those whose time can be told."""
    cases: int
    never: tuple[Case, ...]
    """Never measured on this machine class."""
    unknown: tuple[Case, ...]
    """Those of `never` that are like no case that was run."""
    like: int
    """Cases whose time is that of cases like them."""
    worker_only: int
    """Cases whose time lacks the start of their process."""


def outlook(cases: Iterable[Case], forecast: Forecast) -> Outlook:
    """Sum up the expected times of `cases`."""
    expected = [(case, forecast.of(case)) for case in cases]
    return Outlook(
        seconds=sum(one.seconds for _, one in expected if one.seconds is not None),
        cases=len(expected),
        never=tuple(case for case, one in expected if one.at_s is None),
        unknown=tuple(case for case, one in expected if one.seconds is None),
        like=sum(one.basis == LIKE for _, one in expected),
        worker_only=sum(one.worker_only for _, one in expected),
    )


def longest_unmeasured_first(cases: Sequence[Case], forecast: Forecast) -> list[Case]:
    """Those never measured, then those measured longest ago; equals keep their order."""
    ages = {case.node_id: forecast.of(case).at_s for case in cases}
    return sorted(cases, key=lambda case: (ages[case.node_id] is not None, ages[case.node_id] or 0.0))


def affordable(cases: Sequence[Case], forecast: Forecast, budget_s: float, *, repeats: int = 1) -> list[Case]:
    """The cases that fit into `budget_s` one after the other, each run `repeats` times, in the order of `cases`.

    One that does not fit is passed over, so that it cannot keep shorter ones out. A case of unknown time costs
    nothing here: it is known to fit or not when its turn comes.
    """
    chosen, left_s = [], budget_s
    for case in cases:
        cost_s = repeats * (forecast.of(case).seconds or 0.0)
        if cost_s <= left_s:
            chosen.append(case)
            left_s -= cost_s
    return chosen


def _comparable(case: Case, other: Case) -> bool:
    same_work = (case.workload, case.params) == (other.workload, other.params)
    return same_work and case.model.kind == other.model.kind


def _likeness(case: Case, other: Case) -> tuple[bool, bool, bool]:
    return (
        case.model.options == other.model.options,
        (case.backend.kind, case.backend.options) == (other.backend.kind, other.backend.options),
        (case.compression.kind, case.compression.options) == (other.compression.kind, other.compression.options),
    )
