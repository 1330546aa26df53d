"""The open loop: every request leaves at its scheduled moment, whatever became of the ones before it."""

from __future__ import annotations

from collections.abc import Sequence

from lmbench.load.requests import Request
from lmbench.load.shapes import Step
from lmbench.load.targets import Target
from lmbench.measure.clock import Clock


def send(offsets: Sequence[float], step: Step, target: Target, clock: Clock, *, first_index: int) -> int:
    """Send one request at `step.start_s` + each of `offsets` (sorted); returns the greatest queue depth seen.

    The driver sleeps in the kernel until each moment and never waits for a completion (coordinated omission:
    G. Tene, "How NOT to Measure Latency", 2013). A request whose moment has passed leaves at once, and its lag
    stays visible as `Request.sender_lag_s`. Returns at the end of the step.
    """
    deepest = 0
    for number, offset in enumerate(offsets):
        scheduled = step.start_s + float(offset)
        clock.sleep_until(scheduled)
        target.submit(Request(index=first_index + number, step=step.index, scheduled_s=scheduled, sent_s=clock.now()))
        deepest = max(deepest, target.queue_depth)
    clock.sleep_until(step.end_s)
    return deepest
