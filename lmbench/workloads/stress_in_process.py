"""Load on a subject in this process: threads, a bounded queue and, where asked for, dynamic batches."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np

from lmbench.base.errors import WorkloadError
from lmbench.load.driver import Driven
from lmbench.load.in_process import Batching, InProcess, Reply
from lmbench.load.requests import Request, RequestLog
from lmbench.load.steps import Capacity, StepSummary
from lmbench.load.targets import Target
from lmbench.measure.clock import process_cpu_s
from lmbench.measure.machine import usable_cpus
from lmbench.measure.phases import measure_rounds
from lmbench.measure.probes.memory import reset_peak, rss_bytes
from lmbench.measure.probes.pressure import Pressure
from lmbench.subject.protocol import Subject
from lmbench.suite.params import Budget, StressParams
from lmbench.workloads.arithmetic import decode_bytes, mbu_of
from lmbench.workloads.asks import Asks
from lmbench.workloads.context import Context
from lmbench.workloads.facts import peak_rss
from lmbench.workloads.generation import REPEATS_FORWARD, Generation, generate, greedy, require_room
from lmbench.workloads.serving import Observed, Unloaded

FOOTPRINTS = 100
CLOSED_LOOP = Budget(min_rounds=10, max_rounds=50, max_time_s=2.0, min_warmup_rounds=2, max_warmup_s=3.0)


class SubjectServing:
    """Open as long as the subject is.

    The threads that serve it have built it, its model included, and measured it alone. OpenMP gives every thread that calls it a
    team of workers of its own, and where teams have more threads than there are CPUs, they sleep between products instead of
    spinning: on two CPUs a small model that the main thread had merely built took 4 times as long for requests that followed
    one another.
    """

    def __init__(self, context: Context, params: StressParams, asks: Asks, threads: ThreadPoolExecutor) -> None:
        self._context, self._params, self._asks = context, params, asks
        self._threads = threads
        self._subject: Subject = threads.submit(context.build.subject).result()
        self._pressure = Pressure()
        self._looks: list[Mapping[str, float]] = []
        try:
            require_room(self._subject, asks.longest_prompt, asks.longest_output)
        except WorkloadError:
            self.close()
            raise
        reset_peak()  # the build and its check are not what is measured

    @property
    def capacity(self) -> Capacity:
        return Capacity(workers=self._params.workers, cpus=usable_cpus())

    def unloaded(self) -> Unloaded:
        return self._threads.submit(self._alone).result()

    def _alone(self) -> Unloaded:
        done: list[Generation] = []
        rounds = measure_rounds(
            lambda: self._generate([len(done)]),
            budget=CLOSED_LOOP,
            clock=self._context.clock,
            once=self._context.once,
            observe=done.append,
        )
        samples = tuple(one.latency_s for one in done)
        if not median(samples) > 0:
            raise WorkloadError("found requests that take no measurable time; expected some; give them more output_tokens")
        repeats = (REPEATS_FORWARD,) if self._subject.repeats_full_forward else ()
        return Unloaded(
            latency_s=median(samples),
            samples_s=tuple(rounds.samples_s),
            first_call_s=rounds.first_call_s,
            notes=rounds.notes() + repeats,
            details=rounds.to_json(),
        )

    def target(self, top_rate: float | None) -> Target:
        del top_rate
        params = self._params
        batching = Batching(max_size=params.batch_size, max_wait_s=params.batch_wait_s, alike=self._lengths)
        service = InProcess(
            self._serve, self._context.clock, threads=self._threads, queue_limit=params.queue_limit, batching=batching
        )
        return Driven(service, self._context.clock, seed=self._context.case.seed)

    def cpu_s(self) -> float:
        return process_cpu_s()

    def pulse(self) -> None:
        self._looks.append({"t": self._context.clock.now(), "rss_bytes": float(rss_bytes() or 0), **self._pressure.read()})

    def step_done(self, index: int | None) -> None:
        del index

    def observed(self, logs: Sequence[RequestLog], top: StepSummary) -> Observed:
        step = top.run.step
        window = [look for look in self._looks if step.start_s <= look["t"] <= top.run.settled_s]
        sent, each = np.sort([log.request.sent_s for log in logs]), _footprint(logs)
        memory = tuple(
            (look["t"], look["rss_bytes"] - each * int(np.searchsorted(sent, look["t"])))
            for look in self._looks
            if look["rss_bytes"]
        )
        evidence = {
            "stolen_share": _grown(window, "steal_s", per=usable_cpus()),
            "memory_stall_share": _grown(window, "psi_memory_some_s"),
            "bandwidth_utilization": self._bandwidth(top),
            "batch_fill": self._fill(top),
        }
        details = {"own_bytes_per_request": each}
        return Observed(evidence=evidence, details=details, metrics=(peak_rss(),), memory=memory)

    def close(self) -> None:
        self._pressure.close()
        self._subject.close()

    def _bandwidth(self, top: StepSummary) -> float | None:
        """MBU at the top step: every batch's token reads the weights once and its sequences' states."""
        times = top.times["tpot"]
        size = decode_bytes(self._subject, batch=1, past=self._asks.longest_prompt)
        if not times or top.worker_utilization is None:
            return None
        return mbu_of(size, median(times) / max(1, self._params.workers), self._context.ceilings()).value

    def _fill(self, top: StepSummary) -> float | None:
        """Mean requests per batch over the largest allowed; None without batching."""
        starts = [log.started_s for log in top.logs if log.started_s is not None]
        if self._params.batch_size == 1 or not starts:
            return None
        return len(starts) / len(set(starts)) / self._params.batch_size

    def _serve(self, batch: Sequence[Request]) -> list[Reply]:
        done = self._generate([request.index for request in batch])
        prompt = self._asks.prompt(batch[0].index)
        return [Reply(token_times_s=done.token_times_s, prompt_tokens=len(prompt)) for _ in batch]

    def _generate(self, indices: Sequence[int]) -> Generation:
        prompts = np.stack([self._asks.prompt(index) for index in indices])
        return generate(self._subject, prompts, self._asks.output_tokens(indices[0]), greedy, self._context.clock)

    def _lengths(self, request: Request) -> tuple[int, int]:
        """What requests of one batch must share."""
        return len(self._asks.prompt(request.index)), self._asks.output_tokens(request.index)


def _footprint(logs: Sequence[RequestLog]) -> float:
    """Bytes that this process itself keeps per request, which must not look like a leak of the subject.

    The objects of a sample of logs: log, request, their numbers and moments. Tables and the allocator's rounding are not in
    it: with 16 tokens and a subject that does nothing, 860 bytes of 1,085 that resident memory grew by were explained.
    """
    sample = logs[:: max(1, len(logs) // FOOTPRINTS)]
    return sum(_size(log) for log in sample) / len(sample) if sample else 0.0


def _size(log: RequestLog) -> float:
    parts = [log, log.request, log.token_times_s, *log.token_times_s, log.request.index]
    moments = [log.request.scheduled_s, log.request.sent_s, log.started_s, log.finished_s]
    return float(sum(map(sys.getsizeof, [*parts, *moments])))


def _grown(looks: Sequence[Mapping[str, float]], name: str, *, per: float = 1.0) -> float | None:
    """Growth of a counter of seconds over the time between the first and the last look; None where it was not read."""
    if len(looks) < 2 or name not in looks[0] or name not in looks[-1]:
        return None
    return (looks[-1][name] - looks[0][name]) / (looks[-1]["t"] - looks[0]["t"]) / per
