"""How the offered rate changes: a shape hands out steps one by one, knowing how those before it went; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lmbench.load.slo import Verdict

RAMP, HOLD, SPIKE, PROBE, RECOVERY = "ramp", "hold", "spike", "probe", "recovery"
"""Kinds of steps. ramp: one of rising rates; hold: a given rate; spike: far above the rate around it; probe: one try of a
search, or a finer step of a ramp; recovery: back at a low rate, to see the service come back."""
HELD, BROKE, UNRESOLVED, ABORTED = "held", "broke", "unresolved", "aborted"
INTERRUPTED = "interrupted"
"""Ended by Ctrl-C: neither held nor broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stretch of offered load, starting at `start_s` on the run's clock. Rates in requests/s.

    The rate goes in a straight line from `rate` to `end_rate` where that is set. With `streams` the load is a closed loop
    instead: that many users who each send their next request `think_s` (mean) after the last answer; `rate` is then 0.
    """

    index: int
    kind: str
    rate: float
    start_s: float
    duration_s: float
    end_rate: float | None = None
    streams: int | None = None
    think_s: float = 0.0

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s

    @property
    def mean_rate(self) -> float:
        return self.rate if self.end_rate is None else (self.rate + self.end_rate) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A step that is over, what the SLO says of it, and why it was ended early if it was."""

    step: Step
    verdict: Verdict
    cut: str = ""

    @property
    def state(self) -> str:
        """held or broke when the interval of the attainment excludes the target's other side, else unresolved.

        A step that was ended early because the service fell behind is aborted; that counts as broken.
        """
        if self.cut:
            return INTERRUPTED if self.cut == INTERRUPTED else ABORTED
        if self.verdict.resolved:
            return HELD if self.verdict.met else BROKE
        return UNRESOLVED

    @property
    def met(self) -> bool:
        """The point estimate: whether the SLO was met, however sure that is."""
        return self.verdict.met and not self.cut


class Shape(Protocol):
    """Hands out the steps of a run."""

    @property
    def continuous(self) -> bool:
        """Whether its steps are known ahead and follow each other at once, whatever became of the requests before."""

    def leaves_backlog(self, past: Sequence[Passed], step: Step) -> bool:
        """Whether `step`, after `past`, may leave its requests to the next one if it breaks: that sees them cleared."""

    def next_step(self, past: Sequence[Passed], start_s: float) -> Step | None:
        """The step after `past` (all steps so far, in order), starting at `start_s`; None when the run is over."""
