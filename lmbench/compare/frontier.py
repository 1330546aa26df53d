"""Which cells of one model are worth keeping: fronts of quality against speed and sizes, and the best of each within a loss.

Nothing here is exact but the order of grades. Two perplexities within the catalogue's tolerance share a grade; two speeds or
sizes count as equal while their spans touch. So a front of noise cannot arise: among equals nobody dominates, and all stay.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lmbench.base.catalogue import METRICS

SPEED, MEMORY, WEIGHTS, DISK = "speed", "peak memory", "weights", "disk"
RISES: Mapping[str, bool] = {SPEED: True, MEMORY: False, WEIGHTS: False, DISK: False}
"""Objective -> whether more of it is better. All stand against quality, where lower (perplexity) is better."""
ALIKE = 0.05
"""Times and rates closer than this count as equal, however well the samples of one process agree. Another process of the same
code can differ by more: how much, several runs tell."""
ONE_PROCESS = 0.25
"""The same for a cell that one process measured: five pruned copies of a model, which do the same arithmetic, ran at 0.94 to 1.31
times its speed on a quiet virtual machine of 2 CPUs."""
WITHIN = 0.01
"""The relative loss of perplexity up to which recommendations go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A value and the interval around it, low <= value <= high; values whose intervals touch count as equal."""

    value: float
    low: float
    high: float

    def above(self, other: Span) -> bool:
        """Whether this one is clearly larger."""
        return self.low > other.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One cell: its perplexity of whichever kind, what it loses to its fp32 parent, and the objectives it was measured in."""

    perplexity: float
    loss: float
    """perplexity / the parent's - 1."""
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The candidate with the best value of an objective, and others that are as good within the noise, best first."""

    index: int
    ties: tuple[int, ...]


def span(metric: str, value: float, seen: Iterable[float] = (), *, alike: float = ALIKE) -> Span:
    """The span of a metric's value: half its tolerance to either side, and everything in `seen` (quartiles, other runs).

    The tolerance is the catalogue's, relative or absolute, whichever is more; `alike` for times and rates, which have none.
    """
    spec = METRICS[metric]
    tolerance = alike if spec.tolerance is None else spec.tolerance
    half = max(tolerance * abs(value), spec.floor) / 2
    return Span(value=value, low=min([value - half, *seen]), high=max([value + half, *seen]))


def grades(perplexities: Sequence[float]) -> list[int]:
    """A rank per perplexity, best 0. All within the catalogue's tolerance of the best of a grade share it."""
    tolerance = METRICS["perplexity"].tolerance or 0.0
    ranks: dict[float, int] = {}
    rank, first = -1, -math.inf
    for value in sorted(perplexities):
        if value > first * (1 + tolerance):
            rank, first = rank + 1, value
        ranks[value] = rank
    return [ranks[value] for value in perplexities]


def front(candidates: Sequence[Candidate], objective: str) -> dict[int, int | None]:
    """Index -> None for a member of the front of quality against `objective`, else the index of a member that dominates it.

    Candidates not measured in it are left out. One dominates another when it is of no worse grade and not clearly worse in the
    objective, and of a better grade or clearly better. Since equality within noise is not transitive, the front is the kernel
    of this relation (the stable set of von Neumann & Morgenstern, 1944): no member dominates another, and every other
    candidate is dominated by a member. Grades and spans are ordered without circles, so it exists and is unique.
    """
    measured, ranks = _measured(candidates, [objective])

    def dominates(a: int, b: int) -> bool:
        one, other = candidates[a], candidates[b]
        if ranks[a] > ranks[b] or _clearly(other, one, objective):
            return False
        return ranks[a] < ranks[b] or _clearly(one, other, objective)

    return _kernel(measured, dominates)


def best(candidates: Sequence[Candidate], objective: str, within: float = WITHIN) -> Best | None:
    """The best value of `objective` among candidates that lose at most `within`; None when there is none."""
    sign = 1 if RISES[objective] else -1
    fit = [index for index, one in enumerate(candidates) if one.loss <= within and objective in one.spans]
    if not fit:
        return None
    ordered = sorted(fit, key=lambda index: -sign * candidates[index].spans[objective].value)
    first, *others = ordered
    ties = (index for index in others if not _clearly(candidates[first], candidates[index], objective))
    return Best(index=first, ties=tuple(ties))


def droppable(candidates: Sequence[Candidate]) -> dict[int, int]:
    """Index -> the index of one to keep instead: of no worse grade, at most ALIKE behind in any objective as measured, and of
    a better grade or clearly better in some.

    Here noise speaks for keeping, not for dropping: a candidate that is behind by more than ALIKE replaces nobody, however
    wide the spans. Objectives that no candidate was measured in do not count; one that lacks any that counts is kept.
    """
    objectives = [name for name in RISES if any(name in one.spans for one in candidates)]
    measured, ranks = _measured(candidates, objectives) if objectives else ([], {})

    def replaces(a: int, b: int) -> bool:
        one, other = candidates[a], candidates[b]
        if ranks[a] > ranks[b] or any(_behind(one.spans[name], other.spans[name], name) for name in objectives):
            return False
        return ranks[a] < ranks[b] or any(_clearly(one, other, name) for name in objectives)

    return {index: other for index, other in _kernel(measured, replaces).items() if other is not None}


def _measured(candidates: Sequence[Candidate], objectives: Sequence[str]) -> tuple[list[int], dict[int, int]]:
    """Indices of those measured in all objectives, and their grades."""
    found = [index for index, one in enumerate(candidates) if all(name in one.spans for name in objectives)]
    return found, dict(zip(found, grades([candidates[index].perplexity for index in found]), strict=True))


def _kernel(left: list[int], dominates: Callable[[int, int], bool]) -> dict[int, int | None]:
    """Index -> None for a member, else a member that dominates it; where all that are left are in circles, all are members."""
    found: dict[int, int | None] = {}
    while left:
        members = [b for b in left if not any(dominates(a, b) for a in left)] or left
        found |= dict.fromkeys(members)
        found |= {b: a for b in left if b not in members for a in reversed(members) if dominates(a, b)}
        left = [index for index in left if index not in found]
    return {index: found[index] for index in sorted(found)}


def _behind(a: Span, b: Span, objective: str) -> bool:
    """Whether the value of `a` is worse than that of `b` by more than ALIKE."""
    return a.value < b.value * (1 - ALIKE) if RISES[objective] else a.value > b.value * (1 + ALIKE)


def _clearly(a: Candidate, b: Candidate, objective: str) -> bool:
    """Whether `a` is clearly better than `b`."""
    one, other = a.spans[objective], b.spans[objective]
    return one.above(other) if RISES[objective] else other.above(one)
