"""The ramp: rising rates until one breaks the SLO, that one tried again, then finer rates between the two; pure.

A rate is decided by the majority of its tries. The first rate that breaks is tried again before it ends the climb, so that
one bad moment of the machine does not; the two rates that bound the answer have at least two tries each, and a third where
two disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmbench.load.shapes import PROBE, RAMP, RECOVERY, Passed, Step
from lmbench.load.slo import Verdict

TRIES = 2
"""Tries of each rate that bounds the answer; a third decides between two that disagree."""
MAX_PROBES = 16
"""Steps after the climb at most."""
SLACK = 1e-9
_BROKEN = Verdict(requests=1, good=0, attainment=0.0, low=0.0, high=0.0, met=False, target=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """All tries of one rate, in their order."""

    rate: float
    tries: tuple[Passed, ...]

    @property
    def held(self) -> bool:
        """Whether more of its tries held than broke."""
        return 2 * sum(one.met for one in self.tries) > len(self.tries)

    @property
    def broke(self) -> bool:
        """Whether more of its tries broke than held."""
        return 2 * sum(one.met for one in self.tries) < len(self.tries)

    @property
    def torn(self) -> bool:
        """Whether as many tries held as broke."""
        return not self.held and not self.broke

    @property
    def both(self) -> bool:
        """Whether some try held and another broke."""
        return len({one.met for one in self.tries}) > 1

    @property
    def sure(self) -> bool:
        """Whether it was tried often enough to bound the answer."""
        return len(self.tries) >= TRIES and not self.torn


def rungs(past: Iterable[Passed]) -> tuple[Rung, ...]:
    """The rates that a ramp has tried, by rising rate; recovery is no try."""
    tries: dict[float, list[Passed]] = {}
    for passed in past:
        if passed.step.kind in (RAMP, PROBE):
            tries.setdefault(passed.step.mean_rate, []).append(passed)
    return tuple(Rung(rate=rate, tries=tuple(tries[rate])) for rate in sorted(tries))


def bracket(found: Sequence[Rung]) -> tuple[Rung | None, Rung | None]:
    """The lowest rate that broke, and the highest one below it that held."""
    high = next((rung for rung in found if rung.broke), None)
    below = [rung for rung in found if rung.held and (high is None or rung.rate < high.rate)]
    return (below[-1] if below else None), high


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """Geometric steps until the SLO breaks, then a recovery step at the first rate. Rates in requests/s, lengths in seconds.

    A step lasts `step_s`, or longer where fewer than `min_requests` arrivals would be expected: a share of two requests says
    nothing about an SLO. The same holds for the recovery step. A ramp that never broke has nothing to recover from.

    With a `resolution` the rate that broke is tried again, a first rate that broke is followed by lower ones, and after the
    recovery step the gap between the rate that held and the one that broke is halved (on the log scale) until the upper one
    is at most that share above the lower one; both are then tried again. Without one the first broken step is the last.
    """

    start_rate: float
    growth: float
    max_steps: int
    step_s: float
    recovery_s: float
    min_requests: int = 10
    resolution: float | None = None
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (self.start_rate > 0 and self.growth > 1 and self.max_steps >= 1 and self.step_s > 0):
            raise ValueError(f"found {self}; expected start_rate > 0, growth > 1, max_steps >= 1 and step_s > 0")

    def leaves_backlog(self, past: Sequence[Passed], step: Step) -> bool:
        """True where a broken `step` would be followed by the recovery step, or by nothing."""
        following = self.next_step([*past, Passed(step=step, verdict=_BROKEN)], step.end_s)
        return following is None or following.kind == RECOVERY

    def next_step(self, past: Sequence[Passed], start_s: float) -> Step | None:
        """The next rate to try, the recovery step once the climb has ended broken, None when nothing is left to try."""
        if not past:
            return self._step(past, RAMP, self.start_rate, start_s)
        if self.resolution is None:
            return self._plain(past, start_s)
        recovered = any(one.step.kind == RECOVERY for one in past)
        if not recovered and not any(one.step.kind == PROBE for one in past):
            rate = self._climb(rungs(past))
            if rate is not None:
                return self._step(past, RAMP, rate, start_s)
            if self.recovery_s > 0 and not past[-1].met and past[-1].step.rate > self.start_rate:
                return self._step(past, RECOVERY, self.start_rate, start_s)
        if sum(one.step.kind == PROBE for one in past) >= MAX_PROBES:
            return None
        rate = self._finer(rungs(past), self.resolution)
        return None if rate is None else self._step(past, PROBE, rate, start_s)

    def _plain(self, past: Sequence[Passed], start_s: float) -> Step | None:
        last = past[-1]
        if last.step.kind == RECOVERY:
            return None
        if not last.met:
            return self._step(past, RECOVERY, self.start_rate, start_s) if self.recovery_s > 0 else None
        if len(past) >= self.max_steps:
            return None
        return self._step(past, RAMP, self.start_rate * self.growth ** len(past), start_s)

    def _climb(self, found: Sequence[Rung]) -> float | None:
        """The next rate of the ladder; None at its end, or when a rate is known to break and a lower one to hold."""
        low, high = bracket(found)
        unsure = next((rung for rung in found if rung.torn), high if high is not None and not high.sure else None)
        if unsure is not None:
            return unsure.rate
        place = round(math.log((high or found[-1]).rate / self.start_rate) / math.log(self.growth))
        if high is None:
            return self._level(place + 1) if place + 1 < self.max_steps else None
        if low is None:
            return self._level(place - 1) if place > -self.max_steps else None
        return None

    def _finer(self, found: Sequence[Rung], resolution: float) -> float | None:
        """The rate that narrows the gap, or one that bounds it and has too few tries."""
        torn = next((rung for rung in found if rung.torn), None)
        if torn is not None:
            return torn.rate
        low, high = bracket(found)
        if high is None:
            return None
        if low is None:  # lower still, where a try at the first rates had held; else nothing ever will
            return high.rate / self.growth if any(one.met for rung in found for one in rung.tries) else None
        if high.rate / low.rate - 1 > resolution * (1 + SLACK):
            return math.sqrt(low.rate * high.rate)
        return next((rung.rate for rung in (high, low) if not rung.sure), None)

    def _level(self, place: int) -> float:
        return self.start_rate * self.growth**place

    def _step(self, past: Sequence[Passed], kind: str, rate: float, start_s: float) -> Step:
        wanted = self.recovery_s if kind == RECOVERY else self.step_s
        duration = max(wanted, self.min_requests / rate)
        return Step(index=len(past), kind=kind, rate=rate, start_s=start_s, duration_s=duration)
