"""The ways in which the scripted server answers a request: in time, in pieces, wrongly, or not at all."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"
LONG_S = 3600.0
now = time.perf_counter


@dataclass(kw_only=True)
class Options:
    """How the server behaves; times in seconds."""

    mode: str = "latency"
    ttft_s: float = 0.0
    tpot_s: float = 0.0
    tokens: int = 4
    slots: int = 1
    service_s: float = 0.01
    freeze_s: float = 0.0
    freeze_every_s: float = 2.0
    keep_alive_s: float | None = None
    """Close a connection that has been idle this long, without a word."""


@dataclass(kw_only=True)
class Call:
    """One request as it is answered."""

    prompt: str
    mode: str
    received_s: float
    stream: bool
    max_tokens: int
    chat: bool
    head: bytes
    token_times_s: list[float] = field(default_factory=list)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(call: Call, text: str | None, finish: str | None = None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if call.chat:
        choice["delta"] = {} if text is None else {"content": text}
    else:
        choice["text"] = text or ""
    return b"data: " + json.dumps({"id": "x", "choices": [choice], "usage": None}).encode() + b"\n\n"


def usage(call: Call, tokens: int) -> bytes:
    del call
    counts = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}
    return b"data: " + json.dumps({"id": "x", "choices": [], "usage": counts}).encode() + b"\n\n"


@dataclass(kw_only=True)
class Host:
    """What the modes need of the server."""

    options: Options
    slots: asyncio.Semaphore
    seen: set[str] = field(default_factory=set)


Mode = Callable[[Host, Call, asyncio.StreamWriter], Awaitable[bool]]


async def latency(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """The first token after `ttft_s`, each further one `tpot_s` after the one before it."""
    tokens = min(host.options.tokens, call.max_tokens)
    if not call.stream:
        return await plain(host, call, writer)
    if call.chat:
        writer.write(HEAD + chunk(b'data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}\n\n'))
    for token in range(tokens):
        due = call.received_s + host.options.ttft_s + token * host.options.tpot_s
        if due > now():
            await asyncio.sleep(due - now())
        call.token_times_s.append(now())
        data = chunk(event(call, f" t{token}"))
        writer.write(HEAD + data if token == 0 and not call.chat else data)
    writer.write(chunk(event(call, None, "length")) + chunk(usage(call, tokens)) + chunk(DONE) + LAST)
    await writer.drain()
    return True


async def plain(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    tokens = min(host.options.tokens, call.max_tokens)
    await asyncio.sleep(host.options.ttft_s + tokens * host.options.tpot_s)
    text = " t" * tokens
    said = {"message": {"role": "assistant", "content": text}} if call.chat else {"text": text}
    found = {"choices": [{**said, "finish_reason": "length"}], "usage": {"prompt_tokens": 3, "completion_tokens": tokens}}
    body = json.dumps(found).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    await writer.drain()
    return True


async def slots(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """`slots` requests at a time, first come first served, `service_s` each."""
    async with host.slots:
        await asyncio.sleep(host.options.service_s)
    call.received_s = now()
    return await latency(host, call, writer)


async def pieces(writer: asyncio.StreamWriter, *pieces: bytes) -> None:
    """Write each piece as a packet of its own, as far as the kernel lets us."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.001)


def stream_of(call: Call, tokens: int = 3) -> bytes:
    """The events of a whole reply."""
    return b"".join(event(call, f" t{token}") for token in range(tokens)) + event(call, None, "stop") + usage(call, tokens) + DONE


