"""A load run over time: equal slices with what was offered, what ended, what was open and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from lmbench.load.requests import RequestLog

FloatArray = npt.NDArray[np.float64]
SLICES = 120
LEAST_SLICE_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """[t_s, t_s + length) of the run, counted from its start; rates in requests/s, times in seconds.

    Requests count where they were due (`offered_rate`, latencies) or where they ended (`completed_rate`, `bad`).
    """

    t_s: float
    offered_rate: float
    completed_rate: float
    bad: int
    """Requests that ended otherwise than completed."""
    in_flight: float
    """Mean number of requests sent and not ended."""
    latency_p50_s: float | None
    latency_max_s: float | None
    ttft_p50_s: float | None


def timeline(logs: Sequence[RequestLog], *, start_s: float) -> tuple[Slice, ...]:
    """At most SLICES slices of at least LEAST_SLICE_S from `start_s` to the last end; empty without requests."""
    if not logs:
        return ()
    # Counted from the start before anything else: sums of moments on the run's clock would lose digits.
    sent = [log.request.sent_s - start_s for log in logs]
    ends = [sent[k] if log.finished_s is None else log.finished_s - start_s for k, log in enumerate(logs)]
    length = max(LEAST_SLICE_S, max(ends) / SLICES)
    count = min(SLICES, int(max(ends) / length) + 1)
    due = _places([log.request.scheduled_s - start_s for log in logs], length, count)
    done = _places(ends, length, count)
    open_s = _open(sent, ends, np.arange(count + 1, dtype=np.float64) * length)
    by_slice: list[list[RequestLog]] = [[] for _ in range(count)]
    for log, place in zip(logs, due, strict=True):
        by_slice[place].append(log)
    good = np.bincount([place for log, place in zip(logs, done, strict=True) if log.completed], minlength=count)
    every = np.bincount(done, minlength=count)
    return tuple(
        _slice(by_slice[k], k * length, length, (int(good[k]), int(every[k]), float(open_s[k]) / length)) for k in range(count)
    )


def as_rows(slices: Sequence[Slice]) -> list[dict[str, Any]]:
    """Plain JSON, rounded to the microsecond."""

    def plain(value: float | None) -> float | None:
        return None if value is None else round(value, 6)

    return [{name: plain(getattr(one, name)) for name in Slice.__slots__} for one in slices]


def _slice(logs: Sequence[RequestLog], t_s: float, length: float, counts: tuple[int, int, float]) -> Slice:
    completed, ended, in_flight = counts
    latencies = [log.latency_s for log in logs if log.latency_s is not None]
    first = [log.ttft_s for log in logs if log.ttft_s is not None]
    return Slice(
        t_s=t_s,
        offered_rate=len(logs) / length,
        completed_rate=completed / length,
        bad=ended - completed,
        in_flight=in_flight,
        latency_p50_s=median(latencies) if latencies else None,
        latency_max_s=max(latencies, default=None),
        ttft_p50_s=median(first) if first else None,
    )


def _places(moments: Sequence[float], length: float, count: int) -> list[int]:
    return [min(count - 1, max(0, int(moment / length))) for moment in moments]


def _open(sent: Sequence[float], ends: Sequence[float], edges: FloatArray) -> FloatArray:
    """Request-seconds open between neighbouring edges: the integral of the number in flight, from its value at the edges."""

    def passed(moments: FloatArray) -> FloatArray:
        """Integral up to each edge of the number of `moments` before it."""
        before = np.searchsorted(moments, edges)
        sums = np.concatenate([[0.0], np.cumsum(moments)])
        return np.asarray(before * edges - sums[before], dtype=np.float64)

    # Rounding must not make a number of requests negative.
    return np.maximum(np.diff(passed(np.sort(sent)) - passed(np.sort(ends))), 0.0)
