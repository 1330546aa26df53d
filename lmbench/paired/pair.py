"""One pair of processes: every job prepared on both sides, rounds alternated base head head base, one number per metric."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lmbench.base.errors import WorkerError
from lmbench.measure.clock import CLOCK
from lmbench.paired.numbers import BASE, HEAD, CasePair, Job, summarise
from lmbench.paired.process import Worker
from lmbench.paired.protocol import (
    BYE,
    INJECT,
    LEFT,
    PADDING,
    PASSED,
    READY,
    ROUND,
    Collected,
    Left,
    Ready,
    Round,
    injected,
    parse,
    step_of,
)
from lmbench.run.isolate import Place
from lmbench.store.renames import NO_RENAMES, Renames

START_TIMEOUT_S = 300.0
LEAVE_TIMEOUT_S = 60.0
SHORT_VISIT_S, LONG_VISIT_S = 0.2, 1.0
"""The rounds of one side of one visit take about this long: short rounds are many, long ones few."""
MOST_ROUNDS, MANY_ROUNDS, FEWEST_ROUNDS = 100, 20, 4
MOST_PADDING = 4096
FOREIGN = (
    "imported {count} of the head tree's files ({first}), so both sides ran the same code; "
    "install the base in an environment of its own and give it with --lmbench-gate-base-python"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both places, how pytest is started in them, and the tree the base must not import from."""

    base: Place
    head: Place
    arguments: tuple[str, ...] = ()
    foreign: Path | None = None
    inject: str = ""
    """Extra counted work of the head, to try the gate itself: see protocol.INJECT."""
    renames: Renames = NO_RENAMES
    """Under which names the base may have the head's cases."""


Say = Callable[[str], None]


def run_pair(sides: Sides, jobs: Sequence[Job], number: int, rng: np.random.Generator, say: Say) -> Iterator[CasePair]:
    """Run pair `number` of all `jobs`, yielding each job's result as it comes.

    The first pair also yields what the base has in the same files and the head does not. A worker
    that crashes or hangs costs its job, not the others: they go on in two fresh processes.
    """
    left = list(jobs)
    while left:
        try:
            with _Both(sides, left, number, rng, say) as both:
                if number == 0 and len(left) == len(jobs):
                    yield from both.gone()
                while left:
                    yield both.visit(left[0])
                    left.pop(0)
                both.end()
        except WorkerError as error:
            failed = left[:1] if both_started(error) else left
            yield from (CasePair(node_id=job.node_id, side=error.side, failure=str(error)) for job in failed)
            left = left[len(failed) :]


def both_started(error: WorkerError) -> bool:
    """Whether `error` belongs to one job; a side that never answered fails them all."""
    return not getattr(error, "at_start", False)


def rounds_for(round_s: float) -> int:
    """Rounds per side and visit, even so that each side goes first equally often.

    Of rounds up to 50 ms at least 20, of the shortest 100 (more rounds still narrowed a pair's spread there: one thread's
    1 ms rounds differ by a quarter on a shared core, and starting two processes costs more than all of them); of long ones
    a second's worth, at least 4.
    """
    if round_s <= 0:
        return MOST_ROUNDS
    wanted = max(SHORT_VISIT_S / round_s, min(MANY_ROUNDS, LONG_VISIT_S / round_s))
    return int(min(MOST_ROUNDS, max(FEWEST_ROUNDS, 2 * round(wanted / 2))))