async def _status(writer: asyncio.StreamWriter, line: str, body: bytes) -> bool:
    writer.write(f"HTTP/1.1 {line}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Close with RST instead of FIN."""
    found = writer.get_extra_info("socket")
    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def error_500(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    return await _status(writer, "500 Internal Server Error", b'{"error": {"message": "the model fell over"}}')


async def busy(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    return await _status(writer, "429 Too Many Requests", b"queue full")


async def echo(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Refuses the request and quotes its head, as some gateways do."""
    return await _status(writer, "401 Unauthorized", call.head)


async def hang(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call, writer
    await asyncio.sleep(LONG_S)
    return False


async def hang_inside(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, HEAD + chunk(event(call, " t0")))
    return await hang(host, call, writer)


async def hang_after(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """All events are there, but the HTTP message never ends."""
    await pieces(writer, HEAD + chunk(stream_of(call)))
    return await hang(host, call, writer)


async def close_before(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call, writer
    return False


async def close_head(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    await pieces(writer, HEAD[:30])
    return False


async def close_inside(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, HEAD + chunk(event(call, " t0")))
    return False


async def half_chunk(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    data = chunk(event(call, " t0"))
    await pieces(writer, HEAD + data + data[: len(data) // 2])
    return False


async def reset(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    return _reset(writer)


async def reset_inside(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, HEAD + chunk(event(call, " t0")))
    return _reset(writer)


async def garbage(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    await pieces(writer, b"\x00\xffnot http at all\r\n\r\n" * 3)
    return False


async def garbage_after(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """A good reply with bytes behind it that belong to nothing."""
    await pieces(writer, HEAD + chunk(stream_of(call)) + LAST + b"surplus")
    await asyncio.sleep(LONG_S)
    return False


async def endless_head(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    del call
    await pieces(writer, b"HTTP/1.1 200 OK\r\n", *(b"X-Noise: %b\r\n" % (b"y" * 8000) for _ in range(12)))
    return False


async def endless_event(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    writer.write(HEAD)
    for _ in range(40):
        writer.write(chunk(b"z" * 65536))
        await writer.drain()
    return await hang(host, call, writer)


async def split(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Every byte of the reply is a packet of its own."""
    await pieces(writer, *(bytes((value,)) for value in HEAD + chunk(stream_of(call, 2)) + LAST))
    return True


async def together(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """The whole reply in one packet."""
    await pieces(writer, HEAD + chunk(stream_of(call)) + LAST)
    return True


async def crlf(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Lines that end in \\r\\n, with comments between the events."""
    await pieces(writer, HEAD + chunk(b": hello\r\n\r\n" + stream_of(call).replace(b"\n", b"\r\n")) + LAST)
    return True


async def no_done(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Finished by its finish_reason, without [DONE]."""
    await pieces(writer, HEAD + chunk(stream_of(call).removesuffix(DONE)) + LAST)
    return True


async def unfinished(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Ends in good order as HTTP, but neither [DONE] nor a finish_reason has come."""
    await pieces(writer, HEAD + chunk(event(call, " t0")) + LAST)
    return True


async def bad_json(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, HEAD + chunk(event(call, " t0") + b'data: {"choices": [{"te\n\n' + DONE) + LAST)
    return True


async def error_event(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, HEAD + chunk(event(call, " t0") + b'data: {"error": {"message": "out of memory"}}\n\n') + LAST)
    return True


async def until_close(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """A reply without any framing: it ends with the connection (RFC 9112, section 6.3)."""
    await pieces(writer, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + stream_of(call))
    return False


async def stale(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """A good reply, after which the connection is closed although it was promised to be kept."""
    await together(host, call, writer)
    return False


async def interim(_: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    await pieces(writer, b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + chunk(stream_of(call)) + LAST)
    return True


async def close_first(host: Host, call: Call, writer: asyncio.StreamWriter) -> bool:
    """Closes without a word the first time a prompt is asked, as a server does that gave up an idle connection meanwhile."""
    if call.prompt in host.seen:
        return await together(host, call, writer)
    host.seen.add(call.prompt)
    return False


FAULTS: dict[str, Mode] = {
    "500": error_500,
    "429": busy,
    "echo": echo,
    "hang": hang,
    "hang-inside": hang_inside,
    "close-before": close_before,
    "close-head": close_head,
    "close-inside": close_inside,
    "half-chunk": half_chunk,
    "reset": reset,
    "reset-inside": reset_inside,
    "garbage": garbage,
    "endless-head": endless_head,
    "endless-event": endless_event,
    "unfinished": unfinished,
    "bad-json": bad_json,
    "error-event": error_event,
}
GOOD: dict[str, Mode] = {
    "latency": latency,
    "plain": plain,
    "slots": slots,
    "garbage-after": garbage_after,
    "hang-after": hang_after,
    "split": split,
    "together": together,
    "crlf": crlf,
    "no-done": no_done,
    "until-close": until_close,
    "stale": stale,
    "interim": interim,
}
MODES = FAULTS | GOOD | {"close-first": close_first}
