"""What is to be said of a gated session as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.typed import made
from lmbench.base.units import duration

ANSWERS = {None: "not finished", 0: "OK", 1: "NOT OK", 2: "INTERRUPTED", 8: "NOT DECIDED", 129: "INTERRUPTED", 143: "INTERRUPTED"}
"""By exit status, in words that need no colour."""


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
    cases_decided: int | None = None
    """None for runs that older versions stored."""
    cut_short: tuple[str, ...] = ()
    """Node ids that the budget ended before they were decided."""
    unpaired: tuple[str, ...] = ()
    """Node ids without a counterpart in the base to compare with."""
    not_decided: str = ""
    """Why the gate as a whole is not decided (exit status 8); empty when it is."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives an equal noun back."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateFacts:
        """The inverse of `to_json`."""
        try:
            return made(cls, data, "gate")
        except Unreadable as error:
            raise StoreError(f"found damaged facts of a gate ({error.found}); expected {error.expected}") from error

    def headline(self, tally: str) -> str:
        """'gate OK: abc against origin/main (def): 8 cases: 8 ok; 5 paired, 3 cleared by stored runs; 8 pairs in 20 s'."""
        needed = "no pair was run" if self.cases_paired or self.not_decided else "no pair was needed"
        pairs = f"{self.pairs_run} pair{'s' if self.pairs_run != 1 else ''}"
        spent = f"{pairs} in {duration(self.wall_s)}" if self.pairs_run else needed
        answer = ANSWERS.get(self.exit_status, f"exit status {self.exit_status}")
        return (
            f"gate {answer}: {self.head} against {self.base}: {tally}; "
            f"{self.cases_paired} paired, {self.cases_cleared} cleared by stored runs; {spent}"
        )

    def remarks(self) -> tuple[str, ...]:
        """Everything else a reader must know, what was not decided first."""
        not_decided = f"not decided: {self.not_decided}" if self.not_decided else ""
        return tuple(filter(None, [not_decided, self.shift_sentence, *self.problems]))


def facts_of(info: Mapping[str, Any]) -> GateFacts | None:
    """The gate's facts in a run's info, when it was gated."""
    found = info.get("gate")
    return GateFacts.from_json(found) if isinstance(found, Mapping) else None
