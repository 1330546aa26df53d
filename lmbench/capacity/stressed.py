"""One stress run: its rates, the queue that explains them, and how well that queue predicts rates it had no part in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from lmbench.base.entry import ENDPOINT
from lmbench.base.errors import SubjectError
from lmbench.base.registry import MODELS
from lmbench.capacity.alone import undisturbed, weighed
from lmbench.capacity.nouns import OLDER_RUNS, OTHER_RATES, BackTest
from lmbench.capacity.simulate import Shard, simulate
from lmbench.load.bottleneck import late_client
from lmbench.load.requests import CANCELLED, COMPLETED, PENDING
from lmbench.record.record import Record

FEW_REQUESTS = 30
"""A step of fewer says too little of its p95."""
SLOTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
SHARES = (1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
"""What is tried for an endpoint: requests served at once, or served as fast as one alone by a server that shares itself."""
PATIENCE = 3
"""So many in a row that explain less end the search among more."""
LANES, ARRIVALS = 128, 500
STEADY = 0.95
"""Busy share above which a step of seconds is not in a steady state, so that a queue's formula says nothing of it."""
NOT_STEPS = ("recovery", "spike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate of a stress run: its completed requests' times in seconds."""

    rate: float
    """As it was sent, in requests/s."""
    asked_rate: float
    latency_s: tuple[float, ...]
    lag_s: tuple[float, ...]
    """How late each was sent."""
    alone: tuple[int, ...]
    """Which of the requests had none beside them, from their first moment to their last."""
    service_s: tuple[float, ...]
    first_token_s: tuple[float, ...]
    tpot_s: tuple[float, ...]
    """Of the requests with at least two tokens whose times are known (see `RequestLog.tpot_s`)."""
    output_tokens: tuple[float, ...]
    ended: int
    """Requests that came to an end of their own: all but those that the client cancelled."""
    failed: int
    """Those of them that did not complete."""
    below_knee: bool
    kept: bool
    """Whether it kept the SLO it was measured under."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """How one replica serves: `slots` requests at once, first come first served, or all of them by sharing (see Replica)."""

    slots: int
    shared: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StressRun:
    """A stress record and its steps of a steady rate, rising."""

    record: Record
    steps: tuple[Step, ...]

    @property
    def below_knee(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.below_knee)

    @property
    def calm(self) -> tuple[Step, ...]:
        """The steps below the knee, or the lowest where there is none."""
        return self.below_knee or self.steps[:1]

    @property
    def late_s(self) -> float | None:
        """How late the client was (p99), where that is too late for latencies to be the subject's own (see late_client)."""
        lag = float(np.quantile([one for step in self.calm for one in step.lag_s], 0.99))
        typical = float(np.median([one for step in self.calm for one in step.latency_s]))
        return lag if late_client(lag, typical) else None

    @property
    def is_endpoint(self) -> bool:
        entry = MODELS.get(self.record.case.model.kind)
        return entry is not None and entry.form == ENDPOINT

    @property
    def batch(self) -> int:
        return int(self.record.case.params.get("batch_size", 1))

    @property
    def service_s(self) -> tuple[float, ...]:
        """As seen in process; of an endpoint the latencies of the requests that were alone, where there are enough."""
        if self.is_endpoint:
            return self._alone("latency_s") or self.calm[0].latency_s
        return tuple(chain.from_iterable(step.service_s for step in self.calm))

    @property
    def first_token_s(self) -> tuple[float, ...]:
        """Of the requests behind `service_s`."""
        if self.is_endpoint:
            return self._alone("first_token_s") or self.calm[0].first_token_s
        return tuple(chain.from_iterable(step.first_token_s for step in self.calm))

    def _alone(self, which: str) -> tuple[float, ...]:
        """Times of the requests that were alone, at all rates below the knee; none where they are few or times are missing."""
        if sum(len(step.alone) for step in self.calm) < FEW_REQUESTS:
            return ()
        found: list[float] = []
        for step in self.calm:
            times = getattr(step, which)
            if len(times) != len(step.latency_s):
                return ()
            found += weighed([step.latency_s[place] for place in step.alone], [times[place] for place in step.alone], step.rate)
        return tuple(found)


def stress_run(record: Record) -> StressRun:
    """The steps that tried a rate and were not cut short; the knee is the lowest rate that did not keep its SLO."""
    columns = record.details["requests"]
    rows = [
        row
        for row in record.details["steps"]
        if row["kind"] not in NOT_STEPS and not row["cut"] and row["streams"] is None and row["offered_rate"] > 0
    ]
    bend = record.metrics["knee_rate"].value if "knee_rate" in record.metrics else None
    broke = [row["offered_rate"] for row in rows if not row["slo_met"]]
    knee = min([*broke, *([bend] if bend else [])], default=math.inf)
    alone = undisturbed(columns) if not record.details.get("requests_left_out") else frozenset()
    found = [_step(row, columns, alone, below_knee=row["offered_rate"] < knee) for row in rows]
    steps = sorted((step for step in found if step.latency_s), key=lambda step: step.rate)
    if not steps:
        raise SubjectError("the stress record has no completed request in any step of a steady rate; measure a ramp or a search")
    return StressRun(record=record, steps=tuple(steps))


def discipline_of(run: StressRun) -> tuple[Discipline, dict[str, str]]:
    """(how it serves, how that and the service times were found): declared in process, fitted of an endpoint."""
    if not run.is_endpoint:
        slots = int(run.record.case.params.get("workers", 1)) * run.batch
        why = {} if run.batch == 1 else {"slots": "workers times batch size: batches are taken to be full"}
        return Discipline(slots=slots), why
    queue, waiting = _best(run, [Discipline(slots=slots) for slots in SLOTS])
    shares, sharing = _best(run, [Discipline(slots=math.ceil(share), shared=share) for share in SHARES])
    words = f"a queue before {queue.slots} at once ({_off(waiting)})"
    other = f"all at once, {shares.shared:g} of them as fast as one alone ({_off(sharing)})"
    if sharing < waiting:
        queue, words, other = shares, other, words
    count = sum(len(step.alone) for step in run.calm)
    lone = f"latencies of the {count} requests that were alone in it"
    few = f"latencies at {run.calm[0].rate:.4g} requests/s, where little waits"
    reasons = {
        "slots": f"fitted: {words} explains the measured latencies better than {other}",
        "service_s": lone if count >= FEW_REQUESTS else few,
    }
    return queue, reasons


def _best(run: StressRun, candidates: Sequence[Discipline]) -> tuple[Discipline, float]:
    """The first of the rising `candidates` that explains the run best, and how far off it is (see _misfit)."""
    best, least, worse = candidates[0], math.inf, 0
    for one in candidates:
        error = _misfit(run.service_s, one, run.calm)
        if error < least:
            best, least, worse = one, error, 0
        elif math.isfinite(error):
            worse += 1
            if worse == PATIENCE:
                break
    return best, least


def _off(error: float) -> str:
    return f"off by {math.expm1(error):.0%}" if math.isfinite(error) else "which could not take the load"


def backtests(run: StressRun, older: Sequence[StressRun] = ()) -> list[BackTest]:
    """Each rate predicted from the run's other rates, where two are left, and from the `older` runs alone, where there are any.

    Only rates below the knee, of enough requests.
    """
    tests = []
    for held_out in run.below_knee:
        others = tuple(step for step in run.below_knee if step is not held_out)
        if len(others) >= 2:
            left = StressRun(record=run.record, steps=others)
            tests.append(_predicted(held_out, discipline_of(left)[0], left.service_s, OTHER_RATES))
    if older:
        serves, service = discipline_of(older[-1])[0], tuple(chain.from_iterable(one.service_s for one in older))
        tests += [_predicted(step, serves, service, OLDER_RUNS) for step in run.below_knee]
    return [test for test in tests if test is not None]


def _predicted(step: Step, serves: Discipline, service: tuple[float, ...], source: str) -> BackTest | None:
    if len(step.latency_s) < FEW_REQUESTS:
        return None
    predicted = _quantiles(service, serves, step.rate)
    if predicted is None:
        return None
    return BackTest(
        rate=step.rate,
        measured_p95_s=float(np.quantile(step.latency_s, 0.95)),
        predicted_p95_s=predicted[1],
        requests=len(step.latency_s),
        below_knee=step.below_knee,
        source=source,
    )


def _step(row: Mapping[str, Any], columns: Mapping[str, Sequence[Any]], alone: Set[int], *, below_knee: bool) -> Step:
    mine = [place for place, step in enumerate(columns["step"]) if step == row["index"]]
    status = [columns["status"][place] for place in mine]
    chosen = [place for place in mine if columns["status"][place] == COMPLETED and columns["started"][place] is not None]

    def times(end: str, start: str) -> tuple[float, ...]:
        pairs = ((columns[end][place], columns[start][place]) for place in chosen)
        return tuple(float(last - first) for last, first in pairs if last is not None and first is not None)

    ends = [(columns["finished"][place], columns["first_token"][place], columns["tokens"][place]) for place in chosen]
    ended = sum(one not in (CANCELLED, PENDING) for one in status)
    return Step(
        rate=float(row["offered_rate"]),
        asked_rate=float(row["rate"] or row["offered_rate"]),
        latency_s=times("finished", "scheduled"),
        lag_s=times("sent", "scheduled"),
        alone=tuple(number for number, place in enumerate(chosen) if place in alone),
        service_s=times("finished", "started"),
        first_token_s=times("first_token", "started"),
        tpot_s=tuple(
            float(last - first) / (tokens - 1)
            for last, first, tokens in ends
            if tokens > 1 and None not in (last, first) and last > first
        ),
        output_tokens=tuple(float(columns["tokens"][place]) for place in chosen),
        ended=ended,
        failed=ended - status.count(COMPLETED),
        below_knee=below_knee,
        kept=bool(row["slo_met"]),
    )


def _misfit(service: tuple[float, ...], serves: Discipline, steps: Sequence[Step]) -> float:
    """Mean |ln(predicted / measured)| of p50 and p95 over the steps; infinite where the queue would have no steady state."""
    found = []
    for step in steps:
        predicted = _quantiles(service, serves, step.rate)
        if predicted is None:
            return math.inf
        for value, share in zip(predicted, (0.5, 0.95), strict=True):
            found.append(abs(math.log(value / float(np.quantile(step.latency_s, share)))))
    return float(np.mean(found))


@lru_cache(maxsize=1024)
def _quantiles(service: tuple[float, ...], serves: Discipline, rate: float) -> tuple[float, float] | None:
    """Predicted p50 and p95 of the latency at `rate`, in seconds; None without a steady state.

    Remembered, as a fit without one of the rates asks for the same of all others.
    """
    times = np.asarray(service)
    shard = Shard(replicas=1, slots=serves.slots, policy="random", shared=serves.shared)
    if rate * times.mean() / shard.capacity > STEADY:
        return None
    found = simulate(shard, np.full(LANES, rate), lambda rng, shape: rng.choice(times, size=shape), arrivals=ARRIVALS, seed=0)
    p50, p95 = np.quantile(found.latency_s, [0.5, 0.95])
    return float(p50), float(p95)
