"""The one clock: the only file of lmbench that reads time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Seconds on a monotonic scale, and waiting without spinning."""

    def now(self) -> float: ...
    def sleep_until(self, moment: float) -> None: ...


class MonotonicClock:
    """CLOCK_MONOTONIC in seconds: one scale for all processes of a machine, so samples and requests line up."""

    def now(self) -> float:
        return time.perf_counter()

    def sleep_until(self, moment: float) -> None:
        """Sleep in the kernel until `moment`; returns at once when it has passed."""
        delay = moment - time.perf_counter()
        if delay > 0:
            time.sleep(delay)


class ManualClock:
    """A clock that moves only when told or slept on: simulations and tests need no waiting."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def sleep_until(self, moment: float) -> None:
        self._now = max(self._now, moment)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now += seconds


CLOCK = MonotonicClock()


def thread_cpu_s() -> float:
    """CPU seconds of the calling thread."""
    return time.thread_time()


def process_cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    return time.process_time()


def utc_now() -> str:
    """The wall-clock date in UTC, ISO 8601 with seconds; for labels only, never for durations."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def epoch_s() -> float:
    """The wall clock in seconds since 1970, for files that other tools read; never for durations."""
    return time.time()
