"""How the offered rate changes: a ramp of geometric steps until the SLO breaks, then a recovery step."""

from __future__ import annotations

from dataclasses import dataclass

RAMP, RECOVERY = "ramp", "recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """What a ramp is made of. Rates in requests/s, lengths in seconds.

    A step lasts `step_s`, or longer where fewer than `min_requests` arrivals would be expected:
    a share of two requests says nothing about an SLO. The same holds for the recovery step.
    """

    start_rate: float
    growth: float
    max_steps: int
    step_s: float
    recovery_s: float
    min_requests: int = 10

    def __post_init__(self) -> None:
        if not (self.start_rate > 0 and self.growth > 1 and self.max_steps >= 1 and self.step_s > 0):
            raise ValueError(f"found {self}; expected start_rate > 0, growth > 1, max_steps >= 1 and step_s > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stretch of constant offered rate, starting at `start_s` on the run's clock."""

    index: int
    kind: str
    rate: float
    start_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        return self.start_s + self.duration_s


def next_step(ramp: Ramp, last: Step | None, *, met: bool, start_s: float) -> Step | None:
    """The step after `last`, whose SLO was met or not; None when the run is over.

    The ramp climbs while the SLO is met and ends after `max_steps`. Once it breaks, one recovery step at the
    first rate follows; a ramp that never broke has nothing to recover from.
    """
    if last is None:
        return _step(ramp, 0, RAMP, start_s)
    if last.kind == RECOVERY:
        return None
    if not met:
        return _step(ramp, last.index + 1, RECOVERY, start_s) if ramp.recovery_s > 0 else None
    if last.index + 1 >= ramp.max_steps:
        return None
    return _step(ramp, last.index + 1, RAMP, start_s)


def _step(ramp: Ramp, index: int, kind: str, start_s: float) -> Step:
    rate = ramp.start_rate * (ramp.growth**index if kind == RAMP else 1.0)
    wanted = ramp.step_s if kind == RAMP else ramp.recovery_s
    return Step(index=index, kind=kind, rate=rate, start_s=start_s, duration_s=max(wanted, ramp.min_requests / rate))
