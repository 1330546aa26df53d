"""The parts that need no server: request bytes, columns, the ledger, the kernel's timer, the heartbeat."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.http.columns import Outbox, batch, pack, unpack
from lmbench.load.http.endpoint import CHAT, Ask, Endpoint, body, head, wire
from lmbench.load.http.exchange import Exchange
from lmbench.load.http.heart import Heart
from lmbench.load.http.ledger import Ledger
from lmbench.load.http.timer import LoopTimer, Timer, timer
from lmbench.load.requests import COMPLETED, ENDS, PENDING, Request, RequestLog, accounts
from lmbench.measure.clock import CLOCK

MOMENTS = st.floats(0, 1e6)
EXCHANGES = st.builds(
    Exchange,
    status=st.sampled_from(ENDS),
    sent_s=MOMENTS,
    started_s=st.none() | MOMENTS,
    first_byte_s=st.none() | MOMENTS,
    token_times_s=st.lists(MOMENTS, max_size=5).map(tuple),
    finished_s=MOMENTS,
    tokens=st.integers(0, 10**6),
    prompt_tokens=st.none() | st.integers(0, 10**6),
    completion_tokens_reported=st.none(),
    http_status=st.none(),
    connection_reused=st.booleans(),
    reopened=st.booleans(),
    attempts=st.integers(1, 3),
    loop_lag_s=MOMENTS,
    error=st.text(max_size=20),
)


def request(index: int, step: int = 0) -> Request:
    return Request(index=index, step=step, scheduled_s=index / 7, sent_s=index / 7 + 0.001)


@settings(max_examples=100, deadline=None)
@given(st.lists(EXCHANGES, max_size=8))
def test_columns_bring_everything_over_to_the_bit(exchanges: list[Exchange]) -> None:
    outbox = Outbox()
    for index, one in enumerate(exchanges):
        outbox.took(request(index))
        outbox.ended(request(index), one)
    found = batch(json.loads(json.dumps(outbox.take())))
    assert not outbox
    assert list(found.requests()) == [request(index) for index in range(len(exchanges))]
    for index, (log, one) in enumerate(zip(found.logs(), exchanges, strict=True)):
        assert log == RequestLog(
            request=request(index),
            status=one.status,
            started_s=one.started_s,
            first_byte_s=one.first_byte_s,
            first_token_s=one.token_times_s[0] if one.token_times_s else None,
            token_times_s=one.token_times_s,
            finished_s=one.finished_s,
            tokens=one.tokens,
            prompt_tokens=one.prompt_tokens,
            loop_lag_s=one.loop_lag_s,
            error=one.error,
        )


@given(st.lists(st.floats(allow_nan=False)))
def test_numbers_survive_packing(numbers: list[float]) -> None:
    assert list(unpack(pack(numbers))) == numbers


def told(taken: list[Request], ended: list[Request]) -> Outbox:
    outbox = Outbox()
    for one in taken:
        outbox.took(one)
    for one in ended:
        sent = {"sent_s": one.sent_s, "started_s": one.sent_s, "first_byte_s": one.sent_s, "finished_s": one.sent_s + 1}
        counts = {"tokens": 1, "prompt_tokens": None, "completion_tokens_reported": 1, "http_status": 200, "attempts": 1}
        facts = {"connection_reused": True, "reopened": False, "loop_lag_s": 0.0, "error": "", "token_times_s": ()}
        outbox.ended(one, Exchange(status=COMPLETED, **sent, **counts, **facts))  # type: ignore[arg-type]
    return outbox


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.booleans(), st.data())
def test_a_closed_loops_numbers_become_dense_whenever_they_are_told(sent: list[int], early: bool, data: st.DataObject) -> None:
    ledger, first, total = Ledger(), 5, sum(sent)
    late = []
    for process, count in enumerate(sent):
        mine = [request(first + process + k * len(sent), step=3) for k in range(count)]
        known = data.draw(st.integers(0, count))
        ledger.take(process, batch(told(mine, mine[:known]).take()))
        late.append((process, mine[known:]))
    if early:
        assert sum(log.status == PENDING for log in ledger.logs()) == sum(len(rest) for _, rest in late)
    ledger.close_gaps(3, first, sent)
    assert [log.request.index for log in ledger.logs()] == list(range(first, first + total))
    for process, rest in late:
        ledger.take(process, batch(told([], rest).take()))
    logs = ledger.logs()
    assert [log.request.index for log in logs] == list(range(first, first + total))
    assert accounts(logs).completed == total
    assert len({log.request.scheduled_s for log in logs}) == total


def test_what_a_dead_process_held_is_failed_and_nothing_else() -> None:
    ledger = Ledger()
    ledger.take(0, batch(told([request(0), request(2)], [request(0)]).take()))
    ledger.take(1, batch(told([request(1)], []).take()))
    ledger.fail_unknown([request(0), request(2), request(4)], 0)
    ledger.fail(0, "it died", 9.0)
    assert [(log.request.index, log.status, log.error) for log in ledger.logs()] == [
        (0, "completed", ""),
        (1, "pending", ""),
        (2, "failed", "it died"),
        (4, "failed", "it died"),
    ]


def test_request_bytes() -> None:
    endpoint = Endpoint(url="http://[::1]:8000/base/", model="m", headers={"X-Team": "a"}, extra={"ignore_eos": True})
    found = wire(head(endpoint, "sk-1"), body(endpoint, Ask(prompt=(1, 2), max_tokens=3)))
    top, _, content = found.partition(b"\r\n\r\n")
    assert top.startswith(b"POST /base/v1/completions HTTP/1.1\r\nHost: [::1]:8000\r\n")
    assert b"\r\nX-Team: a\r\n" in top
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in top
    assert top.endswith(b"Content-Length: %d" % len(content))
    assert json.loads(content) == {
        "model": "m",
        "max_tokens": 3,
        "temperature": 0,
        "prompt": [1, 2],
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }


def test_chat_bodies() -> None:
    endpoint = Endpoint(url="https://example.org/v1", api=CHAT, model="m", stream=False)
    assert (endpoint.path, endpoint.port, endpoint.secure) == ("/v1/chat/completions", 443, True)
    assert json.loads(body(endpoint, Ask(prompt="hi", max_tokens=1)))["messages"] == [{"role": "user", "content": "hi"}]
    said = ({"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"})
    assert json.loads(body(endpoint, Ask(messages=said, max_tokens=1)))["messages"] == list(said)
    assert "stream" not in json.loads(body(endpoint, Ask(prompt="hi", max_tokens=1)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://host"}, "expected http"),
        ({"url": "http://host/?a=1"}, "without query"),
        ({"url": "http://me:secret@host"}, "expected none"),
        ({"url": "http://host", "api": "embeddings"}, "expected one of completions, chat"),
        ({"url": "http://host", "headers": {"A": "b\r\nEvil: 1"}}, "line break"),
    ],
)
def test_endpoints_that_cannot_be(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        Endpoint(**{"model": "m"} | options)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_asks_that_an_api_cannot_carry() -> None:
    with pytest.raises(ValueError, match="token ids"):
        body(Endpoint(url="http://h", model="m", api=CHAT), Ask(prompt=(1,), max_tokens=1))
    with pytest.raises(ValueError, match="messages"):
        body(Endpoint(url="http://h", model="m"), Ask(messages=({"role": "user", "content": "x"},), max_tokens=1))


def test_keys_that_would_break_the_head_are_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="MY_KEY") as caught:
        head(Endpoint(url="http://h", model="m", api_key_env="MY_KEY"), "sk-1\r\nEvil: 1")
    assert "sk-1" not in str(caught.value)


@pytest.mark.parametrize("plain", [False, True])
def test_a_timer_is_never_early_and_can_be_moved(plain: bool) -> None:
    async def main() -> None:
        loop, fired = asyncio.get_running_loop(), []
        done = asyncio.Event()

        def call() -> None:
            fired.append(CLOCK.now())
            done.set()

        one: Timer = LoopTimer(loop, call, CLOCK.now) if plain else timer(loop, call, CLOCK.now)
        begun = CLOCK.now()
        one.at(begun + 1000)
        one.at(begun + 0.0123)
        await asyncio.wait_for(done.wait(), 600)
        done.clear()
        one.at(begun)  # has passed
        await asyncio.wait_for(done.wait(), 600)
        one.at(CLOCK.now() + 0.01)
        one.close()
        await asyncio.sleep(0.05)
        assert len(fired) == 2
        assert fired[0] >= begun + 0.0123 - 1e-6

    asyncio.run(main())


def test_the_heart_sees_what_stopped_the_loop() -> None:
    async def main() -> None:
        beats: list[float] = []
        heart = Heart(asyncio.get_running_loop(), CLOCK.now, beats.append)
        await asyncio.sleep(0.05)
        since = heart.beats
        CLOCK.sleep_until(CLOCK.now() + 0.2)
        assert heart.worst_s(since, CLOCK.now()) >= 0.18  # overdue, and not yet beaten
        while heart.beats == since or heart.worst_s(heart.beats, CLOCK.now()) >= 0.18:
            await asyncio.sleep(0.05)  # it beats again, as soon as it gets a CPU
        assert heart.worst_s(since, CLOCK.now()) >= 0.18
        assert len(beats) == heart.beats > since
        heart.stop()

    asyncio.run(main())
