"""A tripped wire is confirmed: the case is run again in fresh processes, on CPUs that nobody else holds if they can be had."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from lmbench.base.numbers import MOST_CHARS
from lmbench.compare.contention import BOUND, calm
from lmbench.compare.tripwire import MAX_HEADS
from lmbench.measure.clock import CLOCK, Clock
from lmbench.measure.probes.pressure import Pressure
from lmbench.record.record import Record

OPTION, INI, OFF = "--lmbench-max-contention", "lmbench_max_contention", "off"
WANTED = MAX_HEADS - 1
TRIES = 2 * WANTED
"""Runs of one case at most, contended ones included."""
PATIENCE_S = 30.0
"""A whole session waits this long for the machine to become quiet, not each of its cases."""
LOOK_S = 1.0
Say = Callable[[str], None]


def add_contention(group: pytest.OptionGroup, parser: pytest.Parser) -> None:
    """Register the bound."""
    parser.addini(INI, f"like {OPTION}", default=f"{BOUND:.0%}")
    group.addoption(
        OPTION,
        metavar="SHARE",
        default=None,
        help="share of the measured time in which tasks waited for a CPU from which the times of a run, or of a pair of whole "
        f"runs, decide nothing; {OFF!r}: they always count (ini {INI}, {BOUND:.0%})",
    )


def contention_bound(config: pytest.Config) -> float:
    """The bound as a share; infinite when it is off. Raises UsageError for anything else."""
    text = str(config.getoption("lmbench_max_contention", None) or config.getini(INI)).strip()
    if text == OFF:
        return math.inf
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1) if len(text) <= MOST_CHARS else math.nan
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise pytest.UsageError(f"{OPTION}: found {text!r}; expected a share such as 20% or 0.2, or {OFF!r}")
    return value


class Confirmation:
    """Open for a session, since its patience is one; `bound` is the contention from which a rerun confirms nothing."""

    def __init__(self, bound: float, say: Say, *, clock: Clock = CLOCK, now: Callable[[], float | None] | None = None) -> None:
        self.bound = bound
        self._say = say
        self._clock = clock
        self._now = now or pressure_now
        self._left_s = PATIENCE_S

    def reruns(self, again: Callable[[], Record]) -> list[Record]:
        """WANTED uncontended runs of a case, fewer where the machine stays busy; the last contended one when there is none."""
        found: list[Record] = []
        while len(calm(found, self.bound)) < WANTED and len(found) < TRIES:
            quiet = self.wait()
            if not quiet and len(found) >= WANTED:
                break
            found.append(again())
        return list(calm(found, self.bound)) or found[-1:]

    def wait(self) -> bool:
        """Wait while others hold the CPUs; whether they do not any more, or that cannot be known."""
        while True:
            share = self._now()
            if share is None or share < self.bound:
                return True
            if self._left_s <= 0:
                return False
            self._say(f"waiting for CPUs that others hold: tasks waited {share:.0%} of the last 10 s")
            self._clock.sleep_until(self._clock.now() + LOOK_S)
            self._left_s -= LOOK_S


def pressure_now() -> float | None:
    """Share of the last 10 s in which some task waited for a CPU; None where the kernel does not know."""
    probe = Pressure()
    try:
        percent = probe.read().get("psi_cpu_some_avg10")
    finally:
        probe.close()
    return None if percent is None else percent / 100
