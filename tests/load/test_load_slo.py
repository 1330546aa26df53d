"""Goodness, attainment, intervals, the sustainable rate, recovery, and accounts that always add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.requests import COMPLETED, FAILED, PENDING, REJECTED, Request, RequestLog, accounts
from lmbench.load.slo import (
    good,
    goodput,
    hopeless,
    judge,
    max_sustainable,
    recovery_s,
    still_reachable,
)
from lmbench.suite.params import Slo

SECONDS = st.floats(0.001, 10)


def log(
    scheduled: float = 0.0, *, queue: float = 0.0, first: float = 0.1, rest: float = 0.1, status: str = COMPLETED, tokens: int = 3
) -> RequestLog:
    request = Request(index=0, step=0, scheduled_s=scheduled, sent_s=scheduled)
    if status in (REJECTED, PENDING):
        return RequestLog(request=request, status=status)
    started = scheduled + queue
    finished = started + first + rest
    if status == FAILED:
        return RequestLog(request=request, status=FAILED, started_s=started, finished_s=finished, error="no")
    return RequestLog(
        request=request,
        status=COMPLETED,
        started_s=started,
        first_token_s=started + first,
        finished_s=finished,
        tokens=tokens,
    )


LOGS = st.lists(
    st.builds(
        log,
        SECONDS,
        queue=SECONDS,
        first=SECONDS,
        rest=SECONDS,
        status=st.sampled_from([COMPLETED, FAILED, REJECTED]),
        tokens=st.integers(1, 5),
    ),
    max_size=30,
)


def test_times_are_counted_from_the_scheduled_moment() -> None:
    one = RequestLog(
        request=Request(index=0, step=0, scheduled_s=10.0, sent_s=10.5),
        status=COMPLETED,
        started_s=12.0,
        first_token_s=13.0,
        finished_s=16.0,
        tokens=4,
    )
    assert one.request.sender_lag_s == 0.5
    assert one.queue_delay_s == 1.5
    assert one.ttft_s == 3.0
    assert one.latency_s == 6.0
    assert one.service_s == 4.0
    assert one.tpot_s == 1.0


def test_failed_requests_have_no_latency_and_one_token_has_no_tpot() -> None:
    assert log(status=FAILED).latency_s is None
    assert log(status=FAILED).service_s is None
    assert log(tokens=1).tpot_s is None
    assert good(log(tokens=1), Slo(tpot_s=1e-9))


@settings(max_examples=50, deadline=None)
@given(LOGS)
def test_accounts_always_add_up(logs: list[RequestLog]) -> None:
    counts = accounts(logs)
    assert counts.sent == len(logs) == counts.completed + counts.failed + counts.rejected


def test_accounts_refuse_a_request_that_is_still_pending() -> None:
    with pytest.raises(ValueError, match="lost or is pending"):
        accounts([log(), log(status=PENDING)])


@settings(max_examples=50, deadline=None)
@given(LOGS, SECONDS, SECONDS, SECONDS, st.floats(1, 5))
def test_a_looser_slo_never_attains_less(logs: list[RequestLog], ttft: float, tpot: float, latency: float, factor: float) -> None:
    tight = Slo(ttft_s=ttft, tpot_s=tpot, latency_s=latency)
    loose = Slo(ttft_s=ttft * factor, tpot_s=tpot * factor, latency_s=latency * factor)
    assert judge(logs, tight).good <= judge(logs, loose).good
    assert goodput(logs, tight, 2.0) <= goodput(logs, loose, 2.0)
    assert all(good(one, loose) for one in logs if good(one, tight))


def test_failures_and_rejections_count_against_the_slo() -> None:
    verdict = judge([log(), log(), log(status=FAILED), log(status=REJECTED)], Slo(latency_s=1.0))
    assert (verdict.good, verdict.requests, verdict.attainment, verdict.met) == (2, 4, 0.5, False)


def test_no_requests_break_nothing() -> None:
    verdict = judge([], Slo(latency_s=1.0))
    assert verdict.met
    assert verdict.attainment is None


def test_a_pending_request_is_hopeless_once_its_bound_has_passed() -> None:
    slo = Slo(latency_s=1.0)
    waiting = log(5.0, status=PENDING)
    assert not hopeless(waiting, slo, 5.9)
    assert hopeless(waiting, slo, 6.1)
    assert still_reachable([waiting], slo, 5.9)
    assert not still_reachable([waiting], slo, 6.1)


def test_a_started_request_keeps_hope_under_a_bound_on_the_first_token() -> None:
    slo = Slo(ttft_s=1.0)
    waiting = log(0.0, status=PENDING)
    started = RequestLog(request=waiting.request, started_s=0.5)
    assert hopeless(waiting, slo, 2.0)
    assert not hopeless(started, slo, 2.0)


def test_sustainable_rate_needs_all_lower_steps() -> None:
    found = max_sustainable([(1.0, True), (2.0, True), (4.0, False)])
    assert (found.rate, found.step, found.resolved) == (2.0, 1, True)
    never = max_sustainable([(1.0, True), (2.0, True)])
    assert (never.rate, never.resolved) == (2.0, False)
    assert "at least 2 " in never.reason
    first = max_sustainable([(3.0, False)])
    assert first.rate is None
    assert "first step" in first.reason


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=12))
def test_sustainable_rate_is_the_leading_run(flags: list[bool]) -> None:
    found = max_sustainable([(float(place + 1), flag) for place, flag in enumerate(flags)])
    leading = flags.index(False) if False in flags else len(flags)
    assert found.rate == (float(leading) if leading else None)


def test_recovery_is_the_first_good_request_of_a_good_rest() -> None:
    slo = Slo(latency_s=0.5)
    late = [log(10.0 + k, queue=5.0) for k in range(3)]
    fine = [log(13.0 + k) for k in range(4)]
    assert recovery_s([*late, *fine], slo, 10.0) == (3.0, "")
    value, reason = recovery_s(late, slo, 10.0)
    assert value is None
    assert "0 of 3" in reason


def test_two_good_requests_do_not_show_a_recovery() -> None:
    slo = Slo(latency_s=0.5)
    value, _ = recovery_s([log(10.0, queue=5.0), log(11.0), log(12.0)], slo, 10.0)
    assert value is None


def test_an_objective_that_was_not_measured_was_not_met() -> None:
    whole = RequestLog(request=log().request, status=COMPLETED, started_s=0.0, finished_s=0.2, tokens=8)
    assert good(whole, Slo(latency_s=1.0))
    assert not good(whole, Slo(ttft_s=1.0)) and not good(whole, Slo(tpot_s=1.0)), "not streamed: its tokens' times are not known"
    packet = RequestLog(
        request=log().request, status=COMPLETED, first_token_s=9.0, token_times_s=(9.0,) * 8, finished_s=9.0, tokens=8
    )
    assert packet.tpot_s is None and not good(packet, Slo(tpot_s=0.1)), "one packet at the end shows no time between tokens"
    single = RequestLog(
        request=log().request, status=COMPLETED, first_token_s=0.1, token_times_s=(0.1,), finished_s=0.1, tokens=1
    )
    assert good(single, Slo(tpot_s=0.1)), "one token has no time per token to keep"
