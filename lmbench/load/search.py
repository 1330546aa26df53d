"""The search for the maximum sustainable rate: which rate to try next, and what the tries found; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmbench.load.attainment import effective_size, share_interval
from lmbench.load.shapes import ABORTED, BROKE, HELD, PROBE, UNRESOLVED, Passed, Step

RESOLVED, NO_KNEE, BELOW_START = "resolved", "no knee", "below start"
"""States of a search, besides unresolved. no knee: no rate broke; below start: none held, down to the lowest allowed."""
REPEAT = 3.0
"""A repeat lasts this many times as long as all before it at its rate."""
COARSE = 4
"""While the bracket is open (and rates differ by a factor of two) a probe needs only this part of the requests."""
RESOLUTION, REQUESTS, LEAST_REQUESTS = 0.05, 1000, 100
SPAN = 1024.0
"""Without bounds the search goes this factor above and below its first rate: ten doublings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Doubling until a probe breaks (halving until one holds), then bisection until the bracket is narrow enough.

    The bracket is [highest rate that held, lowest that broke]; `resolution` is its width over its lower end. It is halved on
    the log scale, on which that criterion is a fixed length: the number of probes is the same wherever the limit lies.

    A probe lasts `probe_s`, or longer where fewer than `min_requests` would be expected: unless they are given, 1,000 for a
    resolution of 5 % and others in proportion to 1 / resolution^2, as the error of a share falls with the root of its number
    (of 80 searches on M/D/1 and M/D/4 queues each, with 400 at 5 % the answer was up to 8.7 % off, with 1,000 at most 4.3 %).

    Rates whose attainment is too near to the target to tell are left, and the search closes in on them from both sides to
    half the resolution. Then they are repeated, each time three times as long as all before at that rate together (one long
    probe says more than many short ones, which all begin with an empty queue), at most `max_repeats` times. At the end both
    sides of the bracket are probed once more. Where the tries of a rate contradict each other the longest decides, and the
    contradiction is told.

    Each look at the evidence is at 95 %; a wrong one is likely only where the attainment is almost the target, that is near
    the limit, where it moves the answer least.

    Rates in requests/s, lengths in seconds. `max_total_s` counts from the first probe's start, drains included.
    """

    start_rate: float
    resolution: float = RESOLUTION
    probe_s: float = 10.0
    min_requests: int | None = None
    max_repeats: int = 3
    max_probes: int = 60
    max_total_s: float = 1800.0
    min_rate: float | None = None
    max_rate: float | None = None
    continuous: ClassVar[bool] = False

    def __post_init__(self) -> None:
        lengths = (self.start_rate, self.resolution, self.probe_s, self.max_total_s)
        if min(lengths) <= 0 or min(self.needed, self.max_probes) < 1 or self.max_repeats < 0:
            raise ValueError(f"found {self}; expected positive rates, lengths and counts")
        if not self.floor <= self.start_rate <= self.ceiling:
            raise ValueError(f"found start_rate {self.start_rate} outside [{self.floor}, {self.ceiling}] requests/s")

    @property
    def needed(self) -> int:
        """Requests of a probe at least."""
        if self.min_requests is not None:
            return self.min_requests
        return max(LEAST_REQUESTS, math.ceil(REQUESTS * (RESOLUTION / self.resolution) ** 2))

    @property
    def floor(self) -> float:
        return self.start_rate / SPAN if self.min_rate is None else self.min_rate

    @property
    def ceiling(self) -> float:
        return self.start_rate * SPAN if self.max_rate is None else self.max_rate

    def leaves_backlog(self, past: Sequence[Passed], step: Step) -> bool:
        """Never: each probe begins with an empty queue."""
        del past, step
        return False

    def next_step(self, past: Sequence[Passed], start_s: float) -> Step | None:
        """The next probe, or None when the rate is found, cannot be found, or a bound is reached."""
        begun = past[0].step.start_s if past else start_s
        probes = tally(past)
        rate = _wish(probes, self)
        if rate is None or len(past) >= self.max_probes:
            return None
        so_far = next((probe.duration_s for probe in probes if probe.rate == rate), 0.0)
        needed = self.needed if None not in _bracket(probes) else self.needed / COARSE
        duration = max(REPEAT * so_far, self.probe_s, needed / rate)
        if start_s + duration - begun > self.max_total_s:
            return None
        return Step(index=len(past), kind=PROBE, rate=rate, start_s=start_s, duration_s=duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """All tries of one rate, pooled. `attainment` and its 95 % interval are None for no requests."""

    rate: float
    state: str
    """held, broke, aborted (cut early because the service fell behind: counts as broken) or unresolved."""
    attainment: float | None
    low: float | None
    high: float | None
    requests: int
    tries: int
    duration_s: float
    margin: float
    """How far the attainment is from the target, in half widths of its interval; 1 and more is resolved."""
    both: bool = False
    """Whether one try held and another broke."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to. The limit lies in [low, high] requests/s; None where it is not bounded on that side."""

    rate: float | None
    """The highest rate that held below all that broke."""
    low: float | None
    high: float | None
    state: str
    reason: str
    probes: tuple[Probe, ...]
    """By rising rate."""
    violations: tuple[str, ...]
    """A higher rate held though a lower one broke (the interval spans both), or one rate did both."""


