"""The life of a request: when it was due, sent, started, answered and finished, or why it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

PENDING = "pending"
COMPLETED, FAILED, REJECTED, TIMED_OUT, CANCELLED = "completed", "failed", "rejected", "timed_out", "cancelled"
ENDS = (COMPLETED, FAILED, REJECTED, TIMED_OUT, CANCELLED)
"""How a request can end. failed: an error of the service; rejected: its queue was full; timed_out: the client gave up after
the request's time-out; cancelled: the client ended it because the run was over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the driver hands it over; all moments in seconds on the run's clock."""

    index: int
    step: int
    scheduled_s: float
    sent_s: float

    @property
    def sender_lag_s(self) -> float:
        """How late the client itself was."""
        return self.sent_s - self.scheduled_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLog:
    """What became of a request. Moments in seconds on the run's clock; None where it did not come to that."""

    request: Request
    status: str = PENDING
    started_s: float | None = None
    """Start of service; of an endpoint, whose queue cannot be seen, the moment the request was written."""
    first_byte_s: float | None = None
    """First byte of an endpoint's answer."""
    first_token_s: float | None = None
    token_times_s: tuple[float, ...] = ()
    """When each token was there; several tokens of one network packet share a moment. Empty when not streamed."""
    finished_s: float | None = None
    tokens: int = 0
    prompt_tokens: int | None = None
    loop_lag_s: float | None = None
    """The longest time by which the client's own event loop was late while the request was open."""
    error: str = ""

    @property
    def ttft_s(self) -> float | None:
        """First token minus *scheduled* send time, so that a late client or a full queue cannot hide."""
        return None if self.first_token_s is None else self.first_token_s - self.request.scheduled_s

    @property
    def latency_s(self) -> float | None:
        """Last token minus *scheduled* send time: what a user who came at that moment waited."""
        return self.finished_s - self.request.scheduled_s if self.completed and self.finished_s is not None else None

    @property
    def service_s(self) -> float | None:
        """Last token minus start of service: what a benchmark that ignores queueing would report."""
        if not self.completed or self.finished_s is None or self.started_s is None:
            return None
        return self.finished_s - self.started_s

    @property
    def queue_delay_s(self) -> float | None:
        """Start of service minus send time."""
        return None if self.started_s is None else self.started_s - self.request.sent_s

    @property
    def tpot_s(self) -> float | None:
        """(last token - first token) / (tokens - 1); None for fewer than two tokens, and where their times are not known:
        not streamed, or all of them in one packet, as a proxy that buffers makes it."""
        last = self.token_times_s[-1] if self.token_times_s else self.finished_s
        if not self.completed or self.tokens < 2 or last is None or self.first_token_s is None:
            return None
        if self.token_times_s and last == self.first_token_s:
            return None
        return (last - self.first_token_s) / (self.tokens - 1)

    @property
    def gaps_s(self) -> tuple[float, ...]:
        """The times between neighbouring tokens."""
        return tuple(after - before for before, after in pairwise(self.token_times_s))

    @property
    def completed(self) -> bool:
        return self.status == COMPLETED


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Where every request went: the ends add up to `sent`, or the run has lost one."""

    sent: int
    completed: int = 0
    failed: int = 0
    rejected: int = 0
    timed_out: int = 0
    cancelled: int = 0

    def __post_init__(self) -> None:
        if self.sent != sum(getattr(self, end) for end in ENDS):
            ends = " + ".join(field.name for field in fields(self) if field.name != "sent")
            raise ValueError(f"found {self}; expected sent = {ends}; a request was lost or is pending")

    @property
    def bad(self) -> int:
        """Requests that ended in any way but completed."""
        return self.sent - self.completed


def accounts(logs: Sequence[RequestLog]) -> Accounts:
    """Count the outcomes of finished requests; raises ValueError while one is pending."""
    return Accounts(sent=len(logs), **{end: sum(log.status == end for log in logs) for end in ENDS})
