"""Requests that were alone in a server: their latencies are what it takes for one, which an endpoint tells in no other way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def undisturbed(columns: Mapping[str, Sequence[Any]]) -> frozenset[int]:
    """Rows of the requests that began when none was in flight and ended before another was sent."""
    ends = [finished if finished is not None else math.inf for finished in columns["finished"]]
    order = sorted(range(len(ends)), key=lambda place: columns["sent"][place])
    found, last = set(), -math.inf
    for number, place in enumerate(order):
        following = columns["sent"][order[number + 1]] if number + 1 < len(order) else math.inf
        if last <= columns["sent"][place] and ends[place] <= following:
            found.add(place)
        last = max(last, ends[place])
    return frozenset(found)


def weighed(latencies: Sequence[float], times: Sequence[float], rate: float) -> list[float]:
    """As many of `times` again, drawn at equal steps of their weights exp(rate * latency).

    A request is alone if none comes before it has ended, which for long ones is that much less likely: without the weights
    they would be too few.
    """
    if not times:
        return []
    order = np.argsort(times, kind="stable")
    weights = np.exp(rate * np.asarray(latencies))[order]
    edges = (np.cumsum(weights) - weights / 2) / weights.sum()
    steps = (np.arange(len(times)) + 0.5) / len(times)
    return [float(value) for value in np.interp(steps, edges, np.asarray(times)[order])]
