"""A step as it is sent by several processes: who sends which numbers, and what has come of it so far; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from lmbench.load.http.columns import Batch, pack
from lmbench.load.requests import COMPLETED, ENDS, Request
from lmbench.load.shapes import Step


@dataclass(slots=True, kw_only=True)
class Course:
    """A step that is being sent: process p sends the numbers `first + p + k * stride`."""

    step: Step
    first: int
    stride: int
    schedule: Sequence[float]
    shipped: list[int]
    """Bodies sent to each process so far."""
    ended: int = 0
    latencies_s: list[float] = field(default_factory=list)
    """Of what completed since the last look."""

    def part(self, process: int, seed: int) -> dict[str, Any]:
        """What a process is to carry out: a session.Part, fit for JSON."""
        step = self.step
        return {
            "step": step.index,
            "start_s": step.start_s,
            "end_s": step.end_s,
            "first": self.first + process,
            "stride": self.stride,
            "moments": pack([step.start_s + float(offset) for offset in self.share(process)]),
            "streams": 0 if step.streams is None else len(range(process, step.streams, self.stride)),
            "think_s": step.think_s,
            "seed": (seed, step.index, process),
        }

    def share(self, process: int) -> Sequence[float]:
        """The offsets that are a process's to send; none of a closed loop."""
        return self.schedule[process :: self.stride]

    def left(self, process: int, count: int) -> int:
        """How many bodies, `count` at most, a process may still need."""
        return count if self.step.streams is not None else min(count, len(self.share(process)) - self.shipped[process])

    def note(self, found: Batch) -> None:
        """Count what a pulse told."""
        completed = ENDS.index(COMPLETED)
        ended = found.ended
        self.ended += sum(step == self.step.index for step in ended["step"])
        rows = zip(ended["status"], ended["finished_s"], ended["scheduled_s"], strict=True)
        self.latencies_s += [finished - scheduled for status, finished, scheduled in rows if status == completed]

    def take_latency(self) -> float | None:
        """Median latency of what completed since the last look; None when nothing did."""
        found, self.latencies_s = self.latencies_s, []
        return median(found) if found else None

    def due(self, process: int, now: float) -> list[Request]:
        """What a process should have sent by `now`, as if it had been on time."""
        numbers = range(self.first + process, self.first + len(self.schedule), self.stride)
        moments = [self.step.start_s + float(offset) for offset in self.share(process)]
        return [
            Request(index=index, step=self.step.index, scheduled_s=moment, sent_s=moment)
            for index, moment in zip(numbers, moments, strict=True)
            if moment <= now
        ]
