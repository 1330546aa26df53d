"""What a server says beside the load, of its readiness and its numbers, is bounded in time, size and range."""

from __future__ import annotations

import sys

import pytest

from lmbench.base.errors import WorkloadError
from lmbench.load.fetch import fetch
from lmbench.load.scrape import MAX_BYTES, MAX_NAME_CHARS, parse, scrape
from lmbench.load.server import ManagedServer, ServerSpec
from lmbench.measure.clock import CLOCK
from tests.load.http.hostile import SLOW, UNBELIEVED, Behaviour, endless, hostile

LONG_S = 60.0
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(data: bytes) -> Behaviour:
    return lambda connection: connection.sendall(data)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (endless(b"x" * 65536), "the answer is longer than 2048 KiB"),
        (endless(b"X-Noise: y\r\n" * 1000, begin=b"HTTP/1.1 200 OK\r\n"), "its head is longer than 64 KiB"),
        (UNBELIEVED["endless interim"][0], "longer than"),
        (UNBELIEVED["NUL"][0], "is not HTTP"),
        (answer(CHUNKED + b"-5\r\nabc"), "inside its answer"),
        (answer(CHUNKED + b"ffffffffff\r\nabc"), "inside its answer"),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "inside its answer"),
        (answer(b"HTTP/1.1 999 \x1b[31m\r\n\r\n"), "is not HTTP"),
        (answer(b""), "inside the head"),
    ],
)
def test_a_server_that_says_too_much_or_too_little_is_a_fault(behaviour: Behaviour, words: str) -> None:
    with hostile(behaviour) as port:
        found = fetch(f"http://127.0.0.1:{port}/", CLOCK, timeout_s=LONG_S, most_bytes=MAX_BYTES)
    assert words in found.fault
    assert found.fault.isprintable()


def test_good_answers_are_read_in_any_framing() -> None:
    parts = CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    for data in (parts, b"HTTP/1.1 100 Continue\r\n\r\n" + parts, b"HTTP/1.0 200 OK\r\n\r\nabcde"):
        with hostile(answer(data)) as port:
            found = fetch(f"http://127.0.0.1:{port}/", CLOCK, timeout_s=LONG_S, most_bytes=MAX_BYTES)
        assert (found.status, found.body, found.fault) == (200, b"abcde", "")
    with hostile(UNBELIEVED["redirect to itself"][0]) as port:
        assert "answers with status 302" in scrape(f"http://127.0.0.1:{port}", CLOCK, timeout_s=LONG_S).reason


@pytest.mark.parametrize("name", sorted(SLOW))
def test_drips_end_with_the_time_out_of_the_whole(name: str) -> None:
    with hostile(SLOW[name]) as port:
        assert "timed out" in scrape(f"http://127.0.0.1:{port}", CLOCK, timeout_s=0.3).reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# TYPE a_total counter\na_tokens_total -1\n", "a_tokens_total is -1; expected 0 to"),
        ("# TYPE a_total counter\na_tokens_total 1e300\n", "a_tokens_total is 1e+300"),
        ("# TYPE a_tokens counter\na_tokens NaN\n", "a_tokens_total is nan"),
        ("# TYPE a_tokens counter\na_tokens 1e999\n", "a_tokens_total is inf"),
        ("queue_length -1e30\n", "queue_length is -1e+30"),
        ('queue_length{model="' + "m" * MAX_NAME_CHARS + '"} 1\n', "labels of more than"),
    ],
)
def test_numbers_that_no_server_counts_are_not_believed(text: str, words: str) -> None:
    pytest.importorskip("prometheus_client")
    found = parse(text, 0.0)
    assert not found.values
    assert words in found.reason and "not to be believed" in found.reason
    digits = parse("# TYPE a_tokens counter\na_tokens " + "9" * 400 + "\n", 0.0)
    assert digits.reason and not digits.values


def test_a_probe_with_a_hostile_answer_is_one_line_of_words() -> None:
    said: list[str] = []
    script = (
        "import socket, sys\n"
        "server = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"
        "while True:\n"
        "    one, _ = server.accept()\n"
        "    one.sendall(b'HTTP/1.1 200\\x1b[31m OK\\r\\n\\r\\n'); one.close()\n"
    )

    spec = ServerSpec(command=(sys.executable, "-c", script, "{port}"), timeout_s=1.0, grace_s=1.0)
    with pytest.raises(WorkloadError, match="not ready after 1 s") as caught, ManagedServer(spec, CLOCK, said.append):
        pass
    assert "\x1b" not in str(caught.value)
