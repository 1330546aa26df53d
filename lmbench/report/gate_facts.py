"""What is to be said of a gated session as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmbench.base.units import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFacts:
    """Between what the gate judged, what it did and what it cost; times in seconds."""

    base: str
    """'origin/main (abc1234567)', or the Python the base ran under."""
    head: str
    cases_paired: int
    cases_cleared: int
    """Not suspect by a comparison with stored runs, and so not paired."""
    pairs_run: int
    wall_s: float
    predicted_s: float
    """What 8 pairs of everything were predicted to take."""
    budget_s: float | None
    shift_sentence: str | None
    problems: tuple[str, ...]
    fail_on: tuple[str, ...]
    exit_status: int | None
    """None while the session runs."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal noun back."""
        return {**asdict(self), "problems": list(self.problems), "fail_on": list(self.fail_on)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateFacts:
        """The inverse of `to_json`."""
        return cls(**{**data, "problems": tuple(data["problems"]), "fail_on": tuple(data["fail_on"])})

    def headline(self, tally: str) -> str:
        """'gate against origin/main (abc): 1 regressed, 7 ok; 8 cases paired, 3 not suspect; 5 min 12 s'."""
        spent = f"{self.pairs_run} pairs in {duration(self.wall_s)}" if self.pairs_run else "no pair was needed"
        return (
            f"gate: {self.head} against {self.base}: {tally}; "
            f"{self.cases_paired} paired, {self.cases_cleared} cleared by stored runs; {spent}"
        )

    def remarks(self) -> tuple[str, ...]:
        """Everything else a reader must know."""
        return tuple(filter(None, [self.shift_sentence, *self.problems]))


def facts_of(info: Mapping[str, Any]) -> GateFacts | None:
    """The gate's facts in a run's info, when it was gated."""
    found = info.get("gate")
    return GateFacts.from_json(found) if isinstance(found, Mapping) else None
