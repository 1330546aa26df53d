"""One GET of a server beside the load: its metrics, its readiness. Bounded in time and size whatever the server sends.

A client of the standard library waits anew for every piece, follows redirects and reads a chunk of a negative size to the end.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from lmbench.base.printing import one_line
from lmbench.base.secrets import beginning
from lmbench.measure.clock import Clock

MAX_HEAD_BYTES = 64 << 10
RECEIVE_BYTES = 1 << 16
SHOWN_CHARS = 80
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?\r?\n")
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:[ \t]*chunked[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An answer, or why there is none."""

    status: int = 0
    body: bytes = b""
    fault: str = ""
    """In plain words; empty with an answer of any status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    status: int
    length: int | None
    chunked: bool
    body_from: int


def fetch(url: str, clock: Clock, *, timeout_s: float, most_bytes: int, body: bool = True) -> Fetched:
    """GET `url`, no longer than `timeout_s` in all; without `body` the status is enough. Redirects are not followed."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return Fetched(fault=f"found {url!r}; expected an http or https URL")
        return _fetch(parts, clock, clock.now() + timeout_s, most_bytes, body=body)
    except TimeoutError:
        return Fetched(fault=f"timed out: no whole answer within {timeout_s:g} s")
    except (OSError, ValueError) as error:
        return Fetched(fault=one_line(beginning(f"{type(error).__name__}: {error}", 4 * SHOWN_CHARS)).rstrip(": "))


def _fetch(parts: SplitResult, clock: Clock, until: float, most_bytes: int, *, body: bool) -> Fetched:
    def left() -> float:
        if (seconds := until - clock.now()) <= 0:
            raise TimeoutError
        return seconds

    secure = parts.scheme == "https"
    host = parts.hostname or ""
    port = parts.port or (443 if secure else 80)
    with socket.create_connection((host, port), timeout=left()) as plain:
        plain.settimeout(left())
        stream = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
        with stream:
            stream.settimeout(left())
            stream.sendall(_request(parts, host, port))
            data = b""
            while True:
                stream.settimeout(left())
                piece = stream.recv(RECEIVE_BYTES)
                data += piece
                found = _read(data, over=not piece, body=body)
                if found is not None:
                    return found
                if len(data) > most_bytes + MAX_HEAD_BYTES:
                    return Fetched(fault=f"the answer is longer than {most_bytes >> 10} KiB")


def _request(parts: SplitResult, host: str, port: int) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    name = f"[{host}]" if ":" in host else host
    fields = (f"Host: {name}:{port}", "Accept: text/plain", "User-Agent: lmbench", "Connection: close")
    lines = (f"GET {path} HTTP/1.0", *fields, "", "")
    return "\r\n".join(lines).encode("ascii")


def _read(data: bytes, *, over: bool, body: bool) -> Fetched | None:
    """The answer in `data`, once there is one; `over` when no more comes."""
    head = _head(data)
    if head is None:
        if len(data) > MAX_HEAD_BYTES:
            raise ValueError(f"its head is longer than {MAX_HEAD_BYTES >> 10} KiB")
        if over:
            raise ValueError("it closed the connection inside the head of its answer")
        return None
    if not body:
        return Fetched(status=head.status)
    content = data[head.body_from :]
    if head.chunked:
        whole = _dechunked(content) if over or content.endswith(_LAST_CHUNK) else None
    elif head.length is not None:
        whole = content[: head.length] if len(content) >= head.length else None
    else:
        whole = content if over else None
    if whole is None and over:
        raise ValueError("it closed the connection inside its answer")
    return None if whole is None else Fetched(status=head.status, body=whole)


def _head(data: bytes) -> _Head | None:
    """The first head that is not interim; None while it is not whole. Raises ValueError for what is no HTTP."""
    begin = 0
    while (end := _END_OF_HEAD.search(data, begin)) is not None:
        status = _STATUS.match(data, begin)
        if status is None:
            raise ValueError(f"what it sent is not HTTP: {data[begin : begin + SHOWN_CHARS]!r}")
        if not status[1].startswith(b"1"):
            lines = data[begin : end.start() + 1]
            length = _LENGTH.search(lines)
            chunked = _CHUNKED.search(lines) is not None
            size = None if length is None else int(length[1])
            return _Head(status=int(status[1]), length=size, chunked=chunked, body_from=end.end())
        begin = end.end()
    if len(data) - begin > SHOWN_CHARS and not data.startswith(b"HTTP/1.", begin):
        raise ValueError(f"what it sent is not HTTP: {data[begin : begin + SHOWN_CHARS]!r}")
    return None


def _dechunked(content: bytes) -> bytes | None:
    """The body in chunks; None where its end is missing."""
    found: list[bytes] = []
    place = 0
    while (size := _SIZE.match(content, place)) is not None:
        begin, count = size.end(), int(size[1], 16)
        if count == 0:
            return b"".join(found)
        if content[begin + count : begin + count + 2] != b"\r\n":
            return None
        found.append(content[begin : begin + count])
        place = begin + count + 2
    return None
