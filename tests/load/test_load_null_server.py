"""The null server: real answers over real sockets, its pieces one by one, and what it makes of odd requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from lmbench.load.null_server import CHAT, MAX_TOKENS, TEXT, Ask, Connection, answer, null_server, respond
from lmbench.measure.clock import CLOCK

LONG_S = 600.0


@pytest.fixture(scope="module")
def connection() -> Iterator[http.client.HTTPConnection]:
    with null_server(3, CLOCK) as url:
        place = urlsplit(url)
        assert place.hostname == "127.0.0.1"
        one = http.client.HTTPConnection(place.hostname, place.port or 0, timeout=LONG_S)
        yield one
        one.close()


def post(connection: http.client.HTTPConnection, path: bytes, **fields: Any) -> http.client.HTTPResponse:
    connection.request("POST", path.decode(), json.dumps(fields), {"Content-Type": "application/json"})
    return connection.getresponse()


def events(response: http.client.HTTPResponse) -> list[Any]:
    lines = [line for line in response.read().decode().split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


@pytest.mark.parametrize("path", [TEXT, CHAT])
def test_a_stream_has_one_event_per_token(connection: http.client.HTTPConnection, path: bytes) -> None:
    response = post(connection, path, model="m", prompt="one", max_tokens=5, stream=True)
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/event-stream"
    found = [event["choices"][0] for event in events(response)]
    assert [choice["finish_reason"] for choice in found] == [None] * 4 + ["length"]
    texts = [choice["text"] if path == TEXT else choice["delta"]["content"] for choice in found]
    assert texts == [" token"] * 5


@pytest.mark.parametrize("path", [TEXT, CHAT])
def test_a_whole_answer_tells_its_tokens(connection: http.client.HTTPConnection, path: bytes) -> None:
    answered = json.load(post(connection, path, model="m", prompt="one", max_completion_tokens=4))
    choice = answered["choices"][0]
    assert (choice["text"] if path == TEXT else choice["message"]["content"]) == " token" * 4
    assert answered["usage"]["completion_tokens"] == 4


def test_the_usage_is_sent_last_where_asked_for(connection: http.client.HTTPConnection) -> None:
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    *tokens, last = events(post(connection, CHAT, **asked))
    assert len(tokens) == 3, "the server's own number holds where the request has none"
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 3, "total_tokens": 3}


def test_a_prompt_cannot_ask_for_a_stream(connection: http.client.HTTPConnection) -> None:
    answered = json.load(post(connection, TEXT, prompt='{"stream": true, "max_tokens": 9}'))
    assert answered["usage"]["completion_tokens"] == 3


def test_other_paths_and_the_models(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/v1/models")
    assert json.load(connection.getresponse())["data"][0]["id"] == "null"
    connection.request("GET", "/nowhere")
    response = connection.getresponse()
    assert response.status == 404
    assert "found GET /nowhere" in response.read().decode()


def test_a_connection_is_kept_and_closed_as_asked(connection: http.client.HTTPConnection) -> None:
    before = connection.sock
    post(connection, TEXT, stream=True).read()
    assert connection.sock is before
    connection.request("POST", TEXT.decode(), "{}", {"Connection": "close"})
    response = connection.getresponse()
    assert json.load(response)["usage"]["completion_tokens"] == 3
    connection.close()


def test_the_command_writes_its_port() -> None:
    command = [sys.executable, "-m", "lmbench.load.null_server", "--tokens", "2", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        one = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()), timeout=LONG_S)
        assert json.load(post(one, TEXT))["usage"]["completion_tokens"] == 2
        one.close()
    finally:
        process.kill()
        process.communicate()


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True


def request(*, stream: bool = True, tokens: int = 4, close: bool = False) -> bytes:
    body = json.dumps({"prompt": "p", "stream": stream, "max_tokens": tokens}).encode()
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (TEXT, len(body))
    return head + (b"Connection: close\r\n" if close else b"") + b"\r\n" + body


@settings(max_examples=40, deadline=None)
@drawn(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_answers_do_not_depend_on_how_the_requests_arrive(tokens: list[int], data: st.DataObject) -> None:
    sent = b"".join(request(tokens=count) for count in tokens)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    loop = asyncio.new_event_loop()
    wire, one = Wire(), Connection(16, loop)
    one.connection_made(wire)

    async def turns() -> None:
        for _ in range(2 * sum(tokens)):
            await asyncio.sleep(0)

    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        one.data_received(sent[start:end])
    loop.run_until_complete(turns())
    loop.close()
    assert len(wire.pieces) == sum(tokens), "one write per token"
    expected = [answer(Ask(chat=False, stream=True, usage=False, tokens=count)) for count in tokens]
    assert wire.pieces == [piece for pieces in expected for piece in pieces]


def test_tokens_are_written_in_turns_of_their_own_and_the_last_closes() -> None:
    loop = asyncio.new_event_loop()
    wire, one = Wire(), Connection(16, loop)
    one.connection_made(wire)
    one.data_received(request(tokens=3, close=True))
    assert (len(wire.pieces), wire.closed) == (1, False)
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    assert (len(wire.pieces), wire.closed) == (3, True)
    one.connection_lost(None)
    loop.close()


def test_an_endless_head_is_refused() -> None:
    loop = asyncio.new_event_loop()
    wire, one = Wire(), Connection(16, loop)
    one.connection_made(wire)
    one.data_received(b"x" * (1 << 17))
    loop.close()
    assert wire.pieces[0].startswith(b"HTTP/1.1 431 ")
    assert wire.closed


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (5, 5), (1 << 40, MAX_TOKENS)])
def test_the_number_of_tokens_is_kept_in_bounds(asked: int, given: int) -> None:
    head, body = b"POST /v1/completions HTTP/1.1\r\n\r\n", b'{"max_tokens": %d}' % asked
    (whole,) = respond(head + body, len(head), 7)
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["usage"]["completion_tokens"] == given
