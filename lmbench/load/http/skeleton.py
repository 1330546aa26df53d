"""What the events of one stream have in common, so that most of them need no JSON parser; pure.

Servers repeat the same object for every token and change only its text. Once one event has been parsed, and parsed again with
another text in its place, an event made of the same bytes around a plain text is known to say the same with that text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lmbench.load.http.answers import Piece, parse

PLAIN = re.compile(rb"[ !#-\[\]-~]+").fullmatch
"""Printable ASCII without quote and backslash: such bytes between two quotes are a JSON string (RFC 8259, section 7)."""
PROBE = b"~lmbench~"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The bytes before and after the text of an event that carries nothing but a token."""

    before: bytes
    after: bytes

    def fits(self, event: bytes) -> bool:
        """Whether `event` has a token, and no usage, finish reason or error."""
        return (
            event.startswith(self.before)
            and event.endswith(self.after)
            and PLAIN(event, len(self.before), len(event) - len(self.after)) is not None
        )


def learn(field: bytes, payload: bytes, piece: Piece) -> Skeleton | None:
    """The skeleton of the event `field` + `payload` whose parsing gave `piece`.

    None when the piece says more than its text, or when the text cannot be told from the rest.
    """
    if piece.usage is not None or piece.finish_reason is not None or piece.error or not piece.text.isascii():
        return None
    text = piece.text.encode()
    before, found, after = payload.partition(b'"%b"' % text)
    if not found or not PLAIN(text):
        return None
    try:
        probed = parse(b'%b"%b"%b' % (before, PROBE, after))
    except ValueError:
        return None
    expected = Piece(has_token=True, text=PROBE.decode())
    return Skeleton(field + before + b'"', b'"' + after) if probed == expected else None
