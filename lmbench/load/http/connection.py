"""One connection: a request out, its reply in, the clock read once per packet before anything else is done with it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from lmbench.load.http.reply import Reply, quoted
from lmbench.load.requests import COMPLETED, FAILED

MAX_HEAD_BYTES = 64 << 10
LAST_CHUNK = b"0\r\n\r\n"


class Owner(Protocol):
    """Who holds connections."""

    def now(self) -> float: ...

    def arrived(self, connection: Connection, data: bytes) -> None:
        """Stamp a packet; `Connection.feed` it, in order, once the loop has read everything that was there."""

    def drain(self) -> None:
        """Feed what has arrived."""

    def ended(self, connection: Connection, status: str, error: str, *, reusable: bool) -> None:
        """The reply on this connection is over."""

    def stale(self, connection: Connection) -> bool:
        """The connection closed before a byte of the reply; True when the owner will write the request again elsewhere."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. One that misbehaved is closed, never reused."""

    def __init__(self, owner: Owner) -> None:
        from httptools import HttpResponseParser

        self._owner = owner
        self._parser: Any = HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._headed = self._complete = self._surplus = False
        self._head_bytes = 0
        self.reply: Reply | None = None
        self.uses = 0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def begin(self, wire: bytes, reply: Reply) -> None:
        """Write a request; what comes back goes to `reply`."""
        assert self._transport is not None  # noqa: S101 - only open connections are handed requests
        self.reply = reply
        self.uses += 1
        self._headed = self._complete = False
        self._head_bytes = 0
        self._transport.write(wire)

    def abort(self) -> None:
        """Close at once; nothing more is heard of the reply."""
        self.reply = None
        self._parser = None  # it holds bound methods of this object: a cycle, and nobody collects garbage during a step
        if self._transport is not None:
            self._transport.abort()

    def feed(self, data: bytes, now: float) -> None:
        """Read a packet that arrived at `now`."""
        reply = self.reply
        if reply is None:
            self.abort()  # bytes that nobody asked for
            return
        if reply.first_byte_s is None:
            reply.first_byte_s = now
        wrong = self._parse(data)
        if self._pieces:
            body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            reply.add(body, now)
        if self._complete:
            self._end(*reply.end(), reusable=not (wrong or self._surplus or reply.problem) and self._keep)
        elif wrong or reply.problem:
            self._end(FAILED, reply.problem or wrong, reusable=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._owner.arrived(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.drain()
        reply = self.reply
        if reply is not None and not (reply.first_byte_s is None and self._owner.stale(self)):
            status, error = self._verdict_of_loss(reply, exc)
            self._end(status, error, reusable=False)
        self.abort()
        self._transport = None

    def on_message_begin(self) -> None:
        self._surplus = self._complete

    def on_headers_complete(self) -> None:
        self._headed = True
        if self.reply is not None:
            self.reply.http_status = self._parser.get_status_code()

    def on_body(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        if self.reply is not None and 100 <= self.reply.http_status < 200:  # an interim response (RFC 9110, section 15.2)
            self._headed = False
            return
        self._complete = True
        self._keep = self._parser.should_keep_alive()

    def _parse(self, data: bytes) -> str:
        """Run the HTTP parser; what is wrong with the bytes, or an empty string."""
        from httptools import HttpParserError, HttpParserUpgrade

        if not self._headed:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            return "the server switched to another protocol; expected an HTTP reply"
        except HttpParserError as error:
            return f"what the server sent is not HTTP ({error}): {quoted(data)}"
        if not self._headed and self._head_bytes > MAX_HEAD_BYTES:
            return f"the head of the reply is longer than {MAX_HEAD_BYTES >> 10} KiB"
        return ""

    def _end(self, status: str, error: str, *, reusable: bool) -> None:
        if not reusable:
            transport, self._transport = self._transport, None
            if transport is not None:
                transport.abort()
        self._owner.ended(self, status, error, reusable=reusable)

    def _verdict_of_loss(self, reply: Reply, exc: Exception | None) -> tuple[str, str]:
        """What a lost connection means for the reply that was coming in on it."""
        how = "the server reset the connection" if isinstance(exc, ConnectionResetError) else "the connection was closed"
        if exc is not None and not isinstance(exc, (ConnectionResetError, BrokenPipeError)):
            how = f"the connection broke ({exc})"
        if reply.first_byte_s is None:
            return FAILED, f"{how} before a byte of the reply"
        if not self._headed:
            return FAILED, f"{how} inside the head of the reply"
        status, error = reply.end(broken=True)
        if status == COMPLETED or reply.problem or not 200 <= reply.http_status < 300:
            return status, error
        where = "inside a chunk" if self._inside_chunk() else "in the middle"
        return FAILED, f"{how} {where} of the reply, after {reply.size_bytes} bytes: {error}"

    def _inside_chunk(self) -> bool:
        """Whether the reply broke off within a chunk: only between two chunks does the parser take a last one."""
        from httptools import HttpParserError

        try:
            self._parser.feed_data(LAST_CHUNK)
        except HttpParserError:
            return True
        return not self._complete
