"""The headroom certificate: arithmetic that leans to the safe side, and sentences that say what to do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.headroom import VALID, ClientLoad, Headroom, client_verdict

RATE = st.floats(0.1, 1e6)


def headroom(**values: float) -> Headroom:
    known: dict[str, float] = {
        "reached_rate": 1000.0, "cpu_s_per_request": 0.0009, "processes": 1, "top_rate": 300.0, "cpus": 4,
    }  # fmt: skip
    return Headroom(**(known | values))  # type: ignore[arg-type]


def test_a_client_that_reached_enough_needs_no_more_processes() -> None:
    one = headroom()
    assert (one.needed, one.enough) == (1, True)
    assert one.factor == pytest.approx(1000 / 300)
    assert one.cpu_share == pytest.approx(0.9)
    assert one.verdict == (
        "1 client process reached 1000 requests/s against a server that answers at once; "
        "2 times the run's 300 requests/s need 1"
    )  # fmt: skip


def test_more_processes_for_more_than_half_of_what_was_shown() -> None:
    assert headroom(top_rate=500).needed == 1
    assert headroom(top_rate=501).needed == 2
    assert headroom(reached_rate=1000, processes=2, top_rate=1000).needed == 4


def test_too_few_cpus_are_said_with_the_rate_they_allow() -> None:
    one = headroom(top_rate=3000, cpus=2)
    assert not one.enough
    assert "need 6, and the client has 2 CPUs; keep to 1000 requests/s" in one.verdict


@settings(max_examples=100, deadline=None)
@given(RATE, st.integers(1, 16), RATE, st.floats(1, 4))
def test_the_needed_processes_have_shown_the_safe_rate_and_one_less_has_not(
    reached: float, processes: int, top: float, safety: float
) -> None:
    one = headroom(reached_rate=reached, processes=processes, top_rate=top, safety=safety)
    assert one.needed * one.rate_per_process >= top * safety * (1 - 1e-9)
    assert one.needed == 1 or (one.needed - 1) * one.rate_per_process < top * safety * (1 + 1e-9)


@pytest.mark.parametrize("wrong", [{"reached_rate": 0.0}, {"processes": 0}, {"safety": 0.5}, {"top_rate": -1.0}])
def test_impossible_probes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected positive rates"):
        headroom(**wrong)


@pytest.mark.parametrize(
    ("load", "valid"),
    [
        (ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=0.01, loop_lag_p99_s=0.01, cpu_share=0.89), True),
        (ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=0.0101), False),
        (ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=0.0, loop_lag_p99_s=0.0101), False),
        (ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=0.0, cpu_share=0.95), False),
        (ClientLoad(latency_p50_s=0.002, sender_lag_p99_s=0.001), True),
        (ClientLoad(latency_p50_s=None, sender_lag_p99_s=0.001), True),
        (ClientLoad(latency_p50_s=None, sender_lag_p99_s=0.0011), False),
        (ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=None), False),
    ],
)
def test_the_client_may_be_late_by_a_tenth_or_a_millisecond(load: ClientLoad, valid: bool) -> None:
    assert (client_verdict(load) == VALID) is valid


def test_every_cause_is_in_the_sentence() -> None:
    said = client_verdict(ClientLoad(latency_p50_s=0.05, sender_lag_p99_s=0.02, loop_lag_p99_s=0.5, cpu_share=0.97))
    assert said.startswith(
        "the client was the bottleneck: requests left up to 20 ms late (p99) and answers were read up to 500 ms"
    )
    assert "97% of its CPU" in said
    assert "median latency is 50 ms and 5 ms of lateness are allowed" in said
    assert "no request completed" in client_verdict(ClientLoad(latency_p50_s=None, sender_lag_p99_s=1.0))
    assert "not measured" in client_verdict(ClientLoad(latency_p50_s=0.1, sender_lag_p99_s=None))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 1), st.floats(1e-4, 10))
def test_a_better_client_is_never_judged_worse(sender: float, loop: float, share: float, latency: float) -> None:
    load = ClientLoad(latency_p50_s=latency, sender_lag_p99_s=sender, loop_lag_p99_s=loop, cpu_share=share)
    if client_verdict(load) == VALID:
        better = ClientLoad(latency_p50_s=latency, sender_lag_p99_s=sender / 2, loop_lag_p99_s=loop / 2, cpu_share=share / 2)
        assert client_verdict(better) == VALID
