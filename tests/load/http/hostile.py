"""A raw server on loopback that answers in whatever bytes a test asks for: one behaviour per name, and none is sensible."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
"""No framing: the reply ends with the connection."""
END = b"data: [DONE]\n\n"
Behaviour = Callable[[socket.socket], None]


def event(text: str = " t", **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text, "finish_reason": None}], **more}).encode() + b"\n\n"


def stream(*events: bytes) -> Behaviour:
    """These events, and the end of the stream."""
    return lambda connection: connection.sendall(HEAD + b"".join(events) + END)


def usage(completion: str, prompt: str = "3") -> Behaviour:
    """One token, and a usage whose counts are written as given."""
    counts = f'{{"prompt_tokens": {prompt}, "completion_tokens": {completion}}}'
    return stream(event(), b'data: {"choices": [], "usage": %b}\n\n' % counts.encode())


def whole(body: bytes, head: bytes = b"") -> Behaviour:
    """A reply that is not streamed."""
    lines = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%b\r\n" % (len(body), head)
    return lambda connection: connection.sendall(lines + body)


def endless(piece: bytes, *, begin: bytes = HEAD, pause_s: float = 0.0) -> Behaviour:
    """`piece` again and again, until the client has had enough."""

    def send(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(piece)
            if pause_s:
                time.sleep(pause_s)

    return send


def body_of(completion: str) -> bytes:
    return b'{"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"completion_tokens": %b}}' % completion.encode()


BIG = "9" * 30
UNBELIEVED: dict[str, tuple[Behaviour, str]] = {
    "thirty digits": (usage(BIG), "completion_tokens as a number of about 30 digits"),
    "four hundred digits": (usage("9" * 400), "completion_tokens as a number of about"),
    "six thousand digits": (usage("9" * 6000), "bad JSON"),
    "more than asked": (usage("5000"), "completion_tokens as 5000; expected 0 to"),
    "nine quintillion": (usage("9200000000000000000"), "completion_tokens as a number of about"),
    "prompt of thirty digits": (usage("1", BIG), "prompt_tokens as a number of about 30 digits"),
    "negative": (usage("-3"), "completion_tokens as -3"),
    "a fraction": (usage("2.5"), "completion_tokens as 2.5"),
    "a boolean": (usage("true"), "completion_tokens as"),
    "a text": (usage('"7"'), "completion_tokens as a str"),
    "a list": (usage("[7]"), "completion_tokens as a list"),
    "not a number": (usage("NaN"), "bad JSON"),
    "infinity": (usage("Infinity"), "bad JSON"),
    "infinite by exponent": (usage("1e999"), "completion_tokens as inf"),
    "usage is a list": (stream(event(usage=[1])), "bad JSON"),
    "usage is a number": (stream(event(usage=5)), "bad JSON"),
    "finish is a number": (stream(b'data: {"choices": [{"text": "a", "finish_reason": 5}]}\n\n'), "bad JSON"),
    "choices is a number": (stream(b'data: {"choices": 5}\n\n'), "bad JSON"),
    "choices is a text": (stream(b'data: {"choices": "abc"}\n\n'), "bad JSON"),
    "text is a number": (stream(b'data: {"choices": [{"text": 5}]}\n\n'), "bad JSON"),
    "deep": (stream(b'data: {"choices": ' + b"[" * 100_000 + b"\n\n"), "bad JSON"),
    "surrogate error": (stream(b'data: {"error": {"message": "half \\ud800 of a sign"}}\n\n'), "half ? of a sign"),
    "escape in an error": (stream(b'data: {"error": {"message": "\\u001b]8;;http://x\\u0007\\u202e"}}\n\n'), "?]8;;http://x??"),
    "no UTF-8": (stream(b"data: \xff\xfe\n\n"), "bad JSON"),
    "gzip": (whole(gzip.compress(bytes(1 << 20)), b"Content-Encoding: gzip\r\n"), "the stream ended"),
    "redirect to itself": (
        lambda connection: connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /v1/completions\r\nContent-Length: 0\r\n\r\n"),
        "HTTP 302",
    ),
    "endless tokens": (endless(event() * 64), "events with a token"),
    "endless comments": (endless(b": ping\n\n" * 4096), "events without a token"),
    "endless line": (endless(b"z" * 65536), "an event is longer than"),
    "endless lines": (endless(b"data: x\n" * 4096), "an event is longer than"),
    "endless interim": (endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 64, begin=b""), "the head of the reply is longer than"),
    "endless head": (endless(b"X-Noise: " + b"y" * 4000 + b"\r\n", begin=b"HTTP/1.1 200 OK\r\n"), "the head of the reply"),
    "chunk of sixteen digits": (
        lambda connection: connection.sendall(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + event()
        ),
        "not HTTP",
    ),
    "negative length": (
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + event()),
        "not HTTP",
    ),
    "length of thirty digits": (
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % BIG.encode()),
        "not HTTP",
    ),
    "status of five digits": (
        lambda connection: connection.sendall(b"HTTP/1.1 20000 OK\r\nContent-Length: 0\r\n\r\n"),
        "not HTTP",
    ),
    "NUL": (lambda connection: connection.sendall(bytes(4096)), "not HTTP"),
}
"""What fails a request, and with which words."""
SLOW: dict[str, Behaviour] = {
    "head by drips": endless(b"a", begin=b"HTTP/1.1 200 OK\r\nX-Slow: ", pause_s=0.02),
    "line by drips": endless(b"z", pause_s=0.02),
    "comments by drips": endless(b": ping\n\n", pause_s=0.02),
    "interim by drips": endless(b"HTTP/1.1 100 Continue\r\n\r\n", begin=b"", pause_s=0.02),
}
"""What only the time-out ends."""


@contextlib.contextmanager
def hostile(behaviour: Behaviour) -> Iterator[int]:
    """A server that answers every request in this way; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                data = b""
                while b"\r\n\r\n" not in data:
                    data += (piece := self.request.recv(1 << 16))
                    if not piece:
                        return
                behaviour(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join(60)
