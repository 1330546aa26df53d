"""The processes of a data-parallel training: started, asked in turn or all at once, and left without orphans."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.base.scratch import unnamed_file
from lmbench.base.secrets import ending
from lmbench.measure.clock import Clock
from lmbench.plan.case import Case

CHILD = "lmbench.workloads.data_parallel_replica"
GRADIENT, WHOLE, LOSS, STEP, APART, FINISH = "gradient", "whole", "loss", "step", "apart", "finish"
READY = "ready"
ANSWER_TIMEOUT_S = 300.0
GRACE_S = 10.0
LOG_TAIL_CHARS = 1500
Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    process: subprocess.Popen[str]
    answers: IO[bytes]
    log: IO[str]


class Replicas:
    """Running processes, each of its own one of `cases`; `folder` holds the text they train on, and is where they meet."""

    def __init__(self, cases: Sequence[Case], folder: Path, clock: Clock) -> None:
        self._cases = tuple(cases)
        self._folder = folder
        self._clock = clock
        self._stack = ExitStack()
        self._processes: list[_Process] = []

    def __enter__(self) -> Replicas:
        try:
            for rank, case in enumerate(self._cases):
                request = {"case": case.to_json(), "rank": rank, "processes": len(self._cases), "folder": str(self._folder)}
                self._processes.append(self._start(request))
            self._hear(self._everyone)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def all(self, command: str) -> list[Answer]:
        """Every process does `command` at the same time; their answers by rank."""
        return self._ask(command, self._everyone)

    def first(self, command: str) -> Answer:
        """Only the first does it; the others wait."""
        return self._ask(command, range(1))[0]

    @property
    def _everyone(self) -> range:
        return range(len(self._processes))

    def _ask(self, command: str, ranks: range) -> list[Answer]:
        for rank in ranks:
            stdin = self._processes[rank].process.stdin
            assert stdin is not None  # noqa: S101 - Popen was given a pipe
            try:
                stdin.write(f"{command}\n")
                stdin.flush()
            except BrokenPipeError:
                raise self._lost(rank, "it ended") from None
        return self._hear(ranks)

    def _hear(self, ranks: range) -> list[Answer]:
        """One line of each; blocks in the kernel, so that waiting costs the processes nothing."""
        found: dict[int, Answer] = {}
        deadline = self._clock.now() + ANSWER_TIMEOUT_S
        with selectors.DefaultSelector() as selector:
            for rank in ranks:
                selector.register(self._processes[rank].answers, selectors.EVENT_READ, rank)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - self._clock.now()))
                if not ready:
                    raise self._lost(min(set(ranks) - set(found)), f"no answer within {ANSWER_TIMEOUT_S:g} s")
                for key, _ in ready:
                    selector.unregister(key.fileobj)
                    found[key.data] = self._line(key.data)
        return [found[rank] for rank in ranks]

    def _line(self, rank: int) -> Answer:
        line = self._processes[rank].answers.readline()
        if not line:
            raise self._lost(rank, "it ended")
        answer: Answer = json.loads(line)
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"], answer["remedy"])
        return answer

    def _start(self, request: Mapping[str, Any]) -> _Process:
        keep = self._stack.enter_context
        log = keep(unnamed_file("replica"))
        reader, writer = os.pipe()
        answers = keep(os.fdopen(reader, "rb"))
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", CHILD, str(writer)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
                encoding="utf-8",
            )
        finally:
            os.close(writer)
        self._stack.callback(_end, process)
        assert process.stdin is not None  # noqa: S101 - Popen was given a pipe
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return _Process(process=process, answers=answers, log=log)

    def _lost(self, rank: int, why: str) -> WorkloadError:
        log = self._processes[rank].log
        log.seek(0)
        words = ending(log.read().strip(), LOG_TAIL_CHARS)
        return WorkloadError(
            f"process {rank} of {len(self._processes)} that train together: {why}; it said:\n{words or 'nothing'}"
        )


def _end(process: subprocess.Popen[str]) -> None:
    """By closing what it reads from; by force when it does not go, as when it waits for one that is gone."""
    assert process.stdin is not None  # noqa: S101 - Popen was given a pipe
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
