"""One side of a pair that alternates: the same prefill and decode steps through lmbench or in a bare loop, a turn at a time.

    python -m tests.perf.turns READ_FD WRITE_FD       the first line on READ_FD is the request

request                                      answer
{"side": "bare", "kind": ..., ...}           {"event": "waiting"} before each turn
{"do": "turn", "cpu": 0}                     {"event": "done", "prefill": [...], "decode": [[...], ...]} after the last one

Both sides compute with one thread, and both rounds of one number run on the same CPU, as in the gate: left to the scheduler
they would stay on a core each, and two cores of a shared machine differ by several percent for seconds. They answer only when
their process has stopped using the CPU.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from lmbench.base.registry import MODELS, resolve
from lmbench.base.seams import IntArray
from lmbench.data import corpora
from lmbench.measure.clock import CLOCK
from lmbench.measure.sampler import Sampler
from lmbench.paired.visit import settle
from lmbench.plan.case import Case, Choice
from lmbench.run import execute
from lmbench.suite.params import LatencyParams
from lmbench.workloads import generation, latency
from lmbench.workloads.generation import PromptPool

BARE, LMBENCH = "bare", "lmbench"
CORPUS = {"source": "python-reference"}
CALM_S = 0.01
"""A sampler that goes on after a pause takes the sample that it missed at once; this long no turn is begun."""


class Turns:
    """This side's end of the two pipes."""

    def __init__(self, commands: TextIO, events: TextIO) -> None:
        self._commands, self._events = commands, events
        self.sampler: Sampler | None = None
        """Paused while it is the other side's turn, so that its cost is this side's alone."""

    def request(self) -> dict[str, Any]:
        """The driver's next line; SystemExit when it is gone."""
        line = self._commands.readline()
        if not line:
            raise SystemExit(1)
        found: dict[str, Any] = json.loads(line)
        return found

    def wait(self) -> None:
        """Let the other side work until the driver gives this one a turn."""
        settle()
        if self.sampler is not None:
            self.sampler.pause()
        self.send({"event": "waiting"})
        cpu = self.request()["cpu"]
        os.sched_setaffinity(0, {cpu})  # of the calling thread
        if self.sampler is not None:
            self.sampler.resume()
        CLOCK.sleep_until(CLOCK.now() + CALM_S)

    def send(self, event: Mapping[str, Any]) -> None:
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()


class PoolOfTurns:
    """Prompts of which each is handed out at a turn: the workload takes one before each round."""

    def __init__(self, pool: PromptPool, turns: Turns) -> None:
        self._pool, self._turns = pool, turns

    def __len__(self) -> int:
        return len(self._pool)

    def take(self, batch: int) -> IntArray:
        self._turns.wait()
        return self._pool.take(batch)


def through_lmbench(asked: Mapping[str, Any], turns: Turns) -> tuple[list[float], list[float]]:
    """The series of the record that lmbench makes of the case, sampler, warm-up, check and all."""
    whole_pool = generation.prompt_pool

    class HeldSampler(Sampler):
        def start(self) -> None:
            super().start()
            turns.sampler = self

    setattr(latency, "prompt_pool", lambda *given, **named: PoolOfTurns(whole_pool(*given, **named), turns))  # noqa: B010
    setattr(execute, "Sampler", HeldSampler)  # noqa: B010
    record = execute.execute(case(asked), execute.Setting(environment="", machine_class=""), lambda _: None)
    if record.failure is not None:
        raise SystemExit(f"{record.failure.kind}: {record.failure.message}\n{record.failure.traceback}")
    return list(record.series["prefill"]), list(record.series["decode"])


def case(asked: Mapping[str, Any]) -> Case:
    """The case that does `rounds` rounds after exactly `warmup` rounds of warm-up."""
    rounds, warmup = asked["rounds"], asked["warmup"]
    budget = {"min_rounds": rounds, "max_rounds": rounds, "max_time_s": 1e-3, "min_warmup_rounds": warmup, "max_warmup_s": 1e-6}
    given = {"prompt_tokens": asked["prompt"], "output_tokens": asked["output"], "budget": budget}
    return Case(
        suite="perf",
        name="agreement",
        workload="latency",
        params=LatencyParams.model_validate(given).model_dump(),
        model=Choice(name="m", kind=asked["kind"], options=asked["options"]),
        backend=Choice(name="torch", kind="torch", options={"threads": 1}),
        compression=Choice(name="none", kind="none"),
        corpus=CORPUS,
    )


def in_a_bare_loop(asked: Mapping[str, Any], turns: Turns) -> tuple[list[float], list[float]]:
    """What a user would write: the model called in a loop, time.perf_counter around each call."""
    import torch

    torch.set_num_threads(1)
    prompt, output = asked["prompt"], asked["output"]
    corpus = corpora.load(CORPUS)
    model = resolve(MODELS[asked["kind"]].target)("m", asked["options"], corpus, 0)
    ids = torch.tensor(model.tokenizer.encode(corpus.valid_text))
    prefill, decode = [], []
    with torch.inference_mode():
        for index in range(1 + asked["warmup"] + asked["rounds"]):
            window = ids[index * prompt : (index + 1) * prompt][None]
            turns.wait()
            start = time.perf_counter()
            logits, *state = model.module(window, torch.tensor([prompt - 1]), *model.empty_state(1))
            prefilled = time.perf_counter()
            token = logits[:, 0].argmax(-1)
            steps = []
            for _ in range(output - 1):
                before = time.perf_counter()
                logits, *state = model.module(token[:, None], torch.tensor([0]), *state)
                steps.append(time.perf_counter() - before)
                token = logits[:, 0].argmax(-1)
            if index > asked["warmup"]:
                prefill.append(prefilled - start)
                decode += steps
    return prefill, decode


SIDES = {BARE: in_a_bare_loop, LMBENCH: through_lmbench}


def main() -> None:
    """Entry point of a side's process."""
    reader, writer = (int(argument) for argument in sys.argv[1:3])
    with os.fdopen(reader, encoding="utf-8") as commands, os.fdopen(writer, "w", encoding="utf-8") as events:
        turns = Turns(commands, events)
        asked = turns.request()
        prefill, decode = SIDES[asked["side"]](asked, turns)
        steps = asked["output"] - 1
        middles = [statistics.median(decode[at : at + steps]) for at in range(0, len(decode), steps)]
        turns.send({"event": "done", "prefill": prefill, "decode": middles})


if __name__ == "__main__":
    main()
