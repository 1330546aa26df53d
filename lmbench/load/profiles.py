"""Shapes that are known ahead: hold, soak, steps, geometric, slope, spike, wave, closed loops, a recording; pure."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from lmbench.base.numbers import LARGEST
from lmbench.load.arrivals import Schedule
from lmbench.load.shapes import HOLD, RAMP, RECOVERY, SPIKE, Passed, Step
from lmbench.load.traces import Trace

RAMP_PIECES, WAVE_PIECES = 10, 24
MOST_STEPS = 10_000
SLACK = 1e-5
"""A last rate that is this little above the end of a geometric series still belongs to it; six digits are enough to say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A step before it is known when it starts; fields as in Step."""

    duration_s: float
    kind: str = HOLD
    rate: float = 0.0
    end_rate: float | None = None
    streams: int | None = None
    think_s: float = 0.0


class Profile(ABC):
    """A shape that is known ahead: its segments become steps, however those before went."""

    __slots__ = ()
    continuous: ClassVar[bool] = True

    @property
    @abstractmethod
    def segments(self) -> tuple[Segment, ...]: ...

    def leaves_backlog(self, past: Sequence[Passed], step: Step) -> bool:
        """Never: only a ramp has a step that sees a backlog cleared."""
        del past, step
        return False

    def next_step(self, past: Sequence[Passed], start_s: float) -> Step | None:
        """The next segment as a step."""
        segments = self.segments
        if len(past) >= len(segments):
            return None
        one = segments[len(past)]
        return Step(
            index=len(past),
            kind=one.kind,
            rate=one.rate,
            start_s=start_s,
            duration_s=one.duration_s,
            end_rate=one.end_rate,
            streams=one.streams,
            think_s=one.think_s,
        )

    @property
    def duration_s(self) -> float:
        return sum(segment.duration_s for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Profile):
    """One rate for a while."""

    rate: float
    duration_s: float

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (Segment(rate=self.rate, duration_s=self.duration_s),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak(Hold):
    """One rate for hours: a single step, whose requests are looked at in windows afterwards, for drift and leaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps(Profile):
    """Given rates one after the other, each decided before the next; ramp steps when they rise."""

    rates: tuple[float, ...]
    each_s: float
    continuous: ClassVar[bool] = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        kind = RAMP if len(self.rates) > 1 and all(low < high for low, high in pairwise(self.rates)) else HOLD
        return tuple(Segment(kind=kind, rate=rate, duration_s=self.each_s) for rate in self.rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometric(Profile):
    """Geometric steps from `start` to at most `end`, each decided before the next, whatever the SLO says."""

    start: float
    end: float
    growth: float
    each_s: float
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        steps_between(self.start, self.end, self.growth)

    @property
    def segments(self) -> tuple[Segment, ...]:
        count = steps_between(self.start, self.end, self.growth)
        return tuple(Segment(kind=RAMP, rate=self.start * self.growth**k, duration_s=self.each_s) for k in range(count))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope(Profile):
    """The rate in one straight line from `start` to `end`, cut into `pieces` of equal length."""

    start: float
    end: float
    duration_s: float
    pieces: int = RAMP_PIECES

    def __post_init__(self) -> None:
        if not (0 <= min(self.start, self.end) < max(self.start, self.end) <= LARGEST):
            raise ValueError(f"found rates {self.start:g}..{self.end:g}; expected two different ones, up to {LARGEST:g}")
        _few(self.pieces)

    @property
    def segments(self) -> tuple[Segment, ...]:
        slope = (self.end - self.start) / self.pieces
        kind = RAMP if slope > 0 else HOLD
        return _lines([*(self.start + slope * k for k in range(self.pieces)), self.end], self.duration_s, kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike(Profile):
    """`base` for `around_s`, `peak` for `peak_s`, and `base` again for `around_s`, which shows the recovery."""

    base: float
    peak: float
    peak_s: float
    around_s: float

    def __post_init__(self) -> None:
        if not self.peak > self.base > 0:
            raise ValueError(f"found rates {self.base:g}..{self.peak:g}; expected a spike above its surroundings")

    @property
    def segments(self) -> tuple[Segment, ...]:
        return (
            Segment(rate=self.base, duration_s=self.around_s),
            Segment(kind=SPIKE, rate=self.peak, duration_s=self.peak_s),
            Segment(kind=RECOVERY, rate=self.base, duration_s=self.around_s),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wave(Profile):
    """Two equal peaks, at 1/4 and 3/4 of `duration_s`: low + (high - low) sin(2 pi t / duration)^2, in straight pieces.

    It imitates a day of a public service, busy around noon and in the evening (what Locust calls a double wave).
    """

    low: float
    high: float
    duration_s: float
    pieces: int = WAVE_PIECES

    def __post_init__(self) -> None:
        if not (self.high > self.low >= 0 and self.pieces % 4 == 0 and self.pieces >= 8):
            found = f"rates {self.low:g}..{self.high:g} and {self.pieces} pieces"
            raise ValueError(f"found {found}; expected rising rates, and 8, 12, 16 ... pieces, so that both peaks are reached")
        _few(self.pieces)

    @property
    def segments(self) -> tuple[Segment, ...]:
        heights = (math.sin(2 * math.pi * k / self.pieces) ** 2 for k in range(self.pieces + 1))
        return _lines([self.low + (self.high - self.low) * height for height in heights], self.duration_s, HOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Profile):
    """Closed loops of so many users one after the other, each drained before the next; `think_s` is a mean."""

    streams: tuple[int, ...]
    each_s: float
    think_s: float = 0.0
    continuous: ClassVar[bool] = False

    @property
    def segments(self) -> tuple[Segment, ...]:
        return tuple(Segment(streams=count, think_s=self.think_s, duration_s=self.each_s) for count in self.streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay(Profile):
    """A recording, cut into `pieces` of equal length that each have the mean rate of what came in them, 0 included."""

    trace: Trace
    pieces: int = RAMP_PIECES

    @property
    def segments(self) -> tuple[Segment, ...]:
        each_s = self.trace.duration_s / self.pieces
        counts = (len(self._between(index)) for index in range(self.pieces))
        return tuple(Segment(rate=count / each_s, duration_s=each_s) for count in counts)

    def schedule(self, step: Step) -> Schedule:
        """When requests leave in a step of this shape: as recorded, instead of drawn from its rate."""
        return self._between(step.index)

    def _between(self, index: int) -> Schedule:
        each_s = self.trace.duration_s / self.pieces
        return self.trace.between(index * each_s, (index + 1) * each_s)


def steps_between(start: float, end: float, growth: float) -> int:
    """How many of start, start x growth, ... are not above `end`; raises ValueError when that is not even one."""
    if not (0 < start <= end * (1 + SLACK) and growth > 1):
        raise ValueError(f"found rates {start:g}..{end:g} and growth {growth:g}; expected rising ones and growth above 1")
    count = 1 + math.floor(math.log(end * (1 + SLACK) / start) / math.log(growth))
    if count > MOST_STEPS:
        raise ValueError(f"found {count} steps from {start:g} to {end:g}; expected at most {MOST_STEPS}, with a larger growth")
    return count


def _few(pieces: int) -> None:
    if pieces > MOST_STEPS:
        raise ValueError(f"found {pieces} pieces; expected at most {MOST_STEPS}")


def _lines(rates: Sequence[float], duration_s: float, kind: str) -> tuple[Segment, ...]:
    """Straight pieces of equal length through `rates`."""
    each_s = duration_s / (len(rates) - 1)
    return tuple(Segment(kind=kind, rate=first, end_rate=last, duration_s=each_s) for first, last in pairwise(rates))
