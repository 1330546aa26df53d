"""What an endpoint's JSON says: one event of a stream, or a whole body; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

DONE = b"[DONE]"
TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
"""Members of a chat delta that hold generated text; which one depends on the server and on what the model is doing."""


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_no_number).decode


class Piece(NamedTuple):
    """What one payload brought. A tuple: one is made for every token, between two readings of the clock."""

    has_token: bool = False
    text: str = ""
    usage: Mapping[str, Any] | None = None
    finish_reason: str | None = None
    error: str = ""


def parse(payload: bytes) -> Piece:
    """One event of a stream, or the body of a reply that was not streamed. Raises ValueError when it is neither.

    A delta with only a role, and an empty text, carry no token.
    """
    try:
        return _piece(_decode(payload.decode()))
    except (AttributeError, LookupError, OverflowError, TypeError, RecursionError) as error:
        raise ValueError("not shaped like a reply") from error


def _piece(found: dict[str, Any]) -> Piece:
    """What an object says; raises whatever comes of it when it is shaped otherwise."""
    if found.get("error") is not None:
        return Piece(error=_words(found["error"]))
    choices, usage = found.get("choices"), found.get("usage")
    if usage is not None and type(usage) is not dict:
        raise TypeError("a usage that is none")
    if not choices:
        return Piece(usage=usage)
    choice = choices[0]
    text = choice.get("text")
    called = False
    if text is None:
        text, called = _message(choice.get("delta") or choice.get("message") or {})
    if type(text) is not str:
        raise TypeError("a text that is none")
    finish = choice.get("finish_reason")
    if finish is not None and type(finish) is not str:
        raise TypeError("a reason that is none")
    return Piece(called or text != "", text, usage, finish)


def _message(message: Mapping[str, Any]) -> tuple[str, bool]:
    """The text of a chat message or delta, and whether it calls a tool (whose arguments are tokens as well)."""
    content = message.get("content")
    if content:
        return content, False
    for name in TEXTS:
        if text := message.get(name):
            return text, False
    return "", bool(message.get("tool_calls"))


def _words(error: object) -> str:
    """The message of an error member, whatever its shape."""
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return error if isinstance(error, str) else json.dumps(error)
