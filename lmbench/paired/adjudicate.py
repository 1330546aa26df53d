"""The loop: pair after pair of what is undecided, within the budget, until the docket is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lmbench.base.units import duration
from lmbench.compare.paired import LOOKS, TOLERANCE
from lmbench.compare.verdicts import Verdict
from lmbench.measure.clock import CLOCK
from lmbench.measure.contention import CONTENDED
from lmbench.measure.probes.pressure import Waiting
from lmbench.paired.baserun import steady
from lmbench.paired.cost import Cost, affordable, updated
from lmbench.paired.docket import ROUND_UNIT, Docket, Entry
from lmbench.paired.numbers import BASE, HEAD, CasePair, Job
from lmbench.paired.pair import Say, Sides, run_pair
from lmbench.paired.runs import RUN_UNIT, run_both
from lmbench.paired.starved import starved_run
from lmbench.run.execute import Setting

Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How an adjudication is held."""

    budget_s: float | None = None
    tolerance: float = TOLERANCE
    seed: int = 0
    """Of start order and hash seeds; recorded, so that an order can be looked at again."""
    contention: float = CONTENDED
    """From which contention of a side on a pair of whole runs has no times and rates: see measure/contention.py."""


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
        self._waiting = Waiting(CLOCK)

    def run(self, say: Say, keep: Keep) -> Judgement:
        """Adjudicate. Every pair's numbers go to `keep` as plain JSON as they come."""
        started = CLOCK.now()
        interrupted = False
        try:
            self._stages(started, say, keep)
        except KeyboardInterrupt:
            interrupted = True
            self.docket.close(lambda _: "interrupted")
        finally:
            self._waiting.close()
        return Judgement(
            verdicts=tuple(self.docket.verdicts()),
            pairs_run=self.pairs_run,
            wall_s=CLOCK.now() - started,
            interrupted=interrupted,
        )

    def _stages(self, started: float, say: Say, keep: Keep) -> None:
        entries = self.docket.open()
        for number in range(LOOKS[-1]):
            left_s = None if self.terms.budget_s is None else self.terms.budget_s - (CLOCK.now() - started)
            entries = self._chosen(number, left_s, entries)
            if not entries:
                break
            say(self._outlook(number, entries))
            self._pair(number, entries, say, keep)
        self.docket.close(self._why_no_more)

    def _chosen(self, number: int, left_s: float | None, before: Sequence[Entry]) -> list[Entry]:
        """The undecided cases whose pairs up to the next look fit into the time left.

        Before the first pair the costs are guesses: where no case seems to fit, one pair of as many as
        possible measures them. Between looks cases may only drop out, so that the others reach theirs.
        """
        following = next(look for look in LOOKS if look > number)
        candidates = self.docket.open()
        if number > 1 and number not in LOOKS:
            candidates = [entry for entry in before if not entry.closed]
        undecided = {entry.job.node_id: self.docket.uncertainty(entry) for entry in candidates}
        names = affordable(undecided, self.cost, pairs=following - number, left_s=left_s)
        if not names and number == 0:
            names = affordable(undecided, self.cost, pairs=1, left_s=left_s)
        return [entry for entry in candidates if entry.job.node_id in names]

    def _why_no_more(self, entry: Entry) -> str:
        if self.terms.budget_s is None:
            return "no more pairs"
        left = entry.following_look - len(entry.pairs)
        cost = duration(left * self.cost.pair_s([entry.job.node_id]))
        budget = f"the budget of {duration(self.terms.budget_s)}"
        if not entry.pairs:
            return f"{budget} does not cover the {left} pairs of a first look, which take about {cost}"
        return f"{budget} ended after {len(entry.pairs)} of {entry.following_look} pairs; the other {left} take about {cost}"

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
            self._take(number, replace(found, starved=starved_run(records, self.terms.contention)), keep)
        self.pairs_run += 1
        self.cost = updated(self.cost, self._visits, self._starts)

    def _take(self, number: int, found: CasePair, keep: Keep) -> None:
        found = replace(found, contention=self._waiting.look())
        if not found.failure:
            self._visits.setdefault(found.node_id, []).append(found.wall_s)
        self.docket.add(found)
        keep({"pair": number + 1, **asdict(found)})
