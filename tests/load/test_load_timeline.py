"""A run over time: every total of the slices is one of the requests."""

from __future__ import annotations

import json
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.requests import COMPLETED, ENDS, PENDING, REJECTED, Request, RequestLog
from lmbench.load.timeline import LEAST_SLICE_S, SLICES, Slice, as_rows, timeline

START_S = 5e5
"""About where the clock of a machine stands that has been up for some days."""
SPAN_S = st.floats(0.0, 500.0)
ONE = st.tuples(SPAN_S, st.floats(0.0, 2.0), st.floats(0.0, 50.0), st.sampled_from(ENDS), st.booleans())


def log(index: int, scheduled: float, lag: float, length: float, status: str, known: bool = True) -> RequestLog:
    sent = START_S + scheduled + lag
    return RequestLog(
        request=Request(index=index, step=0, scheduled_s=START_S + scheduled, sent_s=sent),
        status=status,
        first_token_s=sent + length / 2 if status == COMPLETED else None,
        finished_s=sent + length if known or status == COMPLETED else None,
    )


def length_of(slices: tuple[Slice, ...]) -> float:
    return slices[1].t_s if len(slices) > 1 else LEAST_SLICE_S


@settings(max_examples=150, deadline=None)
@given(st.lists(ONE, min_size=1, max_size=60))
def test_totals_agree_with_the_requests(found: list[tuple[float, float, float, str, bool]]) -> None:
    logs = [log(k, *one) for k, one in enumerate(found)]
    slices = timeline(logs, start_s=START_S)
    length = length_of(slices)
    assert 1 <= len(slices) <= SLICES
    assert length >= LEAST_SLICE_S
    assert [one.t_s for one in slices] == pytest.approx([k * length for k in range(len(slices))])
    assert sum(one.offered_rate for one in slices) * length == pytest.approx(len(logs))
    assert sum(one.completed_rate for one in slices) * length == pytest.approx(sum(one.completed for one in logs))
    assert sum(one.bad for one in slices) == sum(not one.completed for one in logs)
    open_s = sum(one.finished_s - one.request.sent_s for one in logs if one.finished_s is not None)
    assert sum(one.in_flight for one in slices) * length == pytest.approx(open_s, rel=1e-6, abs=1e-6)
    assert all(one.in_flight >= 0 for one in slices)
    slowest = [one.latency_s for one in logs if one.latency_s is not None]
    assert max((one.latency_max_s for one in slices if one.latency_max_s is not None), default=None) == max(slowest, default=None)
    json.dumps(as_rows(slices), allow_nan=False)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 1e6))
def test_there_are_never_more_slices_than_a_chart_can_show(span: float) -> None:
    slices = timeline([log(0, 0.0, 0.0, span, COMPLETED)], start_s=START_S)
    assert len(slices) <= SLICES
    assert slices[-1].t_s <= span <= (slices[-1].t_s + length_of(slices)) * (1 + 1e-6)


def test_no_requests_no_slices() -> None:
    assert timeline([], start_s=START_S) == ()


def test_requests_count_where_they_were_due_and_where_they_ended() -> None:
    logs = [
        log(0, 0.0, 0.0, 1.0, COMPLETED),
        log(1, 0.0, 0.25, 1.0, COMPLETED),
        log(2, 0.5, 0.0, 0.0, REJECTED, known=False),
        log(3, 1.0, 0.0, 0.0, PENDING, known=False),
    ]
    rows = as_rows(timeline(logs, start_s=START_S))
    assert [row["t_s"] for row in rows] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert [row["offered_rate"] for row in rows] == [8.0, 0.0, 4.0, 0.0, 4.0, 0.0]
    assert [row["completed_rate"] for row in rows] == [0.0, 0.0, 0.0, 0.0, 4.0, 4.0]
    assert [row["bad"] for row in rows] == [0, 0, 1, 0, 1, 0]
    assert [row["in_flight"] for row in rows] == [1.0, 2.0, 2.0, 2.0, 1.0, 0.0]
    # Latencies count from the moment a request was due, in the slice where that was.
    assert (rows[0]["latency_p50_s"], rows[0]["latency_max_s"]) == (median([1.0, 1.25]), 1.25)
    assert rows[0]["ttft_p50_s"] == median([0.5, 0.75])
    assert rows[1]["latency_p50_s"] is rows[2]["latency_max_s"] is rows[4]["ttft_p50_s"] is None


def test_what_never_ended_is_open_for_no_time() -> None:
    (one,) = timeline([log(0, 0.125, 0.0, 0.0, PENDING, known=False)], start_s=START_S)
    assert (one.bad, one.in_flight, one.latency_max_s) == (1, 0.0, None)
