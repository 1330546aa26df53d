"""The loop: pair after pair of what is undecided, within the budget, until the docket is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lmbench.base.units import duration
from lmbench.compare.paired import LOOKS, TOLERANCE
from lmbench.compare.verdicts import Verdict
from lmbench.measure.clock import CLOCK
from lmbench.paired.baserun import steady
from lmbench.paired.cost import Cost, affordable, updated
from lmbench.paired.docket import ROUND_UNIT, Docket, Entry
from lmbench.paired.numbers import BASE, HEAD, CasePair, Job
from lmbench.paired.pair import Say, Sides, run_pair
from lmbench.paired.runs import RUN_UNIT, run_both
from lmbench.run.execute import Setting

Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an adjudication is held."""

    budget_s: float | None = None
    tolerance: float = TOLERANCE
    seed: int = 0
    """Of start order and hash seeds; recorded, so that an order can be looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came of it."""

    verdicts: tuple[Verdict, ...]
    pairs_run: int
    wall_s: float
    interrupted: bool = False


class Adjudication:
    """Open from the first job to the last verdict; `run` may be interrupted and leaves verdicts on what was done."""

    def __init__(self, jobs: Sequence[tuple[Job, str]], sides: Sides, terms: Terms, *, cost: Cost, setting: Setting) -> None:
        self.docket = Docket(jobs, tolerance=terms.tolerance)
        self.sides = sides
        self.terms = terms
        self.cost = cost
        self.setting = setting
        self.rng = np.random.default_rng(terms.seed)
        self.pairs_run = 0
        self._visits: dict[str, list[float]] = {}
        self._starts: list[float] = []

    def run(self, say: Say, keep: Keep) -> Judgement:
        """Adjudicate. Every pair's numbers go to `keep` as plain JSON as they come."""
        started = CLOCK.now()
        interrupted = False
        try:
            self._stages(started, say, keep)
        except KeyboardInterrupt:
            interrupted = True
            self.docket.close("interrupted")
        return Judgement(
            verdicts=tuple(self.docket.verdicts()),
            pairs_run=self.pairs_run,
            wall_s=CLOCK.now() - started,
            interrupted=interrupted,
        )

    def _stages(self, started: float, say: Say, keep: Keep) -> None:
        chosen: tuple[str, ...] = ()
        for number in range(LOOKS[-1]):
            left_s = None if self.terms.budget_s is None else self.terms.budget_s - (CLOCK.now() - started)
            if number == 0 or number in LOOKS:
                chosen = self._choose(number, left_s)
            entries = [entry for entry in self.docket.open() if entry.job.node_id in chosen]
            if not entries or (left_s is not None and self.cost.pair_s([entry.job.node_id for entry in entries]) > left_s):
                break
            say(self._outlook(number, entries))
            self._pair(number, entries, say, keep)
        budget_s = self.terms.budget_s
        self.docket.close("no more pairs" if budget_s is None else f"the budget of {duration(budget_s)} is spent")

    def _choose(self, number: int, left_s: float | None) -> tuple[str, ...]:
        following = next(look for look in LOOKS if look > number)
        undecided = {entry.job.node_id: self.docket.uncertainty(entry) for entry in self.docket.open()}
        return affordable(undecided, self.cost, pairs=following - number, left_s=left_s)

    def _outlook(self, number: int, entries: Sequence[Entry]) -> str:
        following = next(look for look in LOOKS if look > number)
        rest = duration((following - number) * self.cost.pair_s([entry.job.node_id for entry in entries]))
        return f"pair {number + 1}, {len(entries)} cases: next look after pair {following}, in about {rest}"

    def _pair(self, number: int, entries: Sequence[Entry], say: Say, keep: Keep) -> None:
        begun = CLOCK.now()
        rounds = [entry.job for entry in entries if entry.unit == ROUND_UNIT]
        visits = 0.0
        for found in run_pair(self.sides, rounds, number, self.rng, say) if rounds else ():
            visits += found.wall_s
            self._take(number, found, keep)
        if rounds:
            self._starts.append(max(0.0, CLOCK.now() - begun - visits))
        for job in [entry.job for entry in entries if entry.unit == RUN_UNIT]:
            found, records = run_both(job, self.sides, self.setting, self.rng, say)
            if number == 0 and not found.failure:
                self.docket.note(steady(records[HEAD], [records[BASE]], kinds=("exact",)))
            self._take(number, found, keep)
        self.pairs_run += 1
        self.cost = updated(self.cost, self._visits, self._starts)

    def _take(self, number: int, found: CasePair, keep: Keep) -> None:
        if not found.failure:
            self._visits.setdefault(found.node_id, []).append(found.wall_s)
        self.docket.add(found)
        keep({"pair": number + 1, **asdict(found)})
