"""The worker's part of one case: build and warm up, one round per request, quiet between rounds."""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, Protocol, TextIO

from lmbench.base.registry import WORKLOADS, resolve
from lmbench.measure.clock import CLOCK, process_cpu_s, thread_cpu_s
from lmbench.measure.machine import usable_cpus
from lmbench.measure.phases import COLLECT_EVERY_S, involuntary_switches, quiet_collector
from lmbench.measure.probes.runqueue import RunQueue, waited_s
from lmbench.paired.protocol import INJECT, PROGRESS, READY, ROUND, Ready, Round, encode, injected
from lmbench.plan.case import Case
from lmbench.plan.threads import on_machine
from lmbench.run.build import CaseBuilder
from lmbench.workloads.context import Context
from lmbench.workloads.rounds import Durations, RoundSource

ROUND_S = 1e-3
"""A round is at least this long, so that the clock and the wake-up of a process do not count."""
PRIME_S, PRIMED_BELOW_S = 3e-4, 5e-3
"""Calls shorter than PRIMED_BELOW_S are made for PRIME_S untimed before each round: the other side has just used the CPU
and its caches, and refilling them is a constant that would make every slowdown look smaller (8.3 % of an injected 10 %
was seen for 50 us of matrix products in 1 ms rounds)."""
WARM_CALLS = 3
SETTLE_S = 0.3
SETTLE_STEP_S = 1e-3
QUIET_SHARE = 0.2
ALONE, BUSY = 0.95, 0.6
PARALLEL = 1.1
"""CPU time over wall time from which a round counts as multi-threaded."""


class Work(Protocol):
    """What a case does in a round: `calls` calls from number `index` on; total durations by name, and values from means."""

    def run(self, index: int, calls: int) -> Durations: ...
    def values(self, means: Durations) -> Mapping[str, float]: ...


class Dialogue:
    """The worker's end of the two pipes."""

    def __init__(self, commands: TextIO, events: TextIO) -> None:
        self._commands = commands
        self._events = events
        self.alone = False
        """The driver is gone."""

    def receive(self) -> dict[str, Any]:
        """The driver's next line; SystemExit when it is gone."""
        line = self._commands.readline()
        if not line:
            self.alone = True
            raise SystemExit(1)
        command: dict[str, Any] = json.loads(line)
        return command

    def send(self, event: str, content: object = None) -> None:
        self._events.write(encode(event, content).decode())
        self._events.flush()

    def say(self, text: str) -> None:
        """A progress line."""
        self.send(PROGRESS, {"text": text})


def serve(dialogue: Dialogue, node_id: str, work: Work, ready: Ready) -> None:
    """Announce a warm case and do a round at every request, until the driver lets it go."""
    factor = injected(os.environ.get(INJECT, ""), node_id)
    dialogue.send(READY, ready)
    gc.collect()
    collected = CLOCK.now()
    primers = 0 if ready.fixed_loops else primers_for(ready.call_s)
    queue = RunQueue()
    while (command := dialogue.receive())["do"] == "round":
        loops = int(command["loops"])
        cpu = command.get("cpu")
        if cpu is not None:
            os.sched_setaffinity(0, {int(cpu)})  # the calling thread; both sides of a round get the same one
        index = int(command["index"])
        if primers:
            work.run(index * loops, primers)
        found = _round(work, index, loops, round(loops * factor), queue)
        if found.cpu_s > PARALLEL * found.wall_s:
            settle()
        if CLOCK.now() - collected >= COLLECT_EVERY_S:
            gc.collect()
            collected = CLOCK.now()
        dialogue.send(ROUND, found)
    queue.close()


def settle() -> None:
    """Wait until this process uses no CPU: idle threads of thread pools spin for a while and would slow the other side."""
    end = CLOCK.now() + SETTLE_S
    while CLOCK.now() < end:
        wall, cpu = CLOCK.now(), process_cpu_s()
        CLOCK.sleep_until(wall + SETTLE_STEP_S)
        if process_cpu_s() - cpu < QUIET_SHARE * (CLOCK.now() - wall):
            return


class Warmth:
    """Watches warm-up: whether one thread did all the work."""

    def __init__(self) -> None:
        self._wall, self._cpu, self._thread = CLOCK.now(), process_cpu_s(), thread_cpu_s()

    def one_thread(self) -> bool:
        """True when the calling thread was busy nearly all the time and no other was."""
        wall, cpu, thread = CLOCK.now() - self._wall, process_cpu_s() - self._cpu, thread_cpu_s() - self._thread
        return thread >= ALONE * cpu and cpu >= BUSY * wall


def primers_for(call_s: float) -> int:
    """Untimed calls before each round; none for calls so long that a cold start does not count."""
    return math.ceil(PRIME_S / call_s) if 0 < call_s < PRIMED_BELOW_S else 0


def loops_for(call_s: float) -> int:
    """Calls that make a round long enough."""
    return max(1, math.ceil(ROUND_S / call_s)) if call_s > 0 else 1000


def serve_case(dialogue: Dialogue, case: Case) -> None:
    """A suite's case, built here and served. Raises what building raises."""
    started = CLOCK.now()
    with quiet_collector(), _opened(case, dialogue.say) as source:
        work = SourceWork(source)
        dialogue.say("warming up")
        source.call(0)
        warmth = Warmth()
        call_s = median(_timed(source, 1 + index) for index in range(WARM_CALLS))
        loops = loops_for(call_s)
        if loops > 1:
            work.run(0, loops)
        ready = Ready(loops=loops, call_s=call_s, setup_s=CLOCK.now() - started, one_thread=warmth.one_thread())
        serve(dialogue, case.node_id, work, ready)


class SourceWork:
    """A workload's source as rounds of several calls."""

    def __init__(self, source: RoundSource) -> None:
        self._source = source

    def run(self, index: int, calls: int) -> Durations:
        totals: dict[str, float] = {}
        for number in range(calls):
            for name, seconds in self._source.call(index + number).items():
                totals[name] = totals.get(name, 0.0) + seconds
        return totals

    def values(self, means: Durations) -> Mapping[str, float]:
        return self._source.values(means)


@contextmanager
def _opened(case: Case, say: Callable[[str], None]) -> Iterator[RoundSource]:
    case = on_machine(case, usable_cpus())
    builder = CaseBuilder(case, CLOCK, say)
    context = Context(
        case=case, text=lambda: builder.text, build=builder, clock=CLOCK, progress=say, ceilings=lambda: None, once=True
    )
    target = WORKLOADS[case.workload].source
    if target is None:
        raise ValueError(f"workload {case.workload!r} has no rounds; it is paired run by run")
    source: RoundSource = resolve(target)(context)
    try:
        yield source
    finally:
        source.close()


def _timed(source: RoundSource, index: int) -> float:
    started = CLOCK.now()
    source.call(index)
    return CLOCK.now() - started


def _round(work: Work, index: int, loops: int, calls: int, queue: RunQueue) -> Round:
    waits, switches, cpu, thread = queue.look(), involuntary_switches(), process_cpu_s(), thread_cpu_s()
    started = CLOCK.now()
    totals = work.run(index * loops, calls)
    wall = CLOCK.now() - started
    thread, cpu, switches = thread_cpu_s() - thread, process_cpu_s() - cpu, involuntary_switches() - switches
    waited = waited_s(waits, queue.look())
    values = work.values({name: total / loops for name, total in totals.items()})
    return Round(values=values, wall_s=wall, cpu_s=cpu, thread_cpu_s=thread, switches=switches, calls=calls, waited_s=waited)
