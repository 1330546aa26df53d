"""What can be seen of an endpoint and of its client beside the answers: process tree, metrics, CPU time, lateness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from types import TracebackType
from typing import Any

from lmbench.load.headroom import VALID, ClientLoad, Headroom, client_verdict
from lmbench.load.requests import RequestLog
from lmbench.load.scrape import change, scrape
from lmbench.load.steps import tail_of, times
from lmbench.measure.clock import Clock
from lmbench.measure.machine import usable_cpus
from lmbench.measure.measurement import metric
from lmbench.measure.sampler import Sampler
from lmbench.measure.samples import summary

SERVER_HZ = 4.0
NOT_LOCAL = "the server's process is not on this machine, or may not be seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the client knows of itself. CPU seconds per step and client process."""

    headroom: Headroom | None
    step_cpu_s: Mapping[int, Sequence[float]]
    reopened: int
    retried: int
    retries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """How a server's own view joins the record."""

    details: Mapping[str, Any]
    evidence: Mapping[str, float | None]
    memory: tuple[tuple[float, float], ...]
    peak_rss_bytes: float | None


class Sights:
    """Open from when the server serves until the run is over: samples its process tree, scrapes its metrics by step."""

    def __init__(self, url: str, pid: int | None, clock: Clock) -> None:
        self._url, self._pid, self._clock = url, pid, clock
        self._stack = ExitStack()
        self._sampler: Sampler | None = None
        self._changes: list[dict[str, Any]] = []

    def __enter__(self) -> Sights:
        if self._pid is not None:
            self._sampler = self._stack.enter_context(Sampler(self._pid, hz=SERVER_HZ))
        self._last = scrape(self._url, self._clock)
        self._started_s = self._clock.now()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def step_done(self, index: int | None) -> None:
        """Keep what the server's counters did during the step."""
        if self._last.reason and self._changes:
            return  # it has none: one reason is enough
        now = scrape(self._url, self._clock)
        self._changes.append({"step": index, **change(self._last, now).to_json()})
        self._last = now

    def server(self, start_s: float, end_s: float) -> Sighting:
        """The server's side, its evidence from [start_s, end_s]; the sampler ends here."""
        if self._sampler is None:
            return Sighting(details={"reason": NOT_LOCAL, "metrics": self._changes}, evidence={}, memory=(), peak_rss_bytes=None)
        samples = self._sampler.stop()
        whole = summary(samples, start=self._started_s, end=self._clock.now())
        window = summary(samples, start=start_s, end=end_s).get("quantities", {})

        def mean(name: str) -> float | None:
            value: float | None = window.get(name, {}).get("mean")
            return value

        cores = mean("cpu_cores")
        stolen = mean("stolen_cores")
        return Sighting(
            details={"processes": whole, "metrics": self._changes},
            evidence={
                "server_cpu_utilization": None if cores is None else cores / usable_cpus(),
                "stolen_share": None if stolen is None else stolen / usable_cpus(),
                "memory_stall_share": mean("psi_memory_some_share"),
                "throttled_share": mean("throttled_share"),
            },
            memory=tuple((float(row["t"]), float(row["rss_bytes"])) for row in samples.rows if "rss_bytes" in row),
            peak_rss_bytes=whole.get("quantities", {}).get("rss_bytes", {}).get("max"),
        )


def client_facts(logs: Sequence[RequestLog], seen: Seen) -> tuple[dict[str, Any], dict[int, str]]:
    """The client's side as plain JSON, and the steps whose latencies are not to be believed, with the reason.

    Of a shape that was sent as one, the client's CPU share is the whole run's in every step.
    """
    by_step: dict[int, list[RequestLog]] = {}
    for log in logs:
        by_step.setdefault(log.request.step, []).append(log)
    whole = _cpu_share(logs, seen.step_cpu_s.get(0, ())) if len(seen.step_cpu_s) < len(by_step) else None
    steps = []
    invalid = {}
    for index, of_step in sorted(by_step.items()):
        share = whole if whole is not None else _cpu_share(of_step, seen.step_cpu_s.get(index, ()))
        load = _client_load(of_step, share)
        verdict = client_verdict(load)
        steps.append({"step": index, "verdict": verdict, **asdict(load)})
        if verdict != VALID:
            invalid[index] = verdict
    headroom = None if seen.headroom is None else {**asdict(seen.headroom), "verdict": seen.headroom.verdict}
    facts = {"headroom": headroom, "steps": steps, "reopened": seen.reopened, "retried": seen.retried, "retries": seen.retries}
    return facts, invalid


def server_metrics(sighting: Sighting) -> tuple[Any, ...]:
    """Metrics of the server's process tree."""
    peak = sighting.peak_rss_bytes
    return (metric("peak_rss_bytes", peak, reason="" if peak is not None else NOT_LOCAL),)


def _cpu_share(logs: Sequence[RequestLog], cpu_s: Sequence[float]) -> float | None:
    """CPU time of the busiest client process over the time in which these requests were sent."""
    if not logs or not cpu_s:
        return None
    sending_s = max(log.request.sent_s for log in logs) - min(log.request.scheduled_s for log in logs)
    return max(cpu_s) / sending_s if sending_s > 0 else None


def _client_load(logs: Sequence[RequestLog], cpu_share: float | None) -> ClientLoad:
    return ClientLoad(
        latency_p50_s=median(latencies) if (latencies := times(logs, lambda log: log.latency_s)) else None,
        sender_lag_p99_s=tail_of(times(logs, lambda log: log.request.sender_lag_s)),
        loop_lag_p99_s=tail_of(times(logs, lambda log: log.loop_lag_s)),
        cpu_share=cpu_share,
    )
