"""The client of one event loop: kept connections, requests written the moment they are handed over, time-outs, retries."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from functools import lru_cache

from lmbench.base.errors import Unavailable
from lmbench.base.printing import printable
from lmbench.base.secrets import declare
from lmbench.load.http.bounds import MOST_TOKENS
from lmbench.load.http.connection import Connection
from lmbench.load.http.endpoint import Endpoint, head, wire
from lmbench.load.http.exchange import Exchange
from lmbench.load.http.heart import Heart
from lmbench.load.http.reply import Reply
from lmbench.load.requests import CANCELLED, COMPLETED, FAILED, TIMED_OUT, Request

MAX_ERROR_CHARS = 400
BACKLOG_S = 0.5
"""How far the reading of what has arrived may lie behind before a time-out no longer waits for it."""
OnEnd = Callable[[Request, Exchange], None]


class Flight:
    """A request that is open."""

    __slots__ = (
        "asked",
        "attempts",
        "beat",
        "connection",
        "dialling",
        "on_end",
        "reopened",
        "reply",
        "request",
        "reused",
        "started_s",
        "wire",
    )

    def __init__(self, request: Request, wire_bytes: bytes, on_end: OnEnd, beat: int, asked: int) -> None:
        self.request, self.wire, self.on_end, self.beat, self.asked = request, wire_bytes, on_end, beat, asked
        self.connection: Connection | None = None
        self.dialling: asyncio.Task[None] | None = None
        self.reply: Reply | None = None
        self.started_s: float | None = None
        self.attempts = 1
        self.reopened = self.reused = False


class Client:
    """Sends requests to one endpoint and tells `on_end` of each exactly once, whatever happens to it.

    Time-outs count from `Request.sent_s`. A failed or rejected request is tried `retries` times more, at once.
    `now` reads the run's clock. Raises Unavailable when the API key's environment variable is not set.
    """

    def __init__(
        self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, now: Callable[[], float], *, timeout_s: float, retries: int = 0
    ) -> None:
        self.now = now
        self.reopened = self.retried = 0
        self._endpoint, self._loop = endpoint, loop
        self._timeout_s, self._retries = timeout_s, retries
        self._head = head(endpoint, api_key(endpoint))
        self._tls = _tls(endpoint)
        self._addresses: list[str] = []
        self._free: list[Connection] = []
        self._held: dict[Connection, Flight] = {}
        self._flights: dict[Flight, None] = {}  # in order of sending, so the first is the first to time out
        self._arrived: list[tuple[Connection, bytes, float]] = []
        self._heart = Heart(loop, now, self._time_out)

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def wire(self, body: str) -> bytes:
        """The bytes of a request, to be made ahead of the moment of sending."""
        return wire(self._head, body)

    async def warm(self, count: int) -> None:
        """Open connections until `count` are free. Raises OSError when the endpoint cannot be reached."""
        if wanted := max(0, count - len(self._free)):
            self._free += await asyncio.gather(*(self._dial() for _ in range(wanted)))

    def submit(self, request: Request, wire_bytes: bytes, on_end: OnEnd, asked: int = MOST_TOKENS) -> None:
        """Write a request on a free connection, or open one; never waits, never calls `on_end` before it returns.

        `asked` is how many tokens it asks for; a reply that claims or sends many more is failed.
        """
        flight = Flight(request, wire_bytes, on_end, self._heart.beats, asked)
        self._flights[flight] = None
        self._start(flight)

    def cancel_all(self) -> None:
        """End every open request as cancelled."""
        self.drain()
        for flight in list(self._flights):
            self._give_up(flight, CANCELLED, "the run was over")

    def close(self) -> None:
        """Cancel what is open and close every connection."""
        self.cancel_all()
        self._heart.stop()
        while self._free:
            self._free.pop().abort()

    def arrived(self, connection: Connection, data: bytes) -> None:
        # Parsing waits until the loop has read every socket that is ready: the second packet's stamp must not
        # contain the parsing of the first.
        if not self._arrived:
            self._loop.call_soon(self.drain)
        self._arrived.append((connection, data, self.now()))

    def drain(self) -> None:
        batch, self._arrived = self._arrived, []
        for connection, data, arrived_s in batch:
            # A packet behind a time-out comes too late, and the reading of a flood must not hold up the others' time-outs.
            self._end_late(max(arrived_s, self.now() - BACKLOG_S))
            connection.feed(data, arrived_s)

    def ended(self, connection: Connection, status: str, error: str, *, reusable: bool) -> None:
        flight = self._held.pop(connection)
        connection.reply = None
        if reusable:
            self._free.append(connection)
        if status == COMPLETED or flight.attempts > self._retries:
            self._finish(flight, status, error)
        else:
            self._again(flight)
            self._start(flight)

    def stale(self, connection: Connection) -> bool:
        flight = self._held[connection]
        if connection.uses < 2 or flight.reopened:
            return False
        del self._held[connection]
        flight.reopened = True
        self.reopened += 1
        self._open_for(flight)
        return True

    def _again(self, flight: Flight) -> None:
        flight.attempts += 1
        self.retried += 1

    def _start(self, flight: Flight) -> None:
        while self._free:
            connection = self._free.pop()
            if connection.open:
                self._begin(flight, connection)
                return
        self._open_for(flight)

    def _begin(self, flight: Flight, connection: Connection) -> None:
        stream, size = self._endpoint.stream, len(flight.wire)
        flight.connection, flight.reply = connection, Reply(stream=stream, asked=flight.asked, prompt_bytes=size)
        flight.reused = connection.uses > 0
        self._held[connection] = flight
        flight.started_s = self.now()
        connection.begin(flight.wire, flight.reply)

    def _open_for(self, flight: Flight) -> None:
        flight.connection = None
        flight.dialling = self._loop.create_task(self._dial_for(flight))

    async def _dial_for(self, flight: Flight) -> None:
        try:
            connection = await self._dial()
        except OSError as error:
            flight.dialling = None
            if flight.attempts > self._retries:
                self._finish(flight, FAILED, _unreachable(self._endpoint, error))
            else:
                self._again(flight)
                self._open_for(flight)
            return
        flight.dialling = None
        self._begin(flight, connection)

    async def _dial(self) -> Connection:
        """A new connection to the first address that takes one; that address is tried first from then on."""
        if not self._addresses:
            found = await self._loop.getaddrinfo(self._endpoint.host, self._endpoint.port, type=1)  # SOCK_STREAM
            self._addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        failure = OSError("no address")
        for address in self._addresses:
            name = self._endpoint.host if self._tls else None
            try:
                _, connection = await self._loop.create_connection(
                    lambda: Connection(self), address, self._endpoint.port, ssl=self._tls, server_hostname=name
                )
            except OSError as error:
                failure = error
                continue
            if self._addresses[0] != address:
                self._addresses = [address, *(other for other in self._addresses if other != address)]
            return connection
        raise failure

    def _time_out(self, now: float) -> None:
        self.drain()
        self._end_late(now)

    def _end_late(self, now: float) -> None:
        """End what is beyond its time-out at `now`, once all that had arrived by then has been read."""
        while (flight := next(iter(self._flights), None)) is not None and flight.request.sent_s + self._timeout_s <= now:
            reply = flight.reply
            if reply is not None and reply.done:  # all is there but the end of the HTTP message
                self._give_up(flight, *reply.end())
                continue
            tokens = len(reply.token_times_s) if reply else 0
            so_far = "it had no connection" if flight.started_s is None else f"{tokens} tokens had come"
            self._give_up(flight, TIMED_OUT, f"not finished {self._timeout_s:g} s after it was sent; {so_far}")

    def _give_up(self, flight: Flight, status: str, error: str) -> None:
        if flight.dialling is not None:
            flight.dialling.cancel()
        if flight.connection is not None and self._held.pop(flight.connection, None) is not None:
            flight.connection.abort()
        self._finish(flight, status, error)

    def _finish(self, flight: Flight, status: str, error: str) -> None:
        del self._flights[flight]
        now = self.now()
        reply = flight.reply or Reply(stream=False)
        done_s = reply.finished_s if status == COMPLETED else None
        exchange = Exchange(
            status=status,
            sent_s=flight.request.sent_s,
            started_s=flight.started_s,
            first_byte_s=reply.first_byte_s,
            token_times_s=tuple(reply.token_times_s),
            finished_s=now if done_s is None else done_s,
            tokens=reply.tokens,
            prompt_tokens=reply.count("prompt_tokens"),
            completion_tokens_reported=reply.count("completion_tokens"),
            http_status=reply.http_status or None,
            connection_reused=flight.reused,
            reopened=flight.reopened,
            attempts=flight.attempts,
            loop_lag_s=self._heart.worst_s(flight.beat, now),
            error=_told(error) if error else "",
        )
        flight.on_end(flight.request, exchange)


@lru_cache(maxsize=256)
def _told(error: str) -> str:
    """An error as it may be told: without the key, which a server may echo, and only then cut short."""
    error = printable(error)
    return error if len(error) <= MAX_ERROR_CHARS else error[:MAX_ERROR_CHARS] + " ..."


def api_key(endpoint: Endpoint) -> str | None:
    """The endpoint's key from the environment; None when it needs none. Raises Unavailable."""
    if endpoint.api_key_env is None:
        return None
    declare(endpoint.api_key_env)
    if not (key := os.environ.get(endpoint.api_key_env, "")):
        name = endpoint.api_key_env
        raise Unavailable(
            f"the environment variable {name}, which should hold the API key, is not set", f"run: export {name}=..."
        )
    return key


def _tls(endpoint: Endpoint) -> ssl.SSLContext | None:
    if not endpoint.secure:
        return None
    context = ssl.create_default_context(cafile=endpoint.ca_file)
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _unreachable(endpoint: Endpoint, error: OSError) -> str:
    """Why a connection could not be opened, in plain words."""
    place = f"{endpoint.host}:{endpoint.port}"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refused the connection"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection to {place}: {error}"
    return f"no connection to {place}: {error.strerror or error}"
