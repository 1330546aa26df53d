"""The cases under adjudication: their pairs so far, when they are decided, and what is said of those that are not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from lmbench.base.catalogue import METRICS
from lmbench.base.units import pretty, pretty_change
from lmbench.compare.cells import count_cells, deciding, tolerance_of
from lmbench.compare.intervals import degrees_of_freedom
from lmbench.compare.paired import LOOKS, Cell, decided, judge
from lmbench.compare.resolution import NONE, Resolution
from lmbench.compare.verdicts import ERROR, IMPROVED, INCOMPARABLE, INCONCLUSIVE, MISSING, NEW, OK, REGRESSED, Verdict
from lmbench.measure.contention import CONTENDED
from lmbench.paired.numbers import HEAD, CasePair, Job
from lmbench.paired.runs import RUN_UNIT
from lmbench.paired.starved import SIGNS

ROUND_UNIT = "pair of processes"
NOTABLE = 0.005
"""From which share on the waiting of threads for a CPU is named beside a ratio."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One job and what is known of it."""

    job: Job
    unit: str
    pairs: list[CasePair] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    closed: bool = False

    @property
    def following_look(self) -> int:
        """The number of pairs at which this case is judged next."""
        return next((look for look in LOOKS if look > len(self.pairs)), LOOKS[-1])