def tally(past: Iterable[Passed]) -> tuple[Probe, ...]:
    """The probes among `past`, pooled by rate, by rising rate."""
    by_rate: dict[float, list[Passed]] = {}
    for passed in past:
        if passed.step.kind == PROBE:
            by_rate.setdefault(passed.step.rate, []).append(passed)
    return tuple(_pooled(rate, by_rate[rate]) for rate in sorted(by_rate))


def found(past: Sequence[Passed], search: Search) -> Found:
    """What the probes of `past` say of the maximum sustainable rate."""
    probes = tally(past)
    low, high = _bracket(probes)
    state, reason = _conclusion(probes, search)
    return Found(rate=low, low=low, high=high, state=state, reason=reason, probes=probes, violations=_violations(probes))


def _pooled(rate: float, tries: Sequence[Passed]) -> Probe:
    """Shares are pooled over all requests, effective sizes by the variance each try showed (its part of the autocovariance)."""
    count = sum(passed.verdict.requests for passed in tries)
    share = sum(passed.verdict.good for passed in tries) / count if count else None
    low, high = (None, None) if share is None else share_interval(share, count / _correlation(tries))
    target = max(passed.verdict.target for passed in tries)
    state = UNRESOLVED
    if any(passed.cut for passed in tries):
        state = ABORTED
    elif low is not None and high is not None and (low >= target or high < target):
        state = HELD if low >= target else BROKE
    alone = [_pooled(rate, [passed]) for passed in tries] if len(tries) > 1 else []
    both = len({probe.state == HELD for probe in alone if probe.state != UNRESOLVED}) == 2
    return Probe(
        rate=rate,
        state=max(alone, key=lambda probe: probe.requests).state if both else state,
        attainment=share,
        low=low,
        high=high,
        requests=count,
        tries=len(tries),
        duration_s=sum(passed.step.duration_s for passed in tries),
        margin=0.0 if low is None or high is None or share is None else abs(share - target) / max((high - low) / 2, 1e-9),
        both=both,
    )


def _correlation(tries: Sequence[Passed]) -> float:
    """Requests per independent request, over all tries; a try whose requests all fared alike shows none."""
    shown, weights = 0.0, 0.0
    for verdict in (passed.verdict for passed in tries):
        if verdict.attainment is None or verdict.low is None or verdict.high is None:
            continue
        weight = verdict.requests * verdict.attainment * (1 - verdict.attainment)
        size = effective_size(verdict.attainment, verdict.low, verdict.high)
        shown, weights = shown + weight * verdict.requests / size, weights + weight
    return max(shown / weights, 1.0) if weights > 0 else 1.0


def _held(probes: Sequence[Probe]) -> list[float]:
    return [probe.rate for probe in probes if probe.state == HELD]


def _broke(probes: Sequence[Probe]) -> list[float]:
    return [probe.rate for probe in probes if probe.state in (BROKE, ABORTED)]


def _bracket(probes: Sequence[Probe]) -> tuple[float | None, float | None]:
    """Highest rate that held below all that broke, lowest that broke above all that held."""
    held, broke = _held(probes), _broke(probes)
    low = max((rate for rate in held if rate < min(broke, default=math.inf)), default=None)
    high = min((rate for rate in broke if rate > max(held, default=0.0)), default=None)
    return low, high


