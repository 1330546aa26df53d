"""Replicas that work on all their requests at once: processor sharing, simulated; a latency hangs on who else is in.

With n requests in it a replica gives each the share min(1, capacity / n) of the speed of one alone: up to `capacity` requests do
not slow each other down. Servers without a queue of their own are nearer to this than to a queue before slots (Kleinrock 1967,
"Time-shared Systems", for capacity 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
"""Counts, and numbers of replicas."""
Route = Callable[[int, Whole], Whole]
"""(number of the arrival, requests in every replica [lanes, replicas]) -> the replica [lanes] that gets it."""
ROOM = 16
"""Requests in one replica for which there is room at first."""


def shared_latencies(replicas: int, capacity: float, moments: Times, work: Times, route: Route) -> Times:
    """Seconds from arrival to end [lanes, requests] of requests that arrive at `moments` and take `work` seconds alone."""
    lanes, count = moments.shape
    station = _Station(lanes, replicas, capacity, count)
    for index in range(count):
        station.advance(moments[:, index])
        station.enter(route(index, station.inside), index, work[:, index])
    station.advance(np.full(lanes, np.inf))
    found: Times = station.ended - moments
    return found


class _Station:
    """All replicas of all lanes.

    A replica's own clock runs with the work that it gives each of its requests: one that takes `work` ends when that clock has
    gone on by as much, whoever comes and goes meanwhile.
    """

    def __init__(self, lanes: int, replicas: int, capacity: float, count: int) -> None:
        self._capacity = capacity
        self._every = np.arange(lanes)
        self._at = np.zeros((lanes, replicas))
        """The moment that each replica has reached."""
        self._own = np.zeros((lanes, replicas))
        self._ends = np.full((lanes, replicas, ROOM), np.inf)
        """On the replica's own clock; infinite where a place is free."""
        self._next = np.full((lanes, replicas), np.inf)
        """The earliest of them."""
        self._whose = np.zeros((lanes, replicas, ROOM), dtype=np.int64)
        self.inside: Whole = np.zeros((lanes, replicas), dtype=np.int64)
        self.ended: Times = np.zeros((lanes, count))
        """When each request ended."""

    def advance(self, to: Times) -> None:
        """Let time pass until `to` [lanes]; until all have ended where that is infinite."""
        while True:
            speed = np.minimum(1.0, self._capacity / np.maximum(self.inside, 1))
            moment = self._at + (self._next - self._own) / speed
            lane, replica = np.nonzero((self.inside > 0) & (moment <= to[:, None]))
            if not len(lane):
                break
            self._end(lane, replica, moment[lane, replica])
        if np.isfinite(to).all():
            self._own += (to[:, None] - self._at) * speed
            self._at[:] = to[:, None]

    def enter(self, replica: Whole, index: int, work: Times) -> None:
        """Request `index` of each lane goes to `replica` [lanes]."""
        lane = self._every
        if self.inside[lane, replica].max() == self._ends.shape[2]:
            self._grow()
        place = np.isinf(self._ends[lane, replica]).argmax(axis=1)
        end = self._own[lane, replica] + work
        self._ends[lane, replica, place] = end
        self._whose[lane, replica, place] = index
        self._next[lane, replica] = np.minimum(self._next[lane, replica], end)
        self.inside[lane, replica] += 1

    def _end(self, lane: Whole, replica: Whole, moment: Times) -> None:
        place = self._ends[lane, replica].argmin(axis=1)
        self.ended[lane, self._whose[lane, replica, place]] = moment
        self._at[lane, replica], self._own[lane, replica] = moment, self._next[lane, replica]
        self._ends[lane, replica, place] = np.inf
        self._next[lane, replica] = self._ends[lane, replica].min(axis=1)
        self.inside[lane, replica] -= 1

    def _grow(self) -> None:
        self._ends = np.concatenate([self._ends, np.full_like(self._ends, np.inf)], axis=2)
        self._whose = np.concatenate([self._whose, np.zeros_like(self._whose)], axis=2)
