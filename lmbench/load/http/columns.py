"""Requests on their way from a client process to its parent: columns of float64 as base64, exact and cheap to write.

Ten thousand requests of sixteen tokens a second are 160 000 moments; as JSON numbers they would stop the client's loop for
tens of milliseconds at every pulse.
"""

from __future__ import annotations

import math
from array import array
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmbench.load.http.exchange import Exchange
from lmbench.load.requests import ENDS, Request, RequestLog

TAKEN = ("index", "step", "scheduled_s", "sent_s")
ENDED = (*TAKEN, "started_s", "first_byte_s", "finished_s", "loop_lag_s", "status", "tokens", "prompt_tokens", "streamed")
"""`status` is a place in requests.ENDS, `streamed` the number of moments in `token_times_s`; NaN stands for None."""
NONE = math.nan


def pack(numbers: Sequence[float]) -> str:
    """Little-endian float64 (as on every machine lmbench runs on) in base64."""
    return b64encode(array("d", numbers)).decode("ascii")


def unpack(text: str) -> array[float]:
    """The numbers of `pack`."""
    found = array("d")
    found.frombytes(a2b_base64(text))
    return found


class Outbox:
    """What a client process has to tell: requests taken up and requests ended since the last pulse."""

    def __init__(self) -> None:
        self._clear()

    def __bool__(self) -> bool:
        return bool(self._taken[0] or self._ended[0])

    def took(self, request: Request) -> None:
        row = (request.index, request.step, request.scheduled_s, request.sent_s)
        for column, value in zip(self._taken, row, strict=True):
            column.append(value)

    def ended(self, request: Request, exchange: Exchange) -> None:
        times = exchange.token_times_s
        row = (
            *(request.index, request.step, request.scheduled_s, request.sent_s),
            NONE if exchange.started_s is None else exchange.started_s,
            NONE if exchange.first_byte_s is None else exchange.first_byte_s,
            *(exchange.finished_s, exchange.loop_lag_s, ENDS.index(exchange.status), exchange.tokens),
            NONE if exchange.prompt_tokens is None else exchange.prompt_tokens,
            len(times),
        )
        if exchange.error:
            self._errors[len(self._ended[0])] = exchange.error
        for column, value in zip(self._ended, row, strict=True):
            column.append(value)
        self._times.extend(times)

    def take(self) -> dict[str, Any]:
        """Everything since the last call, fit for JSON."""
        found = {
            "taken": {name: pack(column) for name, column in zip(TAKEN, self._taken, strict=True)},
            "ended": {name: pack(column) for name, column in zip(ENDED, self._ended, strict=True)},
            "token_times_s": pack(self._times),
            "errors": self._errors,
        }
        self._clear()
        return found

    def _clear(self) -> None:
        self._taken = [array("d") for _ in TAKEN]
        self._ended = [array("d") for _ in ENDED]
        self._times = array("d")
        self._errors: dict[int, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What `Outbox.take` gave, on the other side."""

    taken: Mapping[str, array[float]]
    ended: Mapping[str, array[float]]
    token_times_s: array[float]
    errors: Mapping[int, str]

    def requests(self) -> Iterator[Request]:
        """The requests taken up."""
        for row in zip(*(self.taken[name] for name in TAKEN), strict=True):
            yield _request(row)

    def logs(self) -> Iterator[RequestLog]:
        """The requests ended."""
        begin = 0
        for place, row in enumerate(zip(*(self.ended[name] for name in ENDED), strict=True)):
            started, first_byte, finished, lag, status, tokens, prompt_tokens, streamed = row[len(TAKEN) :]
            times = tuple(self.token_times_s[begin : begin + int(streamed)])
            begin += int(streamed)
            yield RequestLog(
                request=_request(row),
                status=ENDS[int(status)],
                started_s=_known(started),
                first_byte_s=_known(first_byte),
                first_token_s=times[0] if times else None,
                token_times_s=times,
                finished_s=finished,
                tokens=int(tokens),
                prompt_tokens=None if math.isnan(prompt_tokens) else int(prompt_tokens),
                loop_lag_s=lag,
                error=self.errors.get(place, ""),
            )


def batch(found: Mapping[str, Any]) -> Batch:
    """Read what `Outbox.take` gave."""
    return Batch(
        taken={name: unpack(found["taken"][name]) for name in TAKEN},
        ended={name: unpack(found["ended"][name]) for name in ENDED},
        token_times_s=unpack(found["token_times_s"]),
        errors={int(place): str(text) for place, text in found["errors"].items()},
    )


def _request(row: tuple[float, ...]) -> Request:
    index, step, scheduled, sent = row[: len(TAKEN)]
    return Request(index=int(index), step=int(step), scheduled_s=scheduled, sent_s=sent)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
