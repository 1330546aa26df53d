"""Where requests go: the seam (Target), a look at a step while it is sent, and what its sending came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lmbench.load.requests import RequestLog
from lmbench.load.shapes import Step

PULSE_S = 0.25
"""How often a step that is being sent is looked at."""
PAUSE_S = 0.05
"""In a closed loop a stream rests this long after a request that did not complete: a dead service must not be asked in a tight
loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """A look at a step while it is sent: totals since the step began, and what is open now."""

    now_s: float
    sent: int
    ended: int
    in_flight: int
    """Sent and not ended, requests of earlier steps included."""
    latency_s: float | None = None
    """Median latency of what completed since the last look; None when nothing did."""


Watch = Callable[[Pulse], str]
"""Called about every PULSE_S while a step is sent; returns why to end it now, or an empty string to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of a step's schedule. `offered` requests were due, `sent` of them left; fewer when it was cut."""

    offered: int
    sent: int
    queue_depth_max: int | None
    """None where the queue cannot be seen."""
    queue_depth_end: int | None
    cut: str = ""
    cut_s: float | None = None
    """When it was cut; None when it was not."""


class Target(Protocol):
    """Something that takes requests without making the sender wait."""

    @property
    def lead_s(self) -> float:
        """How long before its start a step must be handed over."""

    def send(self, schedule: Sequence[float], step: Step, *, first_index: int, watch: Watch) -> Sent:
        """Send one request at `step.start_s` + each of `schedule` (sorted), numbered from `first_index` on.

        Returns at the end of the step, or when `watch` cuts it: the rest of the schedule is then not sent. Of a step with
        `streams` the schedule is empty; the target itself sends as answers come.
        """

    def settle(self, until: float) -> bool:
        """Wait, no longer than `until`, for everything sent to end; True when it has."""

    def logs(self) -> tuple[RequestLog, ...]:
        """Every request sent so far, in order of index."""

    def take_fresh(self) -> list[RequestLog]:
        """Requests that ended since the last call, for whoever writes them down; cheap however many ended before."""

    def close(self) -> None:
        """End what is open (it becomes cancelled); afterwards nothing is pending."""


def no_watch(_: Pulse) -> str:
    """Lets every step run to its end."""
    return ""
