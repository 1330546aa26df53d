"""Load on an endpoint: a server found running or started here, client processes, and what can be seen of both sides."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from lmbench.base.errors import Unavailable, WorkloadError
from lmbench.data.pretrained import smollm2_folder
from lmbench.load.artifacts import NOT_KEPT, artifacts_of
from lmbench.load.headroom import Headroom
from lmbench.load.http.client import api_key
from lmbench.load.http.clients import HttpTarget
from lmbench.load.http.endpoint import COMPLETIONS, Ask, Endpoint, head
from lmbench.load.null_server import null_server
from lmbench.load.ports import listener_pid
from lmbench.load.requests import RequestLog
from lmbench.load.server import PORT, ManagedServer, ServerSpec
from lmbench.load.shapes import HOLD, Step
from lmbench.load.steps import Capacity, StepSummary
from lmbench.load.targets import Pulse, Target, Watch, no_watch
from lmbench.measure.machine import usable_cpus
from lmbench.suite.options import EndpointOptions
from lmbench.suite.params import StressParams
from lmbench.workloads.asks import AWAY, Asks
from lmbench.workloads.context import Context
from lmbench.workloads.endpoint_seen import Seen, Sights, client_facts, server_metrics
from lmbench.workloads.serving import Observed, Unloaded

UNLOADED_S, LEAST_REQUESTS, MOST_REQUESTS = 30.0, 5, 30
"""Requests one after the other, before the load: at most this long, and about so many."""
MOST_PROCESSES = 4
"""Client processes of a run whose highest rate is not known ahead."""
FETCHED_MODEL = "{smollm2}"
ENOUGH_S = 3.0
PROBE_S, PROBE_STREAMS = 1.5, 64


class EndpointServing:
    """Open from before the server starts until it has ended."""

    def __init__(self, context: Context, params: StressParams, asks: Asks) -> None:
        self._context, self._params, self._asks = context, params, asks
        options = EndpointOptions.model_validate(dict(context.case.model.options))
        self.endpoint = endpoint_of(options)
        if not options.stream and params.slo is not None and (params.slo.ttft_s or params.slo.tpot_s):
            raise WorkloadError(
                "found an objective on tokens with stream: false; expected latency_s: only whole answers are seen then"
            )
        self._stack = ExitStack()
        self._target: HttpTarget | None = None
        self._headroom: Headroom | None = None
        self._lost: tuple[str, ...] = ()
        try:
            server = self._stack.enter_context(_served(context, options))
            if server is not None:
                self.endpoint = replace(self.endpoint, url=server.url)
                self._lost = (f"{NOT_KEPT}{server.problem}",) if server.problem else ()
            pid = listener_pid(self.endpoint.url) if server is None else server.pid
            self._sights = self._stack.enter_context(Sights(self.endpoint.url, pid, context.clock))
        except BaseException:
            self._stack.close()
            raise

    @property
    def capacity(self) -> Capacity:
        return Capacity(workers=None, cpus=usable_cpus())

    def unloaded(self) -> Unloaded:
        count = 1 if self._context.once else MOST_REQUESTS
        self._context.progress(f"stress: up to {count} requests to {self.endpoint.url}, one after the other")
        try:
            client = self._client(self.endpoint, processes=1, connections=1)
        except WorkloadError as error:
            raise self._silent(str(error)) from None
        with contextlib.closing(client) as target:
            began = self._context.clock.now()

            def enough(pulse: Pulse) -> str:
                settled = pulse.ended >= LEAST_REQUESTS and pulse.now_s - began >= ENOUGH_S
                return "enough" if settled or pulse.ended >= count else ""

            _closed_loop(target, UNLOADED_S, streams=1, watch=enough, now_s=began)
            target.settle(self._context.clock.now() + self._params.request_timeout_s)
            logs = target.logs()
        done = [log for log in logs if log.latency_s is not None]
        if not done:
            why = sorted({log.error or log.status for log in logs}) or ["no request was sent"]
            raise self._silent("; ".join(why))
        later = [log.latency_s for log in done[1:] if log.latency_s is not None] or [done[0].latency_s or 0.0]
        failed = len(logs) - len(done)
        notes = (f"{failed} of {len(logs)} requests failed before any load: {logs[-1].error}",) if failed else ()
        return Unloaded(
            latency_s=median(later),
            samples_s=tuple(later),
            first_call_s=done[0].latency_s,
            notes=notes,
            details={"n": len(later)},
        )

    def target(self, top_rate: float | None) -> Target:
        """Client processes enough for the top rate, by what one of them reaches against a server that answers at once."""
        processes = self._params.processes or 1
        if not self._context.once:
            self._headroom = self._probe(top_rate)
            if self._params.processes is None:
                needed = self._headroom.needed if top_rate is not None else MOST_PROCESSES
                processes = min(needed, self._headroom.cpus)
        self._target = self._client(self.endpoint, processes=processes, connections=PROBE_STREAMS)
        return self._target

    def cpu_s(self) -> float:
        return self._target.cpu_s if self._target is not None else 0.0

    def pulse(self) -> None:
        """The samplers run by themselves."""

    def step_done(self, index: int | None) -> None:
        self._sights.step_done(index)

    def observed(self, logs: Sequence[RequestLog], top: StepSummary) -> Observed:
        target = self._target
        if target is None:
            return Observed()
        rate = _top_rate(logs)
        headroom = None if self._headroom is None or rate is None else replace(self._headroom, top_rate=rate)
        seen = Seen(
            headroom=headroom,
            step_cpu_s=dict(target.step_cpu_s),
            reopened=target.reopened,
            retried=target.retried,
            retries=self._params.retries,
        )
        client, invalid = client_facts(logs, seen)
        server = self._sights.server(top.run.step.start_s, top.run.settled_s)
        repeats = (f"{seen.retried} attempts were repeats: failures behind them are not counted",) if seen.retried else ()
        return Observed(
            evidence={**server.evidence, "client_cpu_utilization": _share_of(client, top.run.step.index)},
            details={"client": client, "server": server.details},
            metrics=server_metrics(server),
            notes=_invalid_note(invalid) + repeats + self._lost,
            memory=server.memory,
            invalid=invalid,
        )

    def close(self) -> None:
        self._stack.close()

    def _probe(self, top_rate: float | None) -> Headroom:
        """What one client process reaches when the server costs nothing."""
        tokens = self._asks.longest_output
        self._context.progress("stress: measuring what the client itself can do, against a server that answers at once")
        with null_server(tokens, self._context.clock, self._context.progress) as url:
            silent = replace(self.endpoint, url=url, api_key_env=None, verify_tls=True)
            # This server answers every request alike, so all of them ask for the longest answer.
            client = self._client(silent, processes=1, connections=PROBE_STREAMS, most_tokens=tokens)
            with contextlib.closing(client) as target:
                now = self._context.clock.now()
                _closed_loop(target, PROBE_S, streams=PROBE_STREAMS, watch=no_watch, now_s=now)
                target.settle(self._context.clock.now() + PROBE_S)
                done = sum(log.completed for log in target.logs())
                cpu = sum(target.step_cpu_s.get(0, ()))
        if not done or not cpu > 0:
            raise WorkloadError("found that the client reached nothing against its own server; expected thousands of requests")
        return Headroom(
            reached_rate=done / PROBE_S,
            cpu_s_per_request=cpu / done,
            processes=1,
            top_rate=top_rate or done / PROBE_S,
            cpus=max(1, int(usable_cpus())),
        )

    def _silent(self, why: str) -> WorkloadError:
        return WorkloadError(
            f"found no answer from {self.endpoint.url} ({why}); expected {self.endpoint.api} to be served there for model "
            f"{self.endpoint.model!r}; correct url, name, api or the key"
        )

    def _client(self, endpoint: Endpoint, *, processes: int, connections: int, most_tokens: int | None = None) -> HttpTarget:
        def longest(index: int) -> Ask:
            ask = self._ask(index)
            return ask if most_tokens is None else replace(ask, max_tokens=most_tokens)

        return HttpTarget(
            endpoint,
            longest,
            clock=self._context.clock,
            processes=processes,
            connections=connections,
            timeout_s=self._params.request_timeout_s,
            retries=self._params.retries,
            seed=self._context.case.seed,
        )

    def _ask(self, index: int) -> Ask:
        return Ask(prompt=self._asks.written(index), max_tokens=self._asks.output_tokens(index))


def endpoint_of(options: EndpointOptions) -> Endpoint:
    """Where requests go; a port still to be chosen stands as 1. What cannot work fails here, before a server is started for it.

    Raises WorkloadError for options that no request can be made of, and Unavailable without the key they name.
    """
    if PORT in options.url and options.server is None:
        raise WorkloadError(f"found url {options.url!r} and no server to start; expected a number in place of {PORT}")
    if options.token_ids and options.api != COMPLETIONS:
        raise WorkloadError(f"found token_ids with the {options.api} API, which takes text; expected api: {COMPLETIONS}")
    try:
        endpoint = Endpoint(
            url=options.url.replace(PORT, "1"),
            api=options.api,
            model=placed(options.name),
            stream=options.stream,
            api_key_env=options.api_key_env,
            extra=options.body,
            verify_tls=options.verify_tls,
        )
        head(endpoint, api_key(endpoint))
    except ValueError as error:
        raise WorkloadError(str(error)) from None
    return endpoint


def _closed_loop(target: HttpTarget, seconds: float, *, streams: int, watch: Watch, now_s: float) -> None:
    step = Step(index=0, kind=HOLD, rate=0.0, start_s=now_s + target.lead_s, duration_s=seconds, streams=streams)
    target.send([], step, first_index=AWAY, watch=watch)


@contextlib.contextmanager
def _served(context: Context, options: EndpointOptions) -> Iterator[ManagedServer | None]:
    """The server the options ask for, while it runs; None when it runs already."""
    if options.server is None:
        yield None
        return
    asked = options.server
    if shutil.which(asked.command[0]) is None:
        raise Unavailable(f"found no program {asked.command[0]!r} to start the server with", "install it, or put it on PATH")
    log = None
    if context.artifacts is not None:
        log = artifacts_of(context.case, context.artifacts).partial_server_log
    spec = ServerSpec(
        command=tuple(placed(argument) for argument in asked.command),
        url=options.url,
        ready=asked.ready,
        env=asked.env,
        cwd=None if asked.cwd is None else Path(asked.cwd),
        log=log,
        timeout_s=asked.timeout_s,
    )
    with ManagedServer(spec, context.clock, context.progress) as server:
        yield server


def placed(text: str) -> str:
    """`text` with '{smollm2}' filled in by the folder of the fetched model."""
    if FETCHED_MODEL not in text:
        return text
    folder = smollm2_folder()
    if folder is None:
        raise Unavailable("SmolLM2-135M is not in the cache", "run `lmbench fetch smollm2`")
    return text.replace(FETCHED_MODEL, str(folder))


def _top_rate(logs: Sequence[RequestLog]) -> float | None:
    """The highest mean rate of any step, from its requests' moments; None with fewer than two in every step."""
    rates = []
    for index in {log.request.step for log in logs}:
        moments = [log.request.scheduled_s for log in logs if log.request.step == index]
        if len(moments) > 1 and max(moments) > min(moments):
            rates.append((len(moments) - 1) / (max(moments) - min(moments)))
    return max(rates, default=None)


def _invalid_note(invalid: Mapping[int, str]) -> tuple[str, ...]:
    """Which steps' latencies are the client's, and why the first of them are."""
    if not invalid:
        return ()
    places = ", ".join(str(index + 1) for index in invalid)
    return (f"latencies are invalid in step{'s' if len(invalid) > 1 else ''} {places}: {next(iter(invalid.values()))}",)


def _share_of(client: Mapping[str, Any], step: int) -> float | None:
    """The CPU share of the busiest client process in a step."""
    share: float | None = next((one["cpu_share"] for one in client["steps"] if one["step"] == step), None)
    return share
