"""What a paired worker and its driver say to each other: JSON lines on two pipes, the same file read by both.

    python -m lmbench.plugin.worker READ_FD WRITE_FD        started in the root of its tree

driver                                                    worker
{"protocol": 1, "arguments": [...], "foreign": PATH}      {"event": "hello", "protocol": 1, "lmbench": "0.1.0", ...}
                                                          {"event": "collected", "cases": {id: digest}, "errors": {file: text}}
{"do": "plan", "node_ids": [...]}                         then, for each of them in order:
{"do": "prepare"}                                         {"event": "ready", "loops": 12, "call_s": 1e-4, ...}, or "left" at once
{"do": "round", "index": 3, "loops": 12, "cpu": 0}        {"event": "round", "values": {metric: number}, "wall_s": ..., ...}
{"do": "leave"} (also instead of "prepare")               {"event": "left", "outcome": "passed", "foreign": [files], ...}
{"do": "end"}                                             {"event": "bye"}

Any event may be preceded by {"event": "progress", "text": "..."}. A worker whose pipe closes ends itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from lmbench.base.errors import WorkerError

PROTOCOL = 1
MODULE = "lmbench.plugin.worker"
INJECT = "LMBENCH_INJECT"
"""Environment variable of the head worker alone: 'node id part:1.05,...' makes matching cases do 5 % more counted work."""
PADDING = "LMBENCH_PADDING"
"""Environment variable of random length: where stack and heap begin moves speeds by percents, and must not differ between
the sides in the same way every time (Mytkowicz et al., Producing Wrong Data Without Doing Anything Obviously Wrong, 2009)."""
HELLO, COLLECTED, READY, ROUND, LEFT, BYE, PROGRESS = "hello", "collected", "ready", "round", "left", "bye", "progress"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

Noun = TypeVar("Noun", bound="Ready | Round | Left")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A case is built, warm and waiting. `call_s` is one call's time now, `loops` the calls that make a round long enough."""

    loops: int
    call_s: float
    setup_s: float
    """Building and warming up."""
    one_thread: bool = False
    """The calling thread did all the work: its rounds can be kept on one CPU without changing what is measured."""
    fixed_loops: bool = False
    """The user's test says how many iterations a round has (pedantic): both sides must agree."""
    clock: str = "wall"
    """What the user wants decided: 'wall', or 'cpu' for single-threaded cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round: values per call by metric name (seconds, or a rate), and what the process spent."""

    values: Mapping[str, float]
    wall_s: float
    cpu_s: float
    """CPU time of all threads of the process."""
    thread_cpu_s: float
    """CPU time of the calling thread."""
    switches: int
    """Involuntary context switches."""
    calls: int
    """Calls made: loops, or more where work was injected."""
    waited_s: float | None = None
    """Seconds that its threads together were ready to run and waited for a CPU; None where the kernel does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A case is over."""

    outcome: str
    message: str = ""
    foreign: tuple[str, ...] = ()
    """Files imported from the other tree so far: then both sides run the same code, and the numbers compare nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a tree offers: digest of the declaration by node id (None for plain tests), collection errors by file."""

    cases: Mapping[str, str | None]
    errors: Mapping[str, str] = field(default_factory=dict)


def encode(event: str, content: object = None) -> bytes:
    """One line."""
    fields: Mapping[str, Any] = {} if content is None else content if isinstance(content, Mapping) else asdict(content)  # type: ignore[call-overload]
    return json.dumps({"event": event, **fields}).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The event in `line`; raises WorkerError for anything that is not one."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        text = f"found {line[:80]!r} on the worker's pipe; expected a JSON line with an event"
        raise WorkerError(f"{text}; is lmbench the same on both sides?")
    return event


def parse(noun: type[Noun], event: Mapping[str, Any]) -> Noun:
    """The event as a noun; raises WorkerError when it is another one or its fields do not fit."""
    expected = noun.__name__.lower()
    if event.get("event") != expected:
        raise WorkerError(f"found event {event.get('event')!r}; expected {expected!r}")
    try:
        return noun(**{key: value for key, value in event.items() if key != "event"})
    except TypeError as error:
        raise WorkerError(f"found an event {expected!r} that does not fit: {error}; is lmbench the same on both sides?") from None


def step_of(factor: float) -> int:
    """The smallest number of calls, at most 100, of which `factor` times as many is a whole number: 20 for 1.05."""
    return next((calls for calls in range(1, 100) if abs(calls * factor - round(calls * factor)) < 1e-6), 100)


def injected(text: str, node_id: str) -> float:
    """The factor that INJECT's `text` gives a case: that of the first entry whose name occurs in `node_id`, else 1."""
    for entry in filter(None, text.split(",")):
        name, _, factor = entry.rpartition(":")
        if name in node_id:
            return float(factor)
    return 1.0
