"""A heartbeat that measures how late the event loop is: what the client adds to every time it reports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lmbench.load.http.timer import timer

BEAT_S = 0.01


class Heart:
    """Beats every BEAT_S and keeps how late each beat was; `beat` calls are for whatever needs a look that often."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float], beat: Callable[[float], None]) -> None:
        self._now, self._call = now, beat
        self._lags_s: list[float] = []
        self._timer = timer(loop, self._beat, now)
        self._due = now() + BEAT_S
        self._timer.at(self._due)

    @property
    def beats(self) -> int:
        """Beats so far; give it to `worst_s` later."""
        return len(self._lags_s)

    def worst_s(self, since: int, now: float) -> float:
        """The largest lag of the beats from number `since` on, and of one that is overdue at `now`."""
        overdue = max(now - self._due, 0.0)
        return max([overdue, *self._lags_s[since:]])

    def stop(self) -> None:
        self._timer.close()

    def _beat(self) -> None:
        now = self._now()
        self._lags_s.append(max(now - self._due, 0.0))
        self._due = now + BEAT_S
        self._timer.at(self._due)
        self._call(now)
