"""What an endpoint may plausibly say of one request; beyond it the request has failed, with that reason. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmbench.load.http.endpoint import Ask, Endpoint

MOST_TOKENS = 10_000_000
"""Of a prompt or an answer, whatever was asked for."""
ASKED_TWICE, ASKED_MORE = 2, 64
"""Servers count special tokens, and some think beyond the limit: an answer may be so much longer than what was asked for."""
EVENTS_PER_TOKEN, MORE_EVENTS = 16, 4096
"""A token may come in several pieces (bytes of one character), each in an event of its own."""
IDLE_EVENTS = 100_000
"""Events and comments without a token, such as those that keep a connection open: one a second for a day."""
UNSEEN_PROMPT_TOKENS = 100_000
"""A server's own template and instructions, beside the bytes that were sent: a token has at least one byte."""
ASKED = ("max_tokens", "max_completion_tokens", "min_tokens")
CHOICES = ("n", "best_of")
COUNTS = ("prompt_tokens", "completion_tokens")


def tokens_asked(endpoint: Endpoint, ask: Ask) -> int:
    """How many tokens a request asks for at most; the endpoint's own fields may ask for more, and for several answers."""
    wanted = [ask.max_tokens, *(_whole(endpoint.extra.get(name)) for name in ASKED)]
    return max(wanted) * max(1, *(_whole(endpoint.extra.get(name)) for name in CHOICES))


def most_events(asked: int) -> int:
    """Events with a token that one stream may have."""
    return min(asked * EVENTS_PER_TOKEN + MORE_EVENTS, MOST_TOKENS)


def read_usage(usage: Mapping[str, Any], *, asked: int, prompt_bytes: int) -> dict[str, int]:
    """The counts of a reply's usage, those that it reports. Raises ValueError for what cannot be a count of this request."""
    most = {
        "prompt_tokens": min(prompt_bytes + UNSEEN_PROMPT_TOKENS, MOST_TOKENS),
        "completion_tokens": min(asked * ASKED_TWICE + ASKED_MORE, MOST_TOKENS),
    }
    found = {}
    for name in COUNTS:
        value = usage.get(name)
        if value is None:
            continue
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise ValueError(f"its usage gives {name} as {_shown(value)}; expected a whole number")
        if not 0 <= value <= most[name]:
            raise ValueError(f"its usage gives {name} as {_shown(value)}; expected 0 to {most[name]} for what was asked")
        found[name] = value
    return found


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _shown(value: object) -> str:
    """A value in a message; a number of thousands of digits is not spelled out."""
    if type(value) is int and abs(value) >= 10**18:
        return f"a number of about {int(value.bit_length() * 0.30103)} digits"
    if isinstance(value, (int, float)):
        return f"{value}"
    return f"a {type(value).__name__}"
