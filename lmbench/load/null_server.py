"""A server that answers at once with tokens made beforehand, so that what remains of a request is the client's own work.

It speaks the OpenAI API's completions and chat completions, streamed or not, to the loopback interface only. Every token of
a stream is written by itself, as a real server's would be. Nothing is read of a request but its length, and whether it
asks for a stream, a number of tokens and the usage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import click

from lmbench.load.server import PORT, ManagedServer, ServerSpec
from lmbench.measure.clock import Clock

HOST = "127.0.0.1"
WORD = " token"
MAX_HEAD_BYTES = 1 << 16
MAX_TOKENS = 1 << 16
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
# Quotes inside a JSON string are escaped, so a prompt that speaks of "stream" is not taken for the field.
STREAM = re.compile(rb'(?<!\\)"stream"\s*:\s*true')
TOKENS = re.compile(rb'(?<!\\)"max(?:_completion)?_tokens"\s*:\s*(\d+)')
USAGE = re.compile(rb'(?<!\\)"include_usage"\s*:\s*true')
CHAT, TEXT = b"/v1/chat/completions", b"/v1/completions"


@contextmanager
def null_server(tokens: int, clock: Clock, progress: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """The URL of a fresh null server that gives `tokens` where a request sets no limit; it ends with the context."""
    command = (sys.executable, "-P", "-m", "lmbench.load.null_server", "--tokens", str(tokens), "--port", PORT)
    with ManagedServer(ServerSpec(command=command, timeout_s=60.0, grace_s=1.0), clock, progress) as server:
        yield server.url


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What an answer depends on."""

    chat: bool
    stream: bool
    usage: bool
    tokens: int


@lru_cache(maxsize=64)
def answer(ask: Ask) -> tuple[bytes, ...]:
    """The pieces of a complete HTTP answer, to be written one by one: one per token of a stream, else one in all.

    The head goes with the first token and the end of the stream with the last, so nothing but tokens costs a write.
    """
    if not ask.stream:
        return (_whole(200, _body(ask)),)
    events = [_event(_part(ask, index)) for index in range(ask.tokens)]
    closing = _event(_envelope(ask, []) | {"usage": _usage(ask)}) if ask.usage else b""
    events[0] = _head(200, "text/event-stream", "Transfer-Encoding: chunked") + events[0]
    events[-1] += closing + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
    return tuple(events)


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests are answered one after the other."""

    def __init__(self, tokens: int, loop: asyncio.AbstractEventLoop) -> None:
        self._tokens, self._loop = tokens, loop
        self._received = bytearray()
        self._pieces: Sequence[bytes] = ()
        self._next = 0
        self._last = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not derived from it

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._pieces:
            self._take()

    def _take(self) -> None:
        """Begin to answer the next request, if it is here in full."""
        received = self._received
        end = received.find(HEAD_END)
        if end < 0:
            if len(received) > MAX_HEAD_BYTES:
                self._begin((_whole(431, {"error": "the head of the request is too long"}),), last=True)
            return
        found = LENGTH.search(received, 0, end + 2)
        total = end + len(HEAD_END) + (int(found[1]) if found else 0)
        if len(received) < total:
            return
        request = bytes(received[:total])
        del received[:total]
        last = CLOSE.search(request, 0, end + 2) is not None
        self._begin(respond(request, end + len(HEAD_END), self._tokens), last=last)

    def _begin(self, pieces: Sequence[bytes], *, last: bool) -> None:
        self._pieces, self._next, self._last = pieces, 0, last
        self._write()

    def _write(self) -> None:
        """Write one piece; the next one comes in the loop's next turn, so that the two do not share a packet."""
        if self._transport is None:
            return
        self._transport.write(self._pieces[self._next])
        self._next += 1
        if self._next < len(self._pieces):
            self._loop.call_soon(self._write)
            return
        self._pieces = ()
        if self._last:
            self._transport.close()
        elif self._received:
            self._take()


def respond(request: bytes, body: int, tokens: int) -> tuple[bytes, ...]:
    """The answer's pieces to a whole request whose body starts at `body`; `tokens` are given where it sets no limit."""
    method, _, rest = request.partition(b" ")
    path = rest.partition(b" ")[0]
    if method == b"POST" and path in (CHAT, TEXT):
        limit = TOKENS.search(request, body)
        ask = Ask(
            chat=path == CHAT,
            stream=STREAM.search(request, body) is not None,
            usage=USAGE.search(request, body) is not None,
            tokens=min(max(int(limit[1]), 1), MAX_TOKENS) if limit else tokens,
        )
        return answer(ask)
    if method == b"GET" and path == b"/health":
        return (_whole(200, {}),)
    if method == b"GET" and path == b"/v1/models":
        return (_whole(200, {"object": "list", "data": [{"id": "null", "object": "model", "owned_by": "lmbench"}]}),)
    known = "POST /v1/completions or /v1/chat/completions, GET /v1/models or /health"
    shown = f"{method.decode(errors='replace')} {path.decode(errors='replace')}"
    return (_whole(404, {"error": f"found {shown}; expected {known}"}),)


def _envelope(ask: Ask, choices: list[dict[str, Any]]) -> dict[str, Any]:
    kind = ("chat.completion.chunk" if ask.stream else "chat.completion") if ask.chat else "text_completion"
    return {"id": "null-0", "object": kind, "created": 0, "model": "null", "choices": choices}


def _part(ask: Ask, index: int) -> dict[str, Any]:
    ends = "length" if index == ask.tokens - 1 else None
    said: dict[str, Any] = {"delta": {"content": WORD}} if ask.chat else {"text": WORD}
    if ask.chat and index == 0:
        said["delta"]["role"] = "assistant"
    return _envelope(ask, [{"index": 0, **said, "logprobs": None, "finish_reason": ends}])


def _body(ask: Ask) -> dict[str, Any]:
    text = WORD * ask.tokens
    said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if ask.chat else {"text": text}
    return _envelope(ask, [{"index": 0, **said, "logprobs": None, "finish_reason": "length"}]) | {"usage": _usage(ask)}


def _usage(ask: Ask) -> dict[str, int]:
    """The prompt is not read, so it has no tokens."""
    return {"prompt_tokens": 0, "completion_tokens": ask.tokens, "total_tokens": ask.tokens}


def _event(value: dict[str, Any]) -> bytes:
    return _chunk(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(status: int, value: dict[str, Any]) -> bytes:
    data = json.dumps(value, separators=(",", ":")).encode()
    return _head(status, "application/json", f"Content-Length: {len(data)}") + data


def _head(status: int, kind: str, length: str) -> bytes:
    reason = {200: "OK", 404: "Not Found", 431: "Request Header Fields Too Large"}[status]
    return f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode()


async def serve(tokens: int, port: int) -> None:
    """Listen until cancelled; the port goes to stdout, one line."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(tokens, loop), HOST, port, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


@click.command()
@click.option("--tokens", type=click.IntRange(1, MAX_TOKENS), default=16, help="tokens of an answer whose request sets no limit")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0: a free one; it is written to stdout")
def main(tokens: int, port: int) -> None:
    """Serve on the loopback interface until ended by a signal."""
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve(tokens, port))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    main()
