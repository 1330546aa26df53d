"""A sweep of batch sizes: which size comes next, when a plateau is confirmed, and which sizes may be the best one; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lmbench.base.errors import SubjectError
from lmbench.measure.phases import Rounds
from lmbench.measure.statistics import mean_interval

FLAT = 2
"""Sizes in a row that must gain little before the sweep ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One batch size of the sweep; `output_tokens` and `total_tokens` are those of one sequence."""

    batch: int
    output_tokens: int
    total_tokens: int
    rounds: Rounds
    """Of its first try."""
    samples_s: tuple[float, ...]
    """Of all tries."""
    decode_s: tuple[float, ...]
    peak_rss_bytes: int | None
    growth_bytes: int | None
    """Peak minus resident memory before the batch."""
    tries: int = 1

    @property
    def output_tokens_per_s(self) -> float:
        return self.batch * self.output_tokens * len(self.samples_s) / sum(self.samples_s)

    @property
    def total_tokens_per_s(self) -> float:
        return self.output_tokens_per_s * self.total_tokens / self.output_tokens

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of `output_tokens_per_s`; None with too few rounds."""
        found = mean_interval(self.samples_s)
        if found is None or found[0] <= 0:
            return None
        low_s, high_s = found
        tokens = self.batch * self.output_tokens
        return tokens / high_s, tokens / low_s

    def with_try(self, again: Point) -> Point:
        """Both tries of the size as one point."""
        peaks = [one for one in (self.peak_rss_bytes, again.peak_rss_bytes) if one is not None]
        return Point(
            batch=self.batch,
            output_tokens=self.output_tokens,
            total_tokens=self.total_tokens,
            rounds=self.rounds,
            samples_s=self.samples_s + again.samples_s,
            decode_s=self.decode_s + again.decode_s,
            peak_rss_bytes=max(peaks, default=None),
            growth_bytes=self.growth_bytes,
            tries=self.tries + again.tries,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The sizes that were measured, rising, and why there are no more."""

    points: tuple[Point, ...]
    stopped: str

    @property
    def best(self) -> Point:
        return max(self.points, key=lambda point: point.output_tokens_per_s)

    @property
    def candidates(self) -> tuple[int, ...]:
        """The sizes that cannot be told from the best one: their 95 % intervals overlap, or are not known."""
        best = self.best
        return tuple(point.batch for point in self.points if point is best or _overlap(point.interval, best.interval))


def sweep(sizes: Iterable[int], measure: Callable[[int], Point], *, min_gain: float, short: Callable[[Point, int], str]) -> Swept:
    """Measure rising sizes until a plateau is confirmed, memory is short, or there are no more.

    A size that gains less than `min_gain` over the best smaller one is measured again, as is the size before it: one slow
    moment of the machine looks alike. When it still gains little, one more size is tried, and the sweep ends only if that
    gains little too. What fails at the smallest size is raised.
    """
    points: list[Point] = []
    little: list[str] = []
    for batch in sizes:
        if points and (why := short(points[-1], batch)):
            return Swept(points=tuple(points), stopped=why)
        try:
            points.append(measure(batch))
            gain = _gain(points)
            if gain is not None and gain < min_gain and not little:
                points[-2:] = [point.with_try(measure(point.batch)) for point in points[-2:]]
                gain = _gain(points)
        except (MemoryError, SubjectError) as error:
            if not points:
                raise
            return Swept(points=tuple(points), stopped=f"batch {batch} failed: {type(error).__name__}: {error}")
        little = [*little, f"batch {batch} gained {gain:+.1%}"] if gain is not None and gain < min_gain else []
        if len(little) == FLAT:
            why = f"{' and '.join(little)}, less than min_gain ({min_gain:.1%}), the first of them measured twice"
            return Swept(points=tuple(points), stopped=why)
    unsure = f"; {little[0]}, and no larger batch was tried" if little else ""
    return Swept(points=tuple(points), stopped=f"max_batch ({points[-1].batch}) was reached{unsure}")


def _gain(points: list[Point]) -> float | None:
    """Of the last size over the best smaller one; None for the first."""
    if len(points) < 2:
        return None
    return points[-1].output_tokens_per_s / max(point.output_tokens_per_s for point in points[:-1]) - 1


def _overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    return one is None or other is None or (one[0] <= other[1] and other[0] <= one[1])