def _wish(probes: Sequence[Probe], search: Search) -> float | None:
    """The rate to try next, bounds on the number of probes and the time apart; None when nothing is left to try."""
    if not probes:
        return search.start_rate
    low, high = _bracket(probes)
    rates = [probe.rate for probe in probes]
    if high is None and max(rates) < search.ceiling:
        return min(max(rates) * 2, search.ceiling)
    lowest = probes[0]
    if low is None and lowest.rate > search.floor and not (lowest.state == UNRESOLVED and lowest.tries <= search.max_repeats):
        return max(min(rates) / 2, search.floor)
    if low is None or high is None:
        return _easiest(probes, search)
    if high / low - 1 <= search.resolution:
        return next((probe.rate for probe in probes if probe.rate in (low, high) and probe.tries < 2), None)
    between = [probe for probe in probes if low < probe.rate < high]
    gaps = [(low, between[0].rate), (between[-1].rate, high)] if between else [(low, high)]
    return _middle(gaps, search.resolution / 2) or _easiest(between, search) or _middle(gaps, search.resolution / 8)


def _middle(gaps: Sequence[tuple[float, float]], narrow: float) -> float | None:
    """The middle of the widest gap (lower, upper rate), None when it is relatively no wider than `narrow`."""
    bottom, top = max(gaps, key=lambda gap: gap[1] / gap[0])
    return None if top / bottom - 1 <= narrow else math.sqrt(bottom * top)


def _easiest(probes: Sequence[Probe], search: Search) -> float | None:
    """The unresolved rate that needs least to be resolved: of the fewest tries the one farthest from the target."""
    open_ones = [probe for probe in probes if probe.state == UNRESOLVED and probe.tries <= search.max_repeats]
    return min(open_ones, key=lambda probe: (probe.tries, -probe.margin)).rate if open_ones else None


def _conclusion(probes: Sequence[Probe], search: Search) -> tuple[str, str]:
    low, high = _bracket(probes)
    stopped = "" if _wish(probes, search) is None else f"; the search stopped at its bounds after {_effort(probes)}"
    if not probes:
        return UNRESOLVED, "no probe was run"
    if low is not None and high is not None:
        if not stopped and high / low - 1 <= search.resolution:
            return RESOLVED, f"{low:.4g} requests/s held, {high:.4g} requests/s broke the SLO"
        why = stopped or f"; the probes between are too short to tell ({_unsure(probes)})"
        return UNRESOLVED, f"{low:.4g} requests/s held, {high:.4g} requests/s broke the SLO, {high / low - 1:.0%} apart{why}"
    if low is not None and not _broke(probes):
        return NO_KNEE, f"the SLO never broke: at least {low:.4g} requests/s{stopped or '; raise max_rate to find the limit'}"
    if high is not None and len(_broke(probes)) == len(probes):
        return BELOW_START, f"every rate broke the SLO, down to {high:.4g} requests/s{stopped or '; loosen it or lower min_rate'}"
    return UNRESOLVED, f"no rate was found that held below one that broke ({_unsure(probes)}){stopped}; lengthen the probes"


def _effort(probes: Sequence[Probe]) -> str:
    return f"{sum(probe.tries for probe in probes)} probes of {sum(probe.duration_s for probe in probes):.4g} s in all"


def _unsure(probes: Sequence[Probe]) -> str:
    parts = [
        f"{probe.rate:.4g} requests/s: {probe.attainment:.1%} of {probe.requests} good, {probe.low:.1%} to {probe.high:.1%}"
        for probe in probes
        if probe.state == UNRESOLVED and probe.attainment is not None
    ]
    return "; ".join(parts) or "no requests"


def _violations(probes: Sequence[Probe]) -> tuple[str, ...]:
    lowest = min(_broke(probes), default=math.inf)
    above = [rate for rate in _held(probes) if rate > lowest]
    twice = (f"{probe.rate:.4g} requests/s both held and broke; its longest probe decides" for probe in probes if probe.both)
    crossed = (f"{rate:.4g} requests/s held though {lowest:.4g} requests/s broke; the interval spans both" for rate in above)
    return (*twice, *crossed)
