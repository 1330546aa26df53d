"""A load run that has ended, and the rate it sustained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lmbench.load.plans import Campaign
from lmbench.load.ramp import Rung, rungs
from lmbench.load.search import RESOLVED, Search, found
from lmbench.load.shapes import ABORTED, BROKE, HELD, RAMP, RECOVERY, SPIKE, UNRESOLVED, Shape
from lmbench.load.slo import max_sustainable
from lmbench.load.steps import StepSummary
from lmbench.suite.params import Slo
from lmbench.workloads.serving import Observed, Unloaded

NOT_LOOKED_FOR, NOT_REACHED, CLIENT = "not looked for", "not reached", "client"
"""States of a limit, besides those of a search. client: the client broke first."""
NOT_SOUGHT = "this shape does not look for a limit; use a ramp or a search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The highest rate that kept the SLO, in requests/s, or why there is none; `step` is where it was seen."""

    rate: float | None
    step: int | None
    state: str
    reason: str
    low: float | None = None
    high: float | None = None
    violations: tuple[str, ...] = ()

    @property
    def shown(self) -> float | None:
        """The rate as a metric: not when the client broke first, which says nothing of the service."""
        return None if self.state == CLIENT else self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A load run that has ended, and what it was judged by. Times in seconds."""

    campaign: Campaign
    steps: tuple[StepSummary, ...]
    slo: Slo
    shape: Shape
    workers: int | None
    started_s: float
    unloaded: Unloaded
    observed: Observed
    asked: Callable[[int], int]
    """Output tokens that a request asked for, by its number."""

    @property
    def rising(self) -> tuple[StepSummary, ...]:
        """The steps that try rates, recovery and interrupted ones left out."""
        tried = {run.step.index for run in self.campaign.rising}
        return tuple(step for step in self.steps if step.run.step.index in tried)

    @property
    def shown(self) -> StepSummary:
        """The step at the limit; without one the longest step that is no spike, or the first of a ramp that never held."""
        place = limit(self).step
        if place is not None:
            return next(step for step in self.steps if step.run.step.index == place)
        if self.steps[0].run.step.kind == RAMP:
            return self.steps[0]
        calm = [step for step in self.rising if step.run.step.kind != SPIKE] or list(self.steps)
        return max(calm, key=lambda step: len(step.logs))

    @property
    def top(self) -> StepSummary:
        return top_step(self.steps)

    @property
    def deepest(self) -> int | None:
        depths = [step.run.sent.queue_depth_max for step in self.steps]
        return max((depth for depth in depths if depth is not None), default=None)


def limit(outcome: Outcome) -> Limit:
    """The maximum sustainable rate: of a search its own answer, of rising steps the highest that held before one broke.

    Where the client was in the way at the rate that broke, the service may hold it: the limit is not known.
    """
    top = _of_search(outcome, outcome.shape) if isinstance(outcome.shape, Search) else _of_ramp(outcome)
    broke = [step.run.step.index for step in outcome.rising if step.run.step.mean_rate == top.high]
    if any(index in outcome.observed.invalid for index in broke):
        least = "nothing" if top.rate is None else f"{top.rate:.4g} requests/s"
        reason = f"the client was in the way at {top.high:.4g} requests/s, so the service's limit is not known; {least} held"
        return replace(top, state=CLIENT, reason=reason, high=None)
    return top


def top_step(steps: Sequence[StepSummary]) -> StepSummary:
    """The last step of the highest rate that was tried, recovery left out: of a ramp one that broke, where the rate did."""
    tried = [step for step in steps if step.run.step.kind != RECOVERY and not step.run.interrupted] or list(steps)
    return max(tried, key=lambda step: (step.run.step.mean_rate or step.achieved_rate, step.run.step.index))


def _of_search(outcome: Outcome, search: Search) -> Limit:
    answer = found([step.run.passed for step in outcome.rising], search)
    held = [
        step.run.step.index
        for step in outcome.rising
        if step.run.step.rate == answer.rate and step.run.passed.state in (HELD, UNRESOLVED)
    ]
    return Limit(
        rate=answer.rate,
        step=held[-1] if held else None,
        state=answer.state,
        reason=answer.reason,
        low=answer.low,
        high=answer.high,
        violations=answer.violations,
    )


def _of_ramp(outcome: Outcome) -> Limit:
    ladder = rungs(step.run.passed for step in outcome.rising)
    if not ladder:
        return Limit(rate=None, step=None, state=NOT_LOOKED_FOR, reason=NOT_SOUGHT)
    top = max_sustainable([(rung.rate, rung.held) for rung in ladder])
    held = None if top.step is None else ladder[top.step]
    place = 0 if top.step is None else top.step + 1
    broke = ladder[place] if place < len(ladder) else None
    state, reason = NOT_REACHED, top.reason
    if broke is not None:
        state = RESOLVED if _is_sure(broke) else UNRESOLVED
        count = sum(one.verdict.requests for one in broke.tries)
        reason += "" if state == RESOLVED else f", but {count} requests cannot tell whether that was chance: use longer steps"
    return Limit(
        rate=top.rate,
        step=None if held is None else [one for one in held.tries if one.met][-1].step.index,
        state=state,
        reason=reason,
        low=top.rate,
        high=None if broke is None else broke.rate,
        violations=tuple(_contradiction(rung) for rung in ladder if rung.both),
    )


def _is_sure(broke: Rung) -> bool:
    """Whether a rate broke beyond chance: in one try by its own requests, or in most of several tries."""
    return any(one.state in (BROKE, ABORTED) for one in broke.tries) or (broke.broke and broke.sure)


def _contradiction(rung: Rung) -> str:
    held = sum(one.met for one in rung.tries)
    return f"{rung.rate:.4g} requests/s held in {held} of {len(rung.tries)} tries; the majority decides"
