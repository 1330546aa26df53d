"""Which cases of a run deserve pairs: those that a comparison with stored runs cannot clear. It never judges; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lmbench.base.catalogue import HIGHER, METRICS
from lmbench.base.units import pretty_change
from lmbench.compare.tripwire import MAX_STORED
from lmbench.compare.verdicts import OK, Verdict

SUSPECT = 0.01
"""A case is a suspect when it is slower by more than this. Replayed on recorded noise that kept 74 to 94 % of true 5 %
slowdowns and cleared about 60 % of unchanged cases: a trade for pull requests; a nightly run pairs every case."""
SHIFT_CASES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One metric of one case, now and in comparable stored runs, newest first; at most MAX_STORED of them are used."""

    node_id: str
    metric: str
    now: float
    stored: tuple[float, ...]
    better: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Triage:
    """`suspects` gives a reason per case; what was cleared has a verdict that says it was not paired."""

    suspects: Mapping[str, str]
    cleared: tuple[Verdict, ...]
    shift: float
    """How much slower the suite's median case was, as a ratio; 1 when it could not be told."""
    shift_sentence: str | None


def triage(observations: Sequence[Observation], *, triggers: Mapping[str, str]) -> Triage:
    """Sort cases into suspects and cleared ones. `triggers` are suspects whatever their numbers say.

    The median slowdown over cases is the host's, most likely, and is taken out before a single case is looked at; it is
    reported, not hidden. With fewer than SHIFT_CASES cases it is not taken out, and that is said.
    """
    slowness = {(one.node_id, one.metric): _slowness(one) for one in observations}
    by_case: dict[str, list[float]] = {}
    for one in observations:
        value = slowness[one.node_id, one.metric]
        if value is not None:
            by_case.setdefault(one.node_id, []).append(value)
    shift = median(median(values) for values in by_case.values()) if len(by_case) >= SHIFT_CASES else 0.0
    suspects = dict(triggers)
    for one in observations:
        reason = _reason(one, slowness[one.node_id, one.metric], shift)
        if reason:
            suspects.setdefault(one.node_id, reason)
    cleared = tuple(
        _cleared(one, value, shift)
        for one in observations
        if one.node_id not in suspects and (value := slowness[one.node_id, one.metric]) is not None
    )
    return Triage(suspects=suspects, cleared=cleared, shift=math.exp(shift), shift_sentence=_sentence(shift, len(by_case)))


def _slowness(one: Observation) -> float | None:
    """ln of how much slower now is than the stored median; None when a value is not positive and finite."""
    stored = one.stored[:MAX_STORED]
    if not stored or not all(0 < value < math.inf for value in (one.now, *stored)):
        return None
    change = math.log(one.now / median(stored))
    return -change if one.better == HIGHER else change


def _reason(one: Observation, slowness: float | None, shift: float) -> str:
    if slowness is None:
        return f"{one.metric}: {one.now:g} cannot be compared with {len(one.stored)} stored runs"
    if slowness - shift <= math.log1p(SUSPECT):
        return ""
    return f"{one.metric}: {_moved(slowness)} against {_runs(one)}, more than {SUSPECT:.0%}{_after(shift)}"


def _cleared(one: Observation, slowness: float, shift: float) -> Verdict:
    spec = METRICS.get(one.metric)
    baseline = median(one.stored[:MAX_STORED])
    why = f"{_moved(slowness)} against {_runs(one)}, at most {SUSPECT:.0%}{_after(shift)}: not paired"
    return Verdict(
        node_id=one.node_id,
        metric=one.metric,
        outcome=OK,
        why=why,
        unit=spec.unit if spec else "",
        better=one.better,
        baseline=baseline,
        now=one.now,
        ratio=one.now / baseline,
        n_baselines=len(one.stored[:MAX_STORED]),
    )


def _moved(slowness: float) -> str:
    """'slower by 7.0 %' or 'faster by 7.0 %': the change of slowness, which for a rate is that of 1 / rate."""
    return f"{'slower' if slowness >= 0 else 'faster'} by {pretty_change(math.exp(slowness)).lstrip('+-')}"


def _after(shift: float) -> str:
    return f" slower after the suite's shift of {pretty_change(math.exp(shift))}" if shift else " slower"


def _runs(one: Observation) -> str:
    count = min(len(one.stored), MAX_STORED)
    return f"{count} stored run{'s' if count > 1 else ''}"


def _sentence(shift: float, cases: int) -> str | None:
    if 0 < cases < SHIFT_CASES:
        found = f"{cases} case{'s' if cases > 1 else ''} with stored runs"
        return f"{found}, too few to tell a slower host from slower code (needs {SHIFT_CASES}): no common shift was taken out"
    if abs(shift) <= math.log1p(SUSPECT):
        return None
    return (
        f"all cases moved together: the median of {cases} is {_moved(shift)} than its stored runs; "
        "this was taken out before suspects were chosen, and may be the host or a change that touches everything"
    )
