"""Where a case's numbers may be put side by side, and where the level of its main metrics changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lmbench.base.catalogue import HIGHER, METRICS
from lmbench.compare.changepoints import change_points
from lmbench.compare.comparability import describe_changes
from lmbench.report.layout import is_main, ordered
from lmbench.site.nouns import Key, Point, Stored, Trail

STEP = 0.05
"""Smallest change of a noisy metric that is marked: single runs of one commit differ by as much."""
BETTER, WORSE, OTHER = "improved", "regressed", "inconclusive"
"""Colours of a change of level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The level of a metric changed with the run at `place` of its trail: means before and after."""

    trail: Trail
    metric: str
    place: int
    before: float
    after: float
    p: float

    @property
    def kind(self) -> str:
        better = self.trail.metrics[self.metric].better
        return OTHER if better is None else BETTER if (self.after > self.before) is (better == HIGHER) else WORSE

    @property
    def ratio(self) -> float | None:
        return self.after / self.before if self.before else None


def steps(stored: Stored) -> dict[Key, tuple[Step, ...]]:
    """Changes of level in the main metrics of every case, since it was last declared differently."""
    return {key: tuple(_steps(trail)) for key, trail in stored.trails.items()}


def breaks(trail: Trail) -> dict[int, str]:
    """Place -> why this point and those before it must not be put beside each other."""
    found = {}
    for place in range(1, len(trail.points)):
        old, new = trail.points[place - 1], trail.points[place]
        if old.case is not new.case and old.case.digest != new.case.digest:
            changes = describe_changes(old.case.identity(), new.case.identity())
            found[place] = f"declared differently: {'; '.join(changes)}"
        elif old.corpus != new.corpus:
            found[place] = f"the text changed: digest {old.corpus} to {new.corpus}"
    return {**other_objectives(trail), **found}


def other_objectives(trail: Trail) -> dict[int, str]:
    """Place -> the objectives that this point was measured under in place of those before it."""
    found: dict[int, str] = {}
    before: Mapping[str, float] = {}
    for place, point in enumerate(trail.points):
        changed = [
            f"{name} {before[name]:.4g} to {value:.4g}"
            for name, value in point.objectives.items()
            if name in before and not math.isclose(value, before[name], rel_tol=1e-9)
        ]
        if changed:
            found[place] = f"other objectives: {'; '.join(changed)}"
        before = point.objectives or before
    return found


def _steps(trail: Trail) -> Iterator[Step]:
    first = max(breaks(trail), default=0)
    for name in main_metrics(trail):
        spec = METRICS.get(name)
        known = [(place, one) for place, one in enumerate(values_of(trail.points[first:], name), start=first) if one is not None]
        least = spec.tolerance if spec and spec.tolerance and spec.kind == "exact" else STEP
        for point in change_points([one for _, one in known], min_magnitude=least):
            place = known[point.index][0]
            yield Step(trail=trail, metric=name, place=place, before=point.before, after=point.after, p=point.p)


def main_metrics(trail: Trail) -> list[str]:
    """Those a reader looks for first, in their order; all where its workload has none."""
    names = [name for name in ordered(trail.workload, trail.metrics) if is_main(trail.workload, name)]
    return names or list(trail.metrics)


def values_of(points: Sequence[Point], name: str) -> list[float | None]:
    """One metric through these points; None where it is not known."""
    return [point.values[name][0] if name in point.values else None for point in points]
