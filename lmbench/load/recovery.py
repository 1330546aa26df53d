"""After a spike: how long until latency and the number of requests in flight are back to what they were before it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmbench.load.requests import REJECTED, RequestLog
from lmbench.load.shapes import HOLD, SPIKE, Step

TOLERANCE = 0.1
STRETCH_S = 2.0
MIN_REQUESTS = 10
"""Judged over stretches of 2 s, or longer where fewer than 10 requests would be expected in one."""
PARTS = 4
"""Stretches begin this many times per stretch: the answer is exact to a quarter of one."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Seconds from the end of the spike until both were back, and each alone; None where that was not seen, with the reason."""

    seconds: float | None
    reason: str
    latency_back_s: float | None = None
    in_flight_back_s: float | None = None
    latency_limit_s: float | None = None
    """Back means: the median latency of a stretch, bad requests counting as endless, is not above this."""
    in_flight_limit: float | None = None
    """And its mean number of requests in flight not above this."""
    step_s: float | None = None
    """The answer is a multiple of this: stretches begin so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Requests:
    """Columns of the logs: scheduled moment, latency (inf where bad), and when each was in flight."""

    scheduled: Array
    latency: Array
    begin: Array
    end: Array

    def median(self, start: float, stop: float) -> float:
        """Median latency of what was scheduled in [start, stop); inf for nothing."""
        first, last = np.searchsorted(self.scheduled, (start, stop))
        return float(np.median(self.latency[first:last])) if last > first else math.inf

    def in_flight(self, start: float, stop: float) -> float:
        """Mean number of requests in flight in [start, stop]."""
        overlap = np.minimum(self.end, stop) - np.maximum(self.begin, start)
        return float(np.clip(overlap, 0.0, None).sum()) / (stop - start)


def after_spike(logs: Sequence[RequestLog], steps: Sequence[Step]) -> Recovery:
    """Recovery after the one spike of `steps` (hold, spike, then recovery or hold), in order of time.

    A limit is the value over the whole hold before the spike plus 10 %, or the worst of that hold's own stretches where that is
    higher: chance alone must not look like a spike. Something is back at the first moment from which both the next stretch and
    all the rest of the run are within its limit.
    """
    places = [place for place, step in enumerate(steps) if step.kind == SPIKE]
    if len(places) != 1:
        return Recovery(seconds=None, reason=f"found {len(places)} spikes; expected one")
    before = [step for step in steps[: places[0]] if step.kind == HOLD]
    after = steps[places[0] + 1 :]
    if not before or not after:
        missing = "hold before" if not before else "step after"
        return Recovery(seconds=None, reason=f"there was no {missing} the spike to compare with")
    calm = (before[0].start_s, before[-1].end_s)
    late = (steps[places[0]].end_s, after[-1].end_s)
    stretch = max(STRETCH_S, MIN_REQUESTS / min(_rate(logs, *calm), _rate(logs, *late)))
    if not 2 * stretch <= min(calm[1] - calm[0], late[1] - late[0]):
        reason = f"too short: hold and recovery must each last two stretches of {stretch:.3g} s ({MIN_REQUESTS} requests)"
        return Recovery(seconds=None, reason=reason)
    return _recovery(_columns(logs), calm, late, stretch)


def _recovery(requests: _Requests, calm: tuple[float, float], late: tuple[float, float], stretch: float) -> Recovery:
    usual = _stretches(*calm, stretch)
    worst_latency = max(requests.median(*part) for part in usual)
    latency_limit = max((1 + TOLERANCE) * requests.median(*calm), worst_latency)
    open_limit = max((1 + TOLERANCE) * requests.in_flight(*calm), *(requests.in_flight(*part) for part in usual))
    if not math.isfinite(latency_limit):
        return Recovery(seconds=None, reason="requests failed before the spike: there was no normal state to come back to")
    latency_back, open_back, seconds = None, None, None
    for start, stop in _stretches(*late, stretch):
        spans = ((start, stop), (start, late[1]))
        fast = all(requests.median(*span) <= latency_limit for span in spans)
        few = all(requests.in_flight(*span) <= open_limit for span in spans)
        since = start - late[0]
        latency_back = since if fast and latency_back is None else latency_back
        open_back = since if few and open_back is None else open_back
        seconds = since if fast and few and seconds is None else seconds
    last = (late[1] - stretch, late[1])
    reason = (
        ""
        if seconds is not None
        else (
            f"not back within {late[1] - late[0]:.3g} s: median latency at the end {requests.median(*last):.3g} s (limit "
            f"{latency_limit:.3g} s), {requests.in_flight(*last):.3g} requests in flight (limit {open_limit:.3g})"
        )
    )
    return Recovery(
        seconds=seconds,
        reason=reason,
        latency_back_s=latency_back,
        in_flight_back_s=open_back,
        latency_limit_s=latency_limit,
        in_flight_limit=open_limit,
        step_s=stretch / PARTS,
    )


def _stretches(start: float, stop: float, stretch: float) -> list[tuple[float, float]]:
    """Overlapping stretches that lie in [start, stop]."""
    count = int((stop - start - stretch) / stretch * PARTS + 1e-9) + 1
    return [(start + place * stretch / PARTS, start + place * stretch / PARTS + stretch) for place in range(count)]


def _rate(logs: Sequence[RequestLog], start: float, stop: float) -> float:
    """Requests per second scheduled in [start, stop); a tiny number for none, so that no stretch is long enough."""
    count = sum(start <= log.request.scheduled_s < stop for log in logs)
    return max(count / (stop - start), 1e-9)


def _columns(logs: Sequence[RequestLog]) -> _Requests:
    """A request without an end was in flight until the run was over; a rejected one never was."""
    ordered = sorted(logs, key=lambda log: log.request.scheduled_s)
    ends = [log.request.sent_s if log.status == REJECTED else (log.finished_s or math.inf) for log in ordered]
    return _Requests(
        scheduled=np.array([log.request.scheduled_s for log in ordered]),
        latency=np.array([math.inf if log.latency_s is None else log.latency_s for log in ordered]),
        begin=np.array([log.request.sent_s for log in ordered]),
        end=np.array(ends),
    )
