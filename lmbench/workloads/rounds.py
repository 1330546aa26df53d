"""A workload one call at a time: what two processes that alternate their rounds need of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Durations = Mapping[str, float]
"""Seconds by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSource:
    """A built subject and its calls. Call number `index` is the same work in every process of one case and seed."""

    call: Callable[[int], Durations]
    """Do call number `index` and say how long its parts took."""
    values: Callable[[Durations], Mapping[str, float]]
    """Mean durations of a round's calls -> values by metric name."""
    close: Callable[[], None]
