"""Request bodies on their way to the client processes: made ahead, shipped in messages small enough not to be felt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from lmbench.load.http.endpoint import Ask, Endpoint, body

CHUNK, CHUNK_CHARS = 32, 1 << 16
"""Bodies in one message: reading it must not stop the client's loop for long."""
AHEAD = 128
"""Bodies made before a step begins, so that its first requests are not late."""


class Shelf:
    """Makes the bodies of requests; `asks(k)` depends on k alone."""

    def __init__(self, endpoint: Endpoint, asks: Callable[[int], Ask]) -> None:
        self._endpoint, self._asks = endpoint, asks
        self._made: dict[int, str] = {}

    def prepare(self, first: int) -> None:
        """Make the bodies from number `first` on, as far as AHEAD; fewer where the asks end before, which is no fault yet."""
        made: dict[int, str] = {}
        with contextlib.suppress(LookupError):
            for number in range(first, first + AHEAD):
                made[number] = self._take(number)
        self._made = made

    def messages(self, first: int, stride: int, count: int) -> Iterator[dict[str, Any]]:
        """Commands for a client process with the bodies `first`, `first + stride`, ..., `count` of them."""
        texts: list[str] = []
        start, size = first, 0
        for number in range(first, first + count * stride, stride):
            texts.append(self._take(number))
            size += len(texts[-1])
            if len(texts) == CHUNK or size >= CHUNK_CHARS:
                yield {"do": "bodies", "first": start, "stride": stride, "texts": texts}
                texts, start, size = [], number + stride, 0
        if texts:
            yield {"do": "bodies", "first": start, "stride": stride, "texts": texts}

    def _take(self, number: int) -> str:
        made = self._made.pop(number, None)
        return body(self._endpoint, self._asks(number)) if made is None else made
