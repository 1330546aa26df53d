"""One process of a data-parallel training: does what it is told, line by line, and answers in JSON on a pipe of its own.

    python -m lmbench.workloads.data_parallel_replica PIPE_FD   < {"case": {...}, "rank": 0, "processes": 2, "folder": path}

It holds two trainers of the same model: one that steps together with the other processes' and one for itself, so that steps of
both kinds can be timed in turn. Standard output and error belong to the engines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.base.errors import Unavailable
from lmbench.base.seams import IntArray, LanguageModel, Replica, Trainer
from lmbench.data import corpora
from lmbench.data.prompts import batches
from lmbench.measure.clock import CLOCK
from lmbench.plan.case import Case
from lmbench.subject import build
from lmbench.suite.params import DataParallelParams
from lmbench.workloads.replicas import APART, FINISH, GRADIENT, LOSS, READY, STEP, WHOLE

Batch = tuple[IntArray, IntArray]


class Process:
    """The trainers of one process and the text that they train on."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        case, folder = Case.from_json(request["case"]), Path(request["folder"])
        rank, processes = int(request["rank"]), int(request["processes"])
        params = DataParallelParams.model_validate(case.params)
        corpus = corpora.load(case.corpus)
        model = build.load_model(case, corpus)
        level = build.load_level(case, corpus)
        rate, precision = params.learning_rate, params.precision
        place = {"rank": rank, "processes": processes, "meeting": str(folder / "meeting")}
        self.own: Trainer = build.build_trainer(case, model, level, learning_rate=rate, precision=precision).trainer
        self.replica: Replica = build.build_replica(case, model, level, learning_rate=rate, precision=precision, place=place)
        train, valid = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("train", "valid"))
        seeds = [case.seed * processes + one for one in range(processes)]
        self.batches = [_batches(model, train, params, seed) for seed in seeds][rank]
        self.firsts = [next(_batches(model, train, params, seed)) for seed in seeds]
        self.first = self.firsts[rank]
        self.fixed = next(_batches(model, valid, params, case.seed))

    def gradient(self) -> dict[str, Any]:
        """Of the mean loss over all processes' first batches, as the replicas have it."""
        return _told(self.replica.gradient(*self.first))

    def whole(self) -> dict[str, Any]:
        """The same of one process that takes all of these batches at once."""
        ids, targets = (np.concatenate(parts) for parts in zip(*self.firsts, strict=True))
        return _told(self.own.gradient(ids, targets))

    def loss(self) -> dict[str, Any]:
        """Of the replica on a fixed batch of validation text."""
        return {"loss": self.replica.loss(*self.fixed)}

    def finish(self) -> dict[str, Any]:
        """What there is to say at the end."""
        return {"digest": self.replica.digest(), "trainer": dict(self.replica.describe())}

    def step(self, trainer: Trainer) -> dict[str, Any]:
        """One timed step of `trainer`, on the next batch."""
        batch = next(self.batches)
        started = CLOCK.now()
        found = trainer.step(*batch)
        return {"s": CLOCK.now() - started, **_told(found)}

    def commands(self) -> dict[str, Callable[[], dict[str, Any]]]:
        return {
            GRADIENT: self.gradient,
            WHOLE: self.whole,
            LOSS: self.loss,
            STEP: partial(self.step, self.replica),
            APART: partial(self.step, self.own),
            FINISH: self.finish,
        }


def _batches(model: LanguageModel, ids: IntArray, params: DataParallelParams, seed: int) -> Iterator[Batch]:
    facts = model.facts
    return batches(ids, batch=params.batch, tokens=params.tokens, seed=seed, objective=facts.objective, mask_id=facts.mask_id)


def _told(found: tuple[float, float]) -> dict[str, Any]:
    return {"loss": found[0], "norm": found[1]}


def main() -> None:
    """Entry point of the process."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the user's own models are imported from where pytest was started
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as pipe:

        def answer(found: Mapping[str, Any]) -> None:
            pipe.write(json.dumps(found) + "\n")
            pipe.flush()

        try:
            process = Process(json.loads(sys.stdin.readline()))
        except Unavailable as lack:
            answer({"unavailable": lack.reason, "remedy": lack.remedy})
            return
        answer({READY: True})
        commands = process.commands()
        for line in sys.stdin:
            answer(commands[line.strip()]())
        process.replica.close()


if __name__ == "__main__":
    main()