class Docket:
    """Entries by node id; `cells` is the number of separate tests, fixed before the first pair."""

    def __init__(self, jobs: Sequence[tuple[Job, str]], *, tolerance: float) -> None:
        self.entries = {job.node_id: Entry(job=job, unit=unit) for job, unit in jobs}
        self.cells = count_cells(job.case for job, _ in jobs)
        self.tolerance = tolerance
        self.noted: list[Verdict] = []

    def open(self) -> list[Entry]:
        """Entries that need more pairs."""
        return [entry for entry in self.entries.values() if not entry.closed]

    def add(self, pair: CasePair) -> None:
        """Take one more pair of a case; at a look the case is judged, a failure ends it."""
        entry = self.entries.setdefault(pair.node_id, Entry(job=Job(node_id=pair.node_id), unit=ROUND_UNIT))
        if pair.failure:
            entry.verdicts = [_failed(pair)]
            entry.closed = True
            return
        entry.pairs.append(pair)
        if len(entry.pairs) in LOOKS:
            entry.verdicts = self._judged(entry)
            entry.closed = self._decided(entry) or len(entry.pairs) == LOOKS[-1]

    def note(self, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts that need no pairs beside those that do."""
        self.noted += verdicts

    def close(self, why: Callable[[Entry], str]) -> None:
        """Judge what is still open by the pairs there are, and say why there are no more.

        What they do not decide was cut short: more pairs would have followed.
        """
        for entry in self.open():
            reason = why(entry)
            entry.verdicts = [
                replace(verdict, why=f"{verdict.why}; {reason}", cut_short=True) if not decided(verdict) else verdict
                for verdict in self._judged(entry)
            ]
            entry.closed = True

    def verdicts(self) -> list[Verdict]:
        return [verdict for entry in self.entries.values() for verdict in entry.verdicts] + self.noted

    def uncertainty(self, entry: Entry) -> float:
        """How many times too wide the widest undecided interval is: sqrt(pairs needed / pairs); infinite when hopeless."""
        if degrees_of_freedom(len(entry.pairs)) < 1:
            return 1.0
        found = [
            math.sqrt(verdict.evidence.pairs_needed / verdict.evidence.pairs) if verdict.evidence.pairs_needed else math.inf
            for verdict in self._judged(entry)
            if verdict.outcome == INCONCLUSIVE and verdict.evidence and verdict.limit is not None
        ]
        return max(found, default=1.0)

    def _decided(self, entry: Entry) -> bool:
        return all(decided(verdict) for verdict in entry.verdicts if verdict.limit is not None)

    def _judged(self, entry: Entry) -> list[Verdict]:
        job = entry.job
        if not entry.pairs:
            return [Verdict(node_id=job.node_id, metric=None, outcome=INCONCLUSIVE, why="not a single pair was run")]
        clock = "cpu" if all(pair.clock == "cpu" and not pair.parallel for pair in entry.pairs) else "wall"
        names = deciding(job.case, clock)
        measured = [name for name in entry.pairs[0].log_ratios if all(name in pair.log_ratios for pair in entry.pairs)]
        verdicts = [self._verdict(entry, name, decides=name in names) for name in measured]
        if not any(name in names for name in measured):
            why = f"none of {', '.join(names)} was measured in every pair"
            verdicts.append(Verdict(node_id=job.node_id, metric=None, outcome=INCONCLUSIVE, why=why))
        before = entry.pairs[0].base_id
        if before and before != job.node_id:
            verdicts = [replace(one, why=f"{one.why}; renamed, the base has it as {before}") for one in verdicts]
        return verdicts

    def _verdict(self, entry: Entry, name: str, *, decides: bool) -> Verdict:
        spec = METRICS[name]
        pairs = [pair for pair in entry.pairs if not (pair.starved and spec.kind in SIGNS)]
        cell = Cell(
            node_id=entry.job.node_id,
            metric=name,
            unit=spec.unit,
            better=spec.better or "lower",
            tolerance=tolerance_of(entry.job.case, name, self.tolerance),
            log_ratios=tuple(pair.log_ratios[name] for pair in pairs),
            running=_running(pairs, name),
            medians=(median(pair.base[name] for pair in pairs), median(pair.head[name] for pair in pairs)) if pairs else None,
            unit_of_pair=RUN_UNIT if entry.unit == RUN_UNIT else ROUND_UNIT,
            explanation=explain(entry.pairs, name),
            declared=entry.job.case is not None and name in entry.job.case.gate,
            steps=_steps(pairs, name) if pairs else (NONE, NONE),
        )
        verdict = _with_starved(judge(cell, cells=self.cells), entry.pairs, len(entry.pairs) - len(pairs))
        if (
            verdict.outcome in (REGRESSED, IMPROVED)
            and spec.floor
            and abs((verdict.now or 0.0) - (verdict.baseline or 0.0)) <= spec.floor
        ):
            why = f"{verdict.why}, yet within the {pretty(spec.floor, spec.unit)} that never matter"
            return replace(verdict, outcome=OK, why=why)
        if decides:
            return verdict
        if verdict.outcome == REGRESSED:
            why = f"{verdict.why}; only reported: name it in the suite's gate to decide by it"
            verdict = replace(verdict, outcome=INCONCLUSIVE, why=why)
        return replace(verdict, limit=None)


def _steps(pairs: Sequence[CasePair], name: str) -> tuple[Resolution, Resolution]:
    """What the runs of base and head resolved of a metric: the coarsest of each side."""
    both = [pair.steps.get(name, (0.0, 0.0)) for pair in pairs]
    base, head = (max(math.inf if step is None else step for step in side) for side in zip(*both, strict=True))
    recorded = all(pair.recorded_steps for pair in pairs)
    return Resolution(step=base, recorded=recorded), Resolution(step=head, recorded=recorded)


def _running(pairs: Sequence[CasePair], name: str) -> tuple[float, ...]:
    """Without the waiting for a CPU; nothing unless it is known of all pairs."""
    return tuple(pair.running[name] for pair in pairs) if all(name in pair.running for pair in pairs) else ()


def _with_starved(verdict: Verdict, pairs: Sequence[CasePair], void: int) -> Verdict:
    if not void:
        return verdict
    first = next(pair.starved for pair in pairs if pair.starved)
    return replace(verdict, why=f"{verdict.why}; {void} of {len(pairs)} pairs do not count, the first since {first}")


def explain(pairs: Sequence[CasePair], name: str) -> str:
    """'CPU time +0.2 %, involuntary switches per round 0.4 -> 3.1', what there is of it for metric `name`."""
    parts = []
    running, measured = _running(pairs, name), [pair.log_ratios[name] for pair in pairs]
    if running and abs(median(running) - median(measured)) >= NOTABLE:
        parts.append(f"without the waiting for a CPU {pretty_change(math.exp(median(running)))}")
    spent = [pair.cpu_log_ratio for pair in pairs if pair.cpu_log_ratio is not None]
    if spent:
        parts.append(f"CPU time {pretty_change(math.exp(median(spent)))}")
        before, after = (median(pair.switches[side] for pair in pairs) for side in (0, 1))
        parts.append(f"involuntary switches per round {before:.1f} -> {after:.1f}")
    waited = [pair.contention for pair in pairs if pair.contention is not None]
    if waited and (share := median(waited)) >= CONTENDED:
        parts.append(f"tasks waited for a CPU {share:.0%} of the time")
    return ", ".join(parts)


def _failed(pair: CasePair) -> Verdict:
    """The head's failure is an error; the base's leaves nothing to compare with; a case that only the base has is missing."""
    if not pair.absent:
        outcome = ERROR if pair.side in (HEAD, "") else INCOMPARABLE
    elif pair.side == HEAD:
        outcome = MISSING
    else:
        outcome = NEW if "does not have" in pair.failure else INCOMPARABLE
    return Verdict(node_id=pair.node_id, metric=None, outcome=outcome, why=pair.failure)
