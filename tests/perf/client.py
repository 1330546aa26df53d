"""How fast and how truthful the HTTP client is, beside a bare aiohttp loop, a naive client and the server's own log.

    python -m tests.perf.client speed --seconds 5 --rounds 7
    python -m tests.perf.client truth --seconds 30
    python -m tests.perf.client omission --seconds 20

speed: 64 streams against the compiled server without latency; ours stamps and parses every token, aiohttp parses nothing.
truth: Poisson arrivals at 100 requests/s to a server of known latency that keeps its own log; a usual 40-line client beside it.
omission: a server that stops for 200 ms every 2 s at 200 requests/s, against the exact answer and what a closed loop would say.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lmbench.load.http.clients import HttpTarget
from lmbench.load.http.endpoint import Ask, Endpoint, body
from lmbench.load.requests import RequestLog, accounts
from lmbench.load.shapes import HOLD, Step
from lmbench.load.targets import no_watch
from lmbench.measure.clock import CLOCK

STREAMS, TOKENS = 64, 16
RATE, TTFT_S, TPOT_S = 100.0, 0.02, 0.005
FREEZE_S, FREEZE_EVERY_S, FREEZE_RATE = 0.2, 2.0, 200.0
SOURCE = Path(__file__).parents[1] / "load" / "http" / "zero_server.c"


def endpoint(port: int) -> Endpoint:
    return Endpoint(url=f"http://127.0.0.1:{port}", model="m")


def ask(index: int) -> Ask:
    return Ask(prompt=f"request {index}", max_tokens=TOKENS)


@contextmanager
def listening(command: Sequence[str | Path]) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server that prints its port first and ends with its standard input."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def scripted(log: Path | None = None, **options: float) -> Iterator[int]:
    command: list[str | Path] = [sys.executable, "-m", "tests.load.http.serving"]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    with listening([*command, *(("--log", log) if log else ())]) as (port, _):
        yield port


@contextmanager
def clients(port: int, connections: int) -> Iterator[HttpTarget]:
    target = HttpTarget(endpoint(port), ask, clock=CLOCK, connections=connections, timeout_s=30.0)
    try:
        yield target
    finally:
        target.close()


def carry_out(target: HttpTarget, offsets: Sequence[float], seconds: float, **closed: Any) -> tuple[RequestLog, ...]:
    """The logs of one step, all of whose requests must be accounted for."""
    step = Step(index=0, kind=HOLD, rate=0.0, start_s=CLOCK.now() + target.lead_s, duration_s=seconds, **closed)
    target.send(offsets, step, first_index=0, watch=no_watch)
    target.settle(CLOCK.now() + 30)
    target.close()
    logs = target.logs()
    counts = accounts(logs)
    if counts.completed != counts.sent:
        print("  not all completed:", counts, {log.error for log in logs} - {""})
    return logs


# --- speed ---------------------------------------------------------------------------------------------------------------------


def ours(port: int, seconds: float, cpu: int | None) -> dict[str, float]:
    with clients(port, STREAMS) as target:
        if cpu is not None:
            os.sched_setaffinity(target.pids[0], {cpu})
        logs = carry_out(target, (), seconds, streams=STREAMS)
        assert all(len(log.token_times_s) == TOKENS for log in logs)
        span = max(log.finished_s or 0.0 for log in logs) - logs[0].request.scheduled_s
        return {"rate": len(logs) / span, "cpu_us": target.step_cpu_s[0][0] / len(logs) * 1e6}


async def bare(port: int, seconds: float) -> dict[str, float]:
    """As little as one can do with aiohttp: post, read the body to its end, look at nothing."""
    import aiohttp

    data = body(endpoint(port), ask(0)).encode()
    url, headers = f"http://127.0.0.1:{port}/v1/completions", {"Content-Type": "application/json"}
    done = 0
    begun, cpu = CLOCK.now(), time.process_time()

    async def stream(session: aiohttp.ClientSession) -> None:
        nonlocal done
        while CLOCK.now() < begun + seconds:
            async with session.post(url, data=data, headers=headers) as response:
                async for _ in response.content.iter_any():
                    pass
            done += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(stream(session) for _ in range(STREAMS)))
    span = CLOCK.now() - begun
    return {"rate": done / span, "cpu_us": (time.process_time() - cpu) / done * 1e6}


def theirs(port: int, seconds: float, cpu: int | None) -> dict[str, float]:
    """`bare` in a process of its own, as ours is."""
    command = [sys.executable, "-m", "tests.perf.client", "bare", "--port", str(port), "--seconds", str(seconds)]
    command += [] if cpu is None else ["--cpu", str(cpu)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def speed(seconds: float, rounds: int, *, pin: bool) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        print("speed: gcc is not installed; it builds the server without latency")
        return
    cpus = sorted(os.sched_getaffinity(0))
    cpu = cpus[-1] if pin and len(cpus) > 1 else None
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "zero_server")
        subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
        for mode in ("together", "apart"):
            with listening([program, mode]) as (port, server):
                if cpu is not None:
                    os.sched_setaffinity(server.pid, set(cpus) - {cpu})
                    os.sched_setaffinity(0, set(cpus) - {cpu})
                compare(mode, [(ours(port, seconds, cpu), theirs(port, seconds, cpu)) for _ in range(rounds)])
                os.sched_setaffinity(0, cpus)


def compare(mode: str, rounds: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]) -> None:
    print(f"speed, the {TOKENS} tokens of a reply written {mode}:")
    for mine, other in rounds:
        print(
            f"  ours {mine['rate']:8.0f} /s {mine['cpu_us']:6.1f} us   aiohttp {other['rate']:8.0f} /s {other['cpu_us']:6.1f} us",
            end="",
        )
        print(f"   ratio {mine['rate'] / other['rate']:.2f}, CPU {mine['cpu_us'] / other['cpu_us']:.2f}")
    rate = float(np.median([mine["rate"] / other["rate"] for mine, other in rounds]))
    cost = float(np.median([mine["cpu_us"] / other["cpu_us"] for mine, other in rounds]))
    print(f"  median ratio of requests/s {rate:.2f}, of CPU per request {cost:.2f}")


# --- truth ---------------------------------------------------------------------------------------------------------------------


async def naive(port: int, offsets: Sequence[float]) -> dict[int, tuple[float, float]]:
    """The client everybody writes: a task per request, a stamp per line once it has been read and parsed."""
    import aiohttp

    found: dict[int, tuple[float, float]] = {}
    url = f"http://127.0.0.1:{port}/v1/completions"

    async def one(session: aiohttp.ClientSession, index: int) -> None:
        asked = {"model": "m", "prompt": ask(index).prompt, "max_tokens": TOKENS, "stream": True}
        begun, times = time.perf_counter(), []
        async with session.post(url, json=asked) as response:
            async for line in response.content:
                data = line.decode().strip()
                if data.startswith("data: ") and data != "data: [DONE]":
                    choices = json.loads(data[6:])["choices"]
                    if choices and choices[0]["text"]:
                        times.append(time.perf_counter())
        found[index] = (times[0] - begun, (times[-1] - times[0]) / (len(times) - 1))

    async with aiohttp.ClientSession() as session:
        begun, tasks = time.perf_counter(), []
        for index, offset in enumerate(offsets):
            await asyncio.sleep(max(0.0, begun + offset - time.perf_counter()))
            tasks.append(asyncio.create_task(one(session, index)))
        await asyncio.gather(*tasks)
    return found


def with_ours(port: int, offsets: Sequence[float]) -> dict[int, tuple[float, float]]:
    with clients(port, 16) as target:
        logs = carry_out(target, offsets, float(offsets[-1]) + 0.1)
    lag = percentiles([log.loop_lag_s or 0.0 for log in logs], (50, 99))
    print(f"  (our loop's lag p50 {lag[0]:.3f} ms, p99 {lag[1]:.3f} ms)")
    return {log.request.index: (log.ttft_s, log.tpot_s) for log in logs if log.ttft_s is not None and log.tpot_s is not None}


def with_naive(port: int, offsets: Sequence[float]) -> dict[int, tuple[float, float]]:
    import uvloop

    return uvloop.run(naive(port, offsets))


def truth(seconds: float) -> None:
    offsets = np.cumsum(np.random.default_rng(1).exponential(1 / RATE, round(RATE * seconds))).tolist()
    measure: dict[str, Callable[[int, Sequence[float]], dict[int, tuple[float, float]]]] = {
        "ours": with_ours,
        "naive": with_naive,
    }
    print(f"truth, {len(offsets)} requests at {RATE:g} /s; what the client says minus what the server's log says, in ms:")
    for name, run in measure.items():
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "truth.jsonl")
            with scripted(log, ttft_s=TTFT_S, tpot_s=TPOT_S, tokens=TOKENS) as port:
                said = run(port, offsets)
            facts = [json.loads(line) for line in log.read_text().splitlines()]
        real = {int(fact["prompt"].split()[1]): fact for fact in facts}
        assert said.keys() <= real.keys()
        for place, what in enumerate(("TTFT", "TPOT")):
            told = [said[index][place] for index in said]
            known = [_truth(real[index])[place] for index in said]
            errors = [one - other for one, other in zip(told, known, strict=True)]
            row = zip(
                (50, 99), percentiles(known, (50, 99)), percentiles(told, (50, 99)), percentiles(errors, (50, 99)), strict=True
            )
            for quantile, true, claimed, error in row:
                print(
                    f"  {name:5} {what} p{quantile}: server {true:7.3f}, client {claimed:7.3f}, off by {claimed - true:+.3f}"
                    f" ({(claimed / true - 1):+.1%}); p{quantile} of the error per request {error:+.3f}"
                )


def _truth(fact: Mapping[str, Any]) -> tuple[float, float]:
    times = fact["token_times_s"]
    return times[0] - fact["received_s"], (times[-1] - times[0]) / (len(times) - 1)


# --- coordinated omission ------------------------------------------------------------------------------------------------------


def omission(seconds: float) -> None:
    periods = max(1, round(seconds / FREEZE_EVERY_S))
    seconds = periods * FREEZE_EVERY_S
    offsets = [k / FREEZE_RATE for k in range(round(FREEZE_RATE * seconds))]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "truth.jsonl")
        with scripted(log, tokens=2, freeze_s=FREEZE_S, freeze_every_s=FREEZE_EVERY_S) as port:
            with clients(port, 64) as target:
                logs = carry_out(target, offsets, seconds)
            with clients(port, 1) as target:
                closed = carry_out(target, (), seconds, streams=1, think_s=1 / FREEZE_RATE)
        facts = [json.loads(line) for line in log.read_text().splitlines()]
    stops = [(fact["begun_s"], fact["ended_s"]) for fact in facts if "begun_s" in fact]
    waits = [sum(end - log.request.scheduled_s for begin, end in stops if begin <= log.request.scheduled_s < end) for log in logs]
    wanted = (50.0, 90.0, 95.0, 99.0, 100.0)
    share = FREEZE_S / FREEZE_EVERY_S
    print(
        f"omission, the server stops {FREEZE_S:g} s every {FREEZE_EVERY_S:g} s, {periods} times, {FREEZE_RATE:g} requests/s; latency in ms:"
    )
    print("                        " + "".join(f"{'max' if quantile == 100 else f'p{quantile:g}':>9}" for quantile in wanted))
    rows = {
        "exact, as planned": [max(0.0, FREEZE_S * (1 - (1 - quantile / 100) / share)) * 1e3 for quantile in wanted],
        "exact, as it stopped": percentiles(waits, wanted),
        "ours, from scheduled": percentiles([log.latency_s or 0.0 for log in logs], wanted),
        "ours, from sent": percentiles([log.service_s or 0.0 for log in logs], wanted),
        "a closed loop of one": percentiles([log.latency_s or 0.0 for log in closed], wanted),
    }
    for name, values in rows.items():
        print(f"  {name:22}" + "".join(f"{value:9.2f}" for value in values))
    print("  (both exact rows are the wait for the end of a stop; service and the catching up after it come on top)")


def percentiles(seconds: Sequence[float], wanted: Sequence[float]) -> list[float]:
    """In milliseconds."""
    return [float(value) * 1e3 for value in np.percentile(np.array(seconds), wanted)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "truth", "omission", "all", "bare"), nargs="?", default="all")
    parser.add_argument("--seconds", type=float, help="of one round (speed: 5, truth: 30, omission: 20)")
    parser.add_argument("--rounds", type=int, default=5, help="of speed, per side")
    parser.add_argument("--no-pin", action="store_true", help="let client and server wander over the CPUs")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cpu", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.what == "bare":
        import uvloop

        if given.cpu is not None:
            os.sched_setaffinity(0, {given.cpu})
        print(json.dumps(uvloop.run(bare(given.port, given.seconds))))
    if given.what in ("speed", "all"):
        speed(given.seconds or 5.0, given.rounds, pin=not given.no_pin)
    if given.what in ("truth", "all"):
        truth(given.seconds or 30.0)
    if given.what in ("omission", "all"):
        omission(given.seconds or 20.0)


if __name__ == "__main__":
    main()
