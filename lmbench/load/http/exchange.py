"""What became of one request on the wire."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its reply. Moments in seconds on the run's clock; None where it did not come to that."""

    status: str
    """One of requests.ENDS."""
    sent_s: float
    """When the client took the request up."""
    started_s: float | None
    """When its bytes were handed to a connection; later than `sent_s` by what opening one took."""
    first_byte_s: float | None
    token_times_s: tuple[float, ...]
    """One moment per event that carried text; empty when not streamed."""
    finished_s: float
    """The last event of a complete reply, else the moment the request ended."""
    tokens: int
    """As the server counts them, else the events that carried text."""
    prompt_tokens: int | None
    completion_tokens_reported: int | None
    http_status: int | None
    connection_reused: bool
    reopened: bool
    """The kept connection turned out to be closed before any byte of a reply; the request was written again on a new one."""
    attempts: int
    loop_lag_s: float
    """The longest time by which the client's event loop was late while the request was open."""
    error: str
