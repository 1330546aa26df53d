"""Calls at absolute moments; uvloop's own timers are whole milliseconds and may be early."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Protocol

CLOCK_MONOTONIC, ABSOLUTE = 1, 1
"""From linux/time.h and sys/timerfd.h; measure/clock.py reads the same clock."""


class Timer(Protocol):
    """Calls its function once at the moment last given to `at`; never early."""

    def at(self, moment: float) -> None:
        """Set or move the moment, in seconds on the run's clock; a moment that has passed calls as soon as may be."""

    def close(self) -> None: ...


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class KernelTimer:
    """A timerfd: the kernel wakes the loop within some tens of microseconds of the moment (timerfd_create(2))."""

    def __init__(self, libc: ctypes.CDLL, loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
        self._loop, self._call = loop, call
        self._settime = libc.timerfd_settime
        self._spec = _Itimerspec()
        self._fd = libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        loop.add_reader(self._fd, self._fired)

    def at(self, moment: float) -> None:
        whole = max(int(moment), 0)
        self._spec.value.seconds = whole
        self._spec.value.nanoseconds = max(int((moment - whole) * 1e9), 1)  # 0 would disarm it
        self._settime(self._fd, ABSOLUTE, ctypes.byref(self._spec), None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _fired(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # moved between the wake-up and now
            return
        self._call()


class LoopTimer:
    """The loop's own timer, for systems without timerfd."""

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Callable[[], None], now: Callable[[], float]) -> None:
        self._loop, self._call, self._now = loop, call, now
        self._moment = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def at(self, moment: float) -> None:
        self.close()
        self._moment = moment
        self._handle = self._loop.call_later(max(0.0, moment - self._now()), self._fired)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _fired(self) -> None:
        if self._now() < self._moment:
            self.at(self._moment)
        else:
            self._call()


def timer(loop: asyncio.AbstractEventLoop, call: Callable[[], None], now: Callable[[], float]) -> Timer:
    """The most precise timer this system has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "timerfd_create"):
        return KernelTimer(libc, loop, call)
    return LoopTimer(loop, call, now)
