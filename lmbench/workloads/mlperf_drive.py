"""The subject as LoadGen's system under test: samples queue up, are served in batches, and a failure ends the run as an error."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.base.scratch import scratch
from lmbench.measure.clock import Clock

SUMMARY = "mlperf_log_summary.txt"
Serve = Callable[[Sequence[int], Callable[[], None]], None]
"""(numbers of the prompts, to be called at the first token) -> all their tokens are there."""


def load_loadgen() -> Any:
    """MLCommons' module. Raises Unavailable where it is not installed."""
    if find_spec("mlperf_loadgen") is None:
        raise Unavailable("mlcommons-loadgen is not installed", "run: pip install 'pytest-lmbench[mlperf]'")
    return import_module("mlperf_loadgen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What serves samples, and the one thread on which it does, which ends with the run."""

    serve: Serve
    thread: ThreadPoolExecutor


class System:
    """What LoadGen's threads call. They must never see an exception: it would end the process without a word.

    Every sample brings one turn to a thread of the subject's own, and a turn serves the samples it finds. After the first
    failure the rest is answered unserved, so that LoadGen comes to its end, and `failure` says what it was.
    """

    def __init__(self, loadgen: Any, server: Server, clock: Clock, *, batch: int, tokens: int, timed: bool) -> None:
        """`tokens` per sample; `timed`: LoadGen wants to hear of first tokens."""
        self._loadgen, self._clock = loadgen, clock
        self._serve, self._thread = server.serve, server.thread
        self._batch, self._tokens, self._timed = batch, tokens, timed
        self._waiting: deque[tuple[int, int, float]] = deque()
        self.failure: BaseException | None = None
        self.stopped = False
        self.queries = 0
        self.latencies_s: list[float] = []
        """From LoadGen's call to the last token, one per sample, in order of completion."""

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's call: take the samples and return at once."""
        now = self._clock.now()
        self.queries += 1
        self._waiting.extend((sample.id, sample.index, now) for sample in samples)
        for _ in samples:
            taken: list[tuple[int, int, float]] = []
            # Not a callback of the future, which may run on this thread: LoadGen keeps the order only of what one thread tells
            # it, and where a sample's end overtakes its first token, times are garbage or LoadGen itself crashes.
            self._thread.submit(self._settle, taken, self._thread.submit(self._turn, taken))

    def flush(self) -> None:
        """LoadGen's call after the last query: nothing is held back."""

    def close(self) -> None:
        self.stopped = True
        self._thread.shutdown(wait=True)

    def _turn(self, taken: list[tuple[int, int, float]]) -> None:
        while self._waiting and len(taken) < self._batch:
            taken.append(self._waiting.popleft())
        if taken and not self._given_up():
            ids = [identity for identity, _, _ in taken]
            self._serve([index for _, index, _ in taken], partial(self._first, ids))

    def _settle(self, taken: list[tuple[int, int, float]], turn: Future[None]) -> None:
        fault = turn.exception()
        if fault is not None and self.failure is None:
            self.failure = fault
        if not taken:
            return
        now = self._clock.now()
        ids = [identity for identity, _, _ in taken]
        if self._given_up():
            self._first(ids)
        else:
            self.latencies_s += [now - issued for _, _, issued in taken]
        self._tell(self._loadgen.QuerySamplesComplete, ids)

    def _given_up(self) -> bool:
        return self.stopped or self.failure is not None

    def _first(self, ids: Sequence[int]) -> None:
        if self._timed:
            self._tell(self._loadgen.FirstTokenComplete, ids)

    def _tell(self, what: Callable[[list[Any]], None], ids: Sequence[int]) -> None:
        what([self._loadgen.QuerySampleResponse(identity, 0, 0, self._tokens) for identity in ids])


def drive(loadgen: Any, system: System, settings: Any, *, samples: int) -> str:
    """Run LoadGen to its end on a thread of its own; the text of its summary.

    Raises WorkloadError from whatever the subject raised. LoadGen cannot be stopped: after a failure, or Ctrl-C, its
    remaining queries are answered unserved.
    """
    with scratch("mlperf") as folder:
        logs = loadgen.LogSettings()
        output = loadgen.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = str(folder), False
        logs.log_output, logs.enable_trace = output, False
        sut = loadgen.ConstructSUT(system.issue, system.flush)
        library = loadgen.ConstructQSL(samples, samples, lambda _: None, lambda _: None)
        # An audit.config in the current folder would change the settings; there is none in this one.
        audit = str(folder / "audit.config")
        try:
            # On the main thread a signal's handler would raise inside LoadGen's callback.
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="lmbench-loadgen") as runner:
                try:
                    runner.submit(loadgen.StartTestWithLogSettings, sut, library, settings, logs, audit).result()
                finally:
                    system.stopped = True
        finally:
            system.close()
            loadgen.DestroyQSL(library)
            loadgen.DestroySUT(sut)
        if system.failure is not None:
            what = f"{type(system.failure).__name__}: {system.failure}"
            raise WorkloadError(f"found {what} while LoadGen ran; expected an answer to every sample") from system.failure
        try:
            return (folder / SUMMARY).read_text(encoding="utf-8")
        except OSError as error:
            raise WorkloadError(f"found no summary of LoadGen ({error.strerror}); expected it to write {SUMMARY}") from error
