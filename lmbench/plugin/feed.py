"""Durations measured elsewhere, handed to pytest-benchmark through its public interface: a timer that replays them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


class RecordedTime:
    """A timer whose reading advances by the next recorded sample at each call of `advance`."""

    __name__ = "recorded_time"  # pytest-benchmark stores a timer by its name

    def __init__(self) -> None:
        self.reading = 0.0
        self.samples: Iterator[float] = iter(())

    def __call__(self) -> float:
        return self.reading

    def advance(self) -> None:
        self.reading += next(self.samples, 0.0)

    def replay(self, benchmark: Any, samples: Sequence[float]) -> None:
        """Give `samples` (seconds, in order) to the `benchmark` fixture as its rounds."""
        self.samples = iter(samples)
        benchmark.pedantic(self.advance, rounds=len(samples), iterations=1, warmup_rounds=0)
