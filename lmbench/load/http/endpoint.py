"""An OpenAI-compatible endpoint, what is asked of it, and the bytes of a request; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

COMPLETIONS, CHAT = "completions", "chat"
PATHS = {COMPLETIONS: "/completions", CHAT: "/chat/completions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one request asks for: a prompt (text or token ids) or messages, and at most `max_tokens` tokens."""

    prompt: str | tuple[int, ...] = ""
    messages: tuple[Mapping[str, str], ...] = ()
    max_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where requests go and how they are put. `url` is the base, with or without '/v1'.

    The API key is named by its environment variable and read where requests are sent; it is never kept here. `extra` joins
    the body of every request (for instance {"ignore_eos": true}), `headers` its head. `ca_file` is in PEM.
    """

    url: str
    api: str = COMPLETIONS
    model: str
    stream: bool = True
    api_key_env: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict)
    verify_tls: bool = True
    ca_file: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("found a user or password in the endpoint's url; expected none; name a key with api_key_env")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"found url {self.url!r}; expected http(s)://host[:port][/path] without query")
        if self.api not in PATHS:
            raise ValueError(f"found api {self.api!r}; expected one of {', '.join(PATHS)}")
        for name, value in self.headers.items():
            if not _one_line(name) or not _one_line(value) or ":" in name:
                raise ValueError(f"found a line break, a colon or other characters in header {name!r}; expected plain ASCII")

    @property
    def secure(self) -> bool:
        return self._parts.scheme == "https"

    @property
    def host(self) -> str:
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        return self._parts.port or (443 if self.secure else 80)

    @property
    def path(self) -> str:
        base = self._parts.path.rstrip("/")
        return (base if base.endswith("/v1") else base + "/v1") + PATHS[self.api]

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)


def body(endpoint: Endpoint, ask: Ask) -> str:
    """The JSON of a request; raises ValueError for what the API cannot carry."""
    found: dict[str, Any] = {"model": endpoint.model, "max_tokens": ask.max_tokens, "temperature": 0}
    if endpoint.api == CHAT:
        found["messages"] = _messages(ask)
    elif ask.messages:
        raise ValueError("found messages for the completions API; expected a prompt; use api 'chat'")
    else:
        found["prompt"] = ask.prompt
    if endpoint.stream:
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(found | dict(endpoint.extra), separators=(",", ":"))


def head(endpoint: Endpoint, api_key: str | None) -> bytes:
    """Everything of a request before the value of Content-Length, its last header."""
    lines = [
        f"POST {endpoint.path} HTTP/1.1",
        f"Host: {endpoint.host if ':' not in endpoint.host else f'[{endpoint.host}]'}:{endpoint.port}",
        f"Accept: {'text/event-stream' if endpoint.stream else 'application/json'}",
        "Content-Type: application/json",
        "User-Agent: lmbench",
        *(f"{name}: {value}" for name, value in endpoint.headers.items()),
    ]
    if api_key is not None:
        if not _one_line(api_key) or " " in api_key:
            raise ValueError(f"the key in {endpoint.api_key_env} holds a space, a line break or is not ASCII; expected one word")
        lines.append(f"Authorization: Bearer {api_key}")
    return "\r\n".join([*lines, "Content-Length: "]).encode("ascii")


def wire(request_head: bytes, request_body: str) -> bytes:
    """The bytes of a whole request."""
    content = request_body.encode()
    return b"%b%d\r\n\r\n%b" % (request_head, len(content), content)


def _messages(ask: Ask) -> list[dict[str, str]]:
    if ask.messages:
        return [dict(message) for message in ask.messages]
    if not isinstance(ask.prompt, str):
        raise ValueError("found token ids for the chat API; expected text or messages; use api 'completions'")
    return [{"role": "user", "content": ask.prompt}]


def _one_line(text: str) -> bool:
    return text.isascii() and text.isprintable()
