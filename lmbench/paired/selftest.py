"""The gate tried on itself: the same code on both sides, once untouched and once per injected slowdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from lmbench.compare.cells import count_cells, deciding
from lmbench.compare.paired import LOOKS, visible
from lmbench.compare.verdicts import REGRESSED, Verdict
from lmbench.paired.adjudicate import Adjudication, Judgement, Terms
from lmbench.paired.cost import Cost
from lmbench.paired.docket import ROUND_UNIT
from lmbench.paired.numbers import Job
from lmbench.paired.pair import Say, Sides
from lmbench.run.execute import Setting

UNTOUCHED = 1.0
GUESS_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All cases under one injected factor (1: untouched)."""

    factor: float
    verdicts: tuple[Verdict, ...]
    """On the deciding metrics, and on cases that could not be measured."""
    pairs_run: int
    wall_s: float

    @property
    def judged(self) -> bool:
        """Whether at least one metric had pairs enough for an interval."""
        return any(one.evidence is not None and one.evidence.low is not None for one in self.verdicts)

    def count(self, outcome: str) -> int:
        return sum(one.outcome == outcome for one in self.verdicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What pairs of one case see on this machine today: relative slowdown by number of pairs."""

    node_id: str
    metric: str
    visible: Mapping[int, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """The outcome: one sweep per factor, the untouched one first."""

    sweeps: tuple[Sweep, ...]
    resolutions: tuple[Resolution, ...]
    cells: int
    interrupted: bool = False
    """Ended before the last sweep was over."""

    @property
    def false_alarms(self) -> int:
        return self.sweeps[0].count(REGRESSED)

    @property
    def pair_s(self) -> float | None:
        """Seconds of one pair of all cases; None when none was run."""
        pairs = sum(sweep.pairs_run for sweep in self.sweeps)
        return sum(sweep.wall_s for sweep in self.sweeps) / pairs if pairs else None

    def typical(self, pairs: int) -> float | None:
        """The median case's resolution after `pairs` pairs; a case that sees nothing counts as the worst."""
        found = [math.inf if (value := one.visible[pairs]) is None else value for one in self.resolutions]
        middle = median(found) if found else math.inf
        return middle if math.isfinite(middle) else None


def selftest(
    jobs: Sequence[Job], sides: Sides, *, factors: Sequence[float], terms: Terms, setting: Setting, say: Say
) -> SelfTest:
    """Adjudicate `jobs` untouched and under each of `factors`; both sides are the same code, the head does more calls.

    What was found before an interruption is returned.
    """
    sweeps: list[Sweep] = []
    interrupted = False
    for factor in (UNTOUCHED, *factors):
        inject = "" if factor == UNTOUCHED else ",".join(f"{job.node_id}:{factor}" for job in jobs)
        prefix = "untouched" if factor == UNTOUCHED else f"{factor - 1:+.0%}"
        held = _hold(jobs, replace(sides, inject=inject), terms, setting, lambda text, prefix=prefix: say(f"{prefix}: {text}"))  # type: ignore[misc]
        sweeps.append(_sweep(factor, jobs, held))
        if interrupted := held.interrupted:
            break
    cells = count_cells(job.case for job in jobs)
    return SelfTest(sweeps=tuple(sweeps), resolutions=tuple(_resolutions(sweeps[0], cells)), cells=cells, interrupted=interrupted)


def _hold(jobs: Sequence[Job], sides: Sides, terms: Terms, setting: Setting, say: Callable[[str], None]) -> Judgement:
    cost = Cost(start_s=GUESS_S, cases={job.node_id: GUESS_S for job in jobs})
    return Adjudication([(job, ROUND_UNIT) for job in jobs], sides, terms, cost=cost, setting=setting).run(say, _forget)


def _sweep(factor: float, jobs: Sequence[Job], held: Judgement) -> Sweep:
    names = {job.node_id: deciding(job.case) for job in jobs}
    decisive = tuple(one for one in held.verdicts if one.metric is None or one.metric in names[one.node_id])
    return Sweep(factor=factor, verdicts=decisive, pairs_run=held.pairs_run, wall_s=held.wall_s)


def _resolutions(untouched: Sweep, cells: int) -> list[Resolution]:
    return [
        Resolution(
            node_id=one.node_id,
            metric=one.metric or "",
            visible={pairs: visible(one.evidence.log_ratios, pairs, cells=cells) for pairs in LOOKS},
        )
        for one in untouched.verdicts
        if one.evidence is not None
    ]


def _forget(_: dict[str, Any]) -> None:
    """Nothing of a self-test is kept."""
