"""Nothing that an endpoint says is believed beyond what a request of ours can bring: the request fails, and the run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.printing import one_line
from lmbench.load.http.bounds import read_usage, tokens_asked
from lmbench.load.http.clients import HttpTarget
from lmbench.load.http.endpoint import Ask, Endpoint
from lmbench.load.http.reply import Reply
from lmbench.load.request_log import RequestLogWriter, read_request_log
from lmbench.load.requests import ENDS, FAILED, TIMED_OUT, RequestLog
from lmbench.load.shapes import HOLD, Step
from lmbench.load.targets import no_watch
from lmbench.measure.clock import CLOCK
from tests.load.http.hostile import SLOW, UNBELIEVED, Behaviour, hostile

ASKED = 4
LONG_S = 60.0


def ask_once(behaviour: Behaviour, *, timeout_s: float, count: int = 1) -> tuple[RequestLog, ...]:
    """`count` requests at once by a client process, as a run sends them."""
    with hostile(behaviour) as port:
        target = HttpTarget(
            Endpoint(url=f"http://127.0.0.1:{port}", model="m"),
            lambda index: Ask(prompt=f"prompt {index}", max_tokens=ASKED),
            clock=CLOCK,
            connections=1,
            timeout_s=timeout_s,
        )
        try:
            step = Step(index=0, kind=HOLD, rate=1.0, start_s=CLOCK.now() + target.lead_s, duration_s=0.05)
            target.send([0.0] * count, step, first_index=0, watch=no_watch)
            assert target.settle(CLOCK.now() + LONG_S)
            return target.logs()
        finally:
            target.close()


@pytest.fixture(scope="module")
def logs() -> dict[str, RequestLog]:
    """What became of one request per behaviour; one client process sends them all, and lives to the end."""
    names = list(UNBELIEVED)
    turn = iter(names)
    found: dict[str, RequestLog] = {}
    current = ""

    def answer(connection: object) -> None:
        UNBELIEVED[current][0](connection)  # type: ignore[arg-type]

    with hostile(answer) as port:
        target = HttpTarget(
            Endpoint(url=f"http://127.0.0.1:{port}", model="m"),
            lambda index: Ask(prompt=f"prompt {index}", max_tokens=ASKED),
            clock=CLOCK,
            connections=1,
            timeout_s=LONG_S,
        )
        try:
            for number, name in enumerate(turn):
                current = name
                step = Step(index=number, kind=HOLD, rate=1.0, start_s=CLOCK.now() + target.lead_s, duration_s=0.02)
                target.send([0.0], step, first_index=number, watch=no_watch)
                assert target.settle(CLOCK.now() + LONG_S)
                found[name] = target.logs()[-1]
        finally:
            target.close()
    return found


@pytest.mark.parametrize("name", sorted(UNBELIEVED))
def test_what_cannot_be_is_a_failed_request_with_its_reason(name: str, logs: dict[str, RequestLog]) -> None:
    log = logs[name]
    assert (log.status, log.tokens <= 4096 + 16 * ASKED) == (FAILED, True), log.error
    assert UNBELIEVED[name][1] in log.error
    assert log.error.isprintable()
    assert len(log.token_times_s) <= 4096 + 16 * ASKED


def test_every_hostile_reply_is_in_the_request_log(logs: dict[str, RequestLog], tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    odd = RequestLog(request=logs["deep"].request, status=FAILED, finished_s=float("nan"), error="half \ud800 of a sign")
    with RequestLogWriter(path, start_s=0.0, started_at="2026-01-01", facts={"case": "\udcff"}) as writer:
        writer.write([*logs.values(), odd])
    stored = read_request_log(path)
    assert [log.status for log in stored.logs] == [FAILED] * (len(UNBELIEVED) + 1)
    for line in path.read_text(encoding="utf-8").splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize("name", sorted(SLOW))
def test_drips_do_not_hold_up_the_time_out(name: str) -> None:
    (log,) = ask_once(SLOW[name], timeout_s=0.5)
    assert log.status == TIMED_OUT
    assert "not finished 0.5 s after it was sent" in log.error


def test_a_flood_in_many_requests_at_once_ends_them_all() -> None:
    found = ask_once(UNBELIEVED["endless tokens"][0], timeout_s=LONG_S, count=16)
    assert len(found) == 16
    assert {log.status for log in found} == {FAILED}
    assert sum(len(log.token_times_s) for log in found) <= 16 * (4096 + 16 * ASKED)


def test_what_came_behind_the_time_out_is_not_read() -> None:
    """The moments of packets decide, however late they are read: the client's own clock stands still here."""
    import asyncio

    from lmbench.load.http.client import Client
    from lmbench.load.http.connection import Connection
    from lmbench.load.http.exchange import Exchange
    from lmbench.load.requests import Request

    ended: list[Exchange] = []

    async def main() -> None:
        client = Client(Endpoint(url="http://127.0.0.1:1", model="m"), asyncio.get_running_loop(), lambda: 10.0, timeout_s=3.0)
        connection = Connection(client)
        connection._transport = _Nowhere()  # type: ignore[assignment]
        client._free.append(connection)
        request = Request(index=0, step=0, scheduled_s=8.0, sent_s=8.0)
        client.submit(request, b"x", lambda _, exchange: ended.append(exchange), ASKED)
        client._arrived += [(connection, b"HTTP/1.1 200 OK\r\n\r\ndata: {", 10.9), (connection, b"}", 11.1)]
        client.drain()
        client.close()

    asyncio.run(main())
    assert [exchange.status for exchange in ended] == [TIMED_OUT]


class _Nowhere:
    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...

    def abort(self) -> None: ...


def test_how_much_is_asked_follows_the_body() -> None:
    plain = Endpoint(url="http://h", model="m")
    assert tokens_asked(plain, Ask(prompt="a", max_tokens=7)) == 7
    more = Endpoint(url="http://h", model="m", extra={"max_tokens": 100, "n": 3, "best_of": True})
    assert tokens_asked(more, Ask(prompt="a", max_tokens=7)) == 300
    assert read_usage({"completion_tokens": 7.0, "prompt_tokens": None}, asked=7, prompt_bytes=1) == {"completion_tokens": 7}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "usage", "text", "delta", "error"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=40), JSON.map(lambda one: b"data: " + json.dumps(one).encode() + b"\n\n"))),
    st.booleans(),
)
def test_no_bytes_raise(pieces: list[bytes], streamed: bool) -> None:
    reply = Reply(stream=streamed, asked=ASKED, prompt_bytes=10)
    reply.http_status = 200
    for moment, piece in enumerate(pieces):
        reply.add(piece, float(moment))
    status, error = reply.end()
    assert status in ENDS
    assert one_line(error).isprintable()
    assert 0 <= reply.tokens < 10_000
