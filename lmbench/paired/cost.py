"""What pairing will cost, said before it is spent, and which cases a budget that is short goes to; pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

LOOKS = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of one pair: starting both processes once, and each case's visit on both sides."""

    start_s: float
    cases: Mapping[str, float]

    def pair_s(self, node_ids: Collection[str]) -> float:
        """One pair of all `node_ids`."""
        return self.start_s + sum(self.cases[name] for name in node_ids) if node_ids else 0.0

    def bounds_s(self, node_ids: Collection[str]) -> tuple[float, float]:
        """The least (decided at the first look) and the most (never decided)."""
        one = self.pair_s(node_ids)
        return LOOKS[0] * one, LOOKS[-1] * one


def affordable(undecided: Mapping[str, float], cost: Cost, *, pairs: int, left_s: float | None) -> tuple[str, ...]:
    """The cases whose next `pairs` pairs fit into `left_s` seconds; None is no limit.

    `undecided` maps each case to its uncertainty: how many times too wide its interval is to decide. The widest go
    first, cases that no number of pairs would decide (infinite) last. The order of `undecided` is kept.
    """
    if left_s is None:
        return tuple(undecided)
    chosen: set[str] = set()
    for name in sorted(undecided, key=lambda one: (math.isinf(undecided[one]), -undecided[one])):
        if pairs * cost.pair_s([*chosen, name]) <= left_s:
            chosen.add(name)
    return tuple(name for name in undecided if name in chosen)


def updated(cost: Cost, measured: Mapping[str, Sequence[float]], starts_s: Sequence[float]) -> Cost:
    """The prediction with what pairs have taken so far in place of guesses (means, so that bursts count)."""
    cases = {name: _mean(measured[name]) if measured.get(name) else guess for name, guess in cost.cases.items()}
    return Cost(start_s=_mean(starts_s) if starts_s else cost.start_s, cases=cases)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
