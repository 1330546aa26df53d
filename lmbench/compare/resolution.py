"""The smallest relative step that a run could show of a metric: from what was run, not from what was declared; pure.

A rate found on a ladder or by bisection lies between the highest rate that held and the lowest that failed, so two runs can
only be told apart when those brackets do not overlap. A run keeps its own steps in `details["resolution"]`: a share, or null
where no higher rate was tried and the value is only a lower bound. Older records have the bracket alone, in `details["limit"]`,
and the oldest neither: then the declaration is used, and the verdict says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lmbench.base.errors import ConfigError
from lmbench.load.grammar import parse
from lmbench.load.ramp import Ramp
from lmbench.load.search import Search
from lmbench.plan.case import Case
from lmbench.record.record import Record

LIMIT = "max_sustainable_rate"
DECLARED = "taken from the declaration, since a run did not record its own"
EXACT_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """`step` is relative; infinite where the value is only a bound."""

    step: float
    recorded: bool = True

    @property
    def words(self) -> str:
        """'a run resolves 9.1 %'."""
        if math.isinf(self.step):
            return "a run ended before the SLO broke, so its value is only a lower bound"
        return f"a run resolves {self.step * 100:.3g} %" + ("" if self.recorded else f" ({DECLARED})")


NONE = Resolution(step=0.0)


def resolution_of(record: Record, name: str) -> Resolution:
    """What one run resolves of metric `name`; NONE (0) for what is measured on a continuous scale."""
    known = record.details.get("resolution")
    if isinstance(known, Mapping):
        return Resolution(step=_share(known[name])) if name in known else NONE
    if name != LIMIT:
        return NONE
    bracket = record.details.get("limit")
    if isinstance(bracket, Mapping) and bracket.get("low"):
        return Resolution(step=_bracket(bracket))
    return Resolution(step=_declared(record.case), recorded=False)


def coarsest(records: Iterable[Record], name: str) -> Resolution:
    """The largest step among records; NONE without any."""
    return max((resolution_of(record, name) for record in records), key=lambda one: one.step, default=NONE)


def _share(value: Any) -> float:
    return math.inf if value is None else float(value)


def _bracket(bracket: Mapping[str, Any]) -> float:
    low, high = bracket["low"], bracket.get("high")
    return math.inf if high is None else float(high) / float(low) - 1


def _declared(case: Case) -> float:
    """The step of the declared ladder or search; 0 for a shape that looks for no limit."""
    text = case.params.get("shape")
    if text is None:
        return max(float(case.params.get("growth", 1.0)) - 1.0, 0.0)
    try:
        shape = parse(str(text))
    except ConfigError:
        return 0.0
    if isinstance(shape, Search):
        return shape.resolution
    return shape.growth - 1 if isinstance(shape, Ramp) else 0.0
