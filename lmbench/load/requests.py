"""The life of a request: when it was due, sent, started, answered and finished, or why it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PENDING, COMPLETED, FAILED, REJECTED = "pending", "completed", "failed", "rejected"


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
    first_token_s: float | None = None
    finished_s: float | None = None
    tokens: int = 0
    error: str = ""

    @property
    def ttft_s(self) -> float | None:
        """First token minus *scheduled* send time, so that a late client or a full queue cannot hide."""
        return None if self.first_token_s is None else self.first_token_s - self.request.scheduled_s

    @property
    def latency_s(self) -> float | None:
        """Last token minus *scheduled* send time: what a user who came at that moment waited."""
        return self.finished_s - self.request.scheduled_s if self._done() and self.finished_s is not None else None

    @property
    def service_s(self) -> float | None:
        """Last token minus start of service: what a benchmark that ignores queueing would report."""
        if not self._done() or self.finished_s is None or self.started_s is None:
            return None
        return self.finished_s - self.started_s

    @property
    def queue_delay_s(self) -> float | None:
        """Start of service minus send time."""
        return None if self.started_s is None else self.started_s - self.request.sent_s

    @property
    def tpot_s(self) -> float | None:
        """(last token - first token) / (tokens - 1); None for fewer than two tokens."""
        if not self._done() or self.tokens < 2 or self.finished_s is None or self.first_token_s is None:
            return None
        return (self.finished_s - self.first_token_s) / (self.tokens - 1)

    def _done(self) -> bool:
        return self.status == COMPLETED


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Where every request went; sent = completed + failed + rejected, or the run has lost one."""

    sent: int
    completed: int
    failed: int
    rejected: int

    def __post_init__(self) -> None:
        if self.sent != self.completed + self.failed + self.rejected:
            raise ValueError(f"found {self}; expected sent = completed + failed + rejected; a request was lost or is pending")


def accounts(logs: Sequence[RequestLog]) -> Accounts:
    """Count the outcomes of finished requests; raises ValueError while one is pending."""
    count = {status: sum(log.status == status for log in logs) for status in (COMPLETED, FAILED, REJECTED)}
    return Accounts(sent=len(logs), completed=count[COMPLETED], failed=count[FAILED], rejected=count[REJECTED])
