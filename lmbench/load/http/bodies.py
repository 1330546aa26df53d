"""Request bodies on their way to the client processes: made ahead, shipped in messages small enough not to be felt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lmbench.load.http.bounds import tokens_asked
from lmbench.load.http.endpoint import Ask, Endpoint, body

CHUNK, CHUNK_CHARS = 32, 1 << 16
"""Bodies in one message: reading it must not stop the client's loop for long."""
AHEAD = 128
"""Bodies made before a step begins, so that its first requests are not late."""


class Shelf:
    """Makes the bodies of requests; `asks(k)` depends on k alone."""

    def __init__(self, endpoint: Endpoint, asks: Callable[[int], Ask]) -> None:
        self._endpoint, self._asks = endpoint, asks
        self._made: dict[int, tuple[str, int]] = {}

    def prepare(self, first: int) -> None:
        """Make the bodies from number `first` on, as far as AHEAD; fewer where the asks end before, which is no fault yet."""
        made: dict[int, tuple[str, int]] = {}
        with contextlib.suppress(LookupError):
            for number in range(first, first + AHEAD):
                made[number] = self._take(number)
        self._made = made

    def messages(self, first: int, stride: int, count: int) -> Iterator[dict[str, Any]]:
        """Commands for a client process with the bodies `first`, `first + stride`, ..., `count` of them."""
        texts: list[str] = []
        asked: list[int] = []
        start, size = first, 0
        for number in range(first, first + count * stride, stride):
            text, tokens = self._take(number)
            texts.append(text)
            asked.append(tokens)
            size += len(text)
            if len(texts) == CHUNK or size >= CHUNK_CHARS:
                yield {"do": "bodies", "first": start, "stride": stride, "texts": texts, "asked": asked}
                texts, asked, start, size = [], [], number + stride, 0
        if texts:
            yield {"do": "bodies", "first": start, "stride": stride, "texts": texts, "asked": asked}

    def _take(self, number: int) -> tuple[str, int]:
        """A body, and how many tokens it asks for."""
        made = self._made.pop(number, None)
        if made is not None:
            return made
        ask = self._asks(number)
        return body(self._endpoint, ask), tokens_asked(self._endpoint, ask)