class _Both:
    """Two workers that are alive together."""

    def __init__(self, sides: Sides, jobs: Sequence[Job], number: int, rng: np.random.Generator, say: Say) -> None:
        self.sides = sides
        self.jobs = jobs
        self.number = number
        self.rng = rng
        self.say = say
        self.workers: dict[str, Worker] = {}
        self.offers: dict[str, Collected] = {}
        self.shared: list[str] = []

    def __enter__(self) -> _Both:
        self._stack = ExitStack()
        order = [BASE, HEAD] if self.rng.random() < 0.5 else [HEAD, BASE]
        try:
            for name in order:
                self.workers[name] = self._stack.enter_context(self._worker(name))
            for name in order:
                self.offers[name] = self.workers[name].collected(START_TIMEOUT_S)
        except WorkerError as error:
            self._stack.close()
            error.at_start = True  # type: ignore[attr-defined]
            raise
        except BaseException:
            self._stack.close()
            raise
        self.order = order
        self.shared = [job.node_id for job in self.jobs if not self._lack(job)]
        for name, worker in self.workers.items():
            worker.do("plan", node_ids=[self._name(name, node_id) for node_id in self.shared])
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _worker(self, name: str) -> Worker:
        place = self.sides.base if name == BASE else self.sides.head
        seed = str(int(self.rng.integers(1, 2**32 - 1)))
        padding = "x" * int(self.rng.integers(0, MOST_PADDING))
        inject = self.sides.inject if name == HEAD else "," * len(self.sides.inject)  # as long as the head's, and empty
        env = {**place.env, "PYTHONHASHSEED": seed, PADDING: padding, INJECT: inject}
        files = [file for file in dict.fromkeys(self._files(name)) if (place.root / file).exists()]
        arguments = [f"--rootdir={place.root}", *self.sides.arguments, *files]
        foreign = self.sides.foreign if name == BASE else None
        return Worker(replace(place, env=env), arguments, foreign=foreign, say=self.say)

    def _files(self, name: str) -> Iterator[str]:
        """The files that a side collects: in the base also those in which a case was before."""
        for job in self.jobs:
            yield job.file
            if name == BASE:
                yield from (former.partition("::")[0] for former in self.sides.renames.former(job.node_id))

    def _name(self, name: str, node_id: str) -> str:
        """What a side calls a case of the head; its own name where the base has none of the former ones either."""
        if name == HEAD:
            return node_id
        return self.sides.renames.resolve(node_id, self.offers[BASE].cases) or node_id

    def gone(self) -> Iterator[CasePair]:
        """Benchmarks that were removed, or renamed without a word about it."""
        renames = self.sides.renames
        for node_id in self.offers[BASE].cases:
            kept = {node_id, renames.current(node_id)} & set(self.offers[HEAD].cases)
            if not kept and not self.offers[HEAD].errors:
                yield CasePair(
                    node_id=node_id, side=HEAD, absent=True, failure="the base has this case and the head does not any more"
                )

    def visit(self, job: Job) -> CasePair:
        """Both sides prepare `job`, do their rounds and leave it."""
        lack = self._lack(job)
        if lack is not None:
            return lack
        started = CLOCK.now()
        self.say(f"pair {self.number + 1}: {job.node_id.partition('::')[2]}")
        ready: dict[str, Ready] = {}
        for name in self.order:
            answer = self._prepare(name, job)
            if isinstance(answer, Left):
                self._leave(BASE if name == HEAD else HEAD)
                return _failed(job, name, f"{answer.outcome} before it measured: {answer.message}")
            ready[name] = answer
        base, head = ready[BASE], ready[HEAD]
        if base.fixed_loops and base.loops != head.loops:
            self._leave(BASE, HEAD)
            failure = f"the test does {base.loops} iterations per round in the base and {head.loops} in the head"
            return CasePair(node_id=job.node_id, side=BASE, absent=True, failure=failure)
        step = 1 if base.fixed_loops else step_of(injected(self.sides.inject, job.node_id))
        loops = step * math.ceil(max(base.loops, head.loops) / step)
        cpus = sorted(os.sched_getaffinity(0)) if base.one_thread and head.one_thread else ()
        found = self._rounds(job, loops, rounds_for(loops * max(base.call_s, head.call_s)), cpus)
        outcomes = self._leave(BASE, HEAD)
        for name, outcome in outcomes.items():
            if outcome.foreign:
                return _failed(job, name, FOREIGN.format(count=len(outcome.foreign), first=outcome.foreign[0]))
            if outcome.outcome != PASSED:
                return _failed(job, name, f"{outcome.outcome} after it measured: {outcome.message}")
        wall_s, usable = CLOCK.now() - started, len(os.sched_getaffinity(0))
        pair = summarise(job.node_id, found, loops=loops, clock=head.clock, wall_s=wall_s, cpus=usable)
        return replace(pair, base_id=self._name(BASE, job.node_id))

    def end(self) -> None:
        """Let both go."""
        for name in self.order:
            self.workers[name].do("end")
        for name in self.order:
            self.workers[name].receive(LEAVE_TIMEOUT_S, BYE)

    def _prepare(self, name: str, job: Job) -> Ready | Left:
        worker = self.workers[name]
        worker.do("prepare", given=dict(job.given))
        event = worker.receive(job.timeout_s, READY, LEFT)
        return parse(Left, event) if event["event"] == LEFT else parse(Ready, event)

    def _rounds(self, job: Job, loops: int, rounds: int, cpus: Sequence[int]) -> dict[str, list[Round]]:
        """`rounds` rounds of each side; both sides' round of one number run on the same one of `cpus`."""
        found: dict[str, list[Round]] = {BASE: [], HEAD: []}
        for index in range(rounds):
            first, second = (BASE, HEAD) if (index + self.number) % 2 == 0 else (HEAD, BASE)
            for name in (first, second):
                self.workers[name].do("round", index=index, loops=loops, cpu=cpus[index // 2 % len(cpus)] if cpus else None)
                found[name].append(parse(Round, self.workers[name].receive(job.timeout_s, ROUND)))
        return found

    def _leave(self, *names: str) -> dict[str, Left]:
        for name in names:
            self.workers[name].do("leave")
        return {name: parse(Left, self.workers[name].receive(LEAVE_TIMEOUT_S, LEFT)) for name in names}

    def _lack(self, job: Job) -> CasePair | None:
        """Why there is nothing to compare: a tree that does not import, a case that one side lacks or declares differently."""
        for name in (HEAD, BASE):
            offer = self.offers[name]
            if self._name(name, job.node_id) in offer.cases:
                continue
            error = next((text for where, text in offer.errors.items() if where and job.node_id.startswith(where)), None)
            error = error or (next(iter(offer.errors.values())) if "" in offer.errors else None)
            if error is not None:
                return CasePair(node_id=job.node_id, side=name, failure=f"the {name} tree cannot be collected: {error}")
            return CasePair(node_id=job.node_id, side=name, absent=True, failure=f"the {name} tree does not have this case")
        if self.offers[BASE].cases[self._name(BASE, job.node_id)] != self.offers[HEAD].cases[job.node_id]:
            return CasePair(node_id=job.node_id, side=BASE, absent=True, failure="the case is declared differently in the base")
        return None


def _failed(job: Job, side: str, text: str) -> CasePair:
    return CasePair(node_id=job.node_id, side=side, failure=f"{side}: {text}")
