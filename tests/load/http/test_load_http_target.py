"""Client processes: who sends what and when, cuts, deaths, and accounts that add up whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lmbench.base.errors import WorkerError, WorkloadError
from lmbench.load.http.clients import HttpTarget
from lmbench.load.http.endpoint import Ask, Endpoint
from lmbench.load.requests import CANCELLED, COMPLETED, FAILED, PENDING, RequestLog, accounts
from lmbench.load.shapes import HOLD, Step
from lmbench.load.targets import Pulse, no_watch
from lmbench.measure.clock import CLOCK
from tests.load.http.serving import Server

LONG_S = 600.0


@contextmanager
def target(port: int, prompt: Callable[[int], str] = "request {}".format, **options: Any) -> Iterator[HttpTarget]:
    endpoint = Endpoint(url=f"http://127.0.0.1:{port}", model="m")
    found = HttpTarget(endpoint, lambda k: Ask(prompt=prompt(k), max_tokens=16), clock=CLOCK, **{"connections": 4} | options)
    try:
        yield found
    finally:
        found.close()


def step(duration_s: float, *, index: int = 0, streams: int | None = None, think_s: float = 0.0) -> Step:
    start = CLOCK.now() + 0.05
    return Step(index=index, kind=HOLD, rate=0.0, start_s=start, duration_s=duration_s, streams=streams, think_s=think_s)


def check(logs: tuple[RequestLog, ...]) -> None:
    assert [log.request.index for log in logs] == list(range(len(logs)))
    accounts(logs)


@pytest.mark.parametrize("processes", [1, 3])
def test_an_open_loop_keeps_its_schedule_and_its_numbers(processes: int, server: tuple[int, Server]) -> None:
    offsets = [0.0, 0.0, 0.01, 0.02, 0.05, 0.1, 0.1, 0.15]
    with target(server[0], f"open{processes} {{}}".format, processes=processes) as clients:
        one = step(0.3)
        sent = clients.send(offsets, one, first_index=0, watch=no_watch)
        assert (sent.offered, sent.sent, sent.cut) == (8, 8, "")
        two = step(0.1, index=1)
        assert clients.send([0.0, 0.1], two, first_index=8, watch=no_watch).sent == 2
        assert clients.settle(CLOCK.now() + LONG_S)
        logs = clients.logs()
        check(logs)
        assert len(clients.step_cpu_s[0]) == processes
    assert [log.status for log in logs] == [COMPLETED] * 10
    assert [log.request.scheduled_s for log in logs[:8]] == [one.start_s + offset for offset in offsets]
    assert [log.request.step for log in logs] == [0] * 8 + [1] * 2
    for log in logs:
        assert log.request.scheduled_s <= log.request.sent_s <= (log.started_s or 0) <= (log.first_token_s or 0)
        assert (log.tokens, log.prompt_tokens, len(log.token_times_s)) == (4, 3, 4)
        assert log.loop_lag_s is not None
    asked = [call.prompt for call in server[1].calls if call.prompt.startswith(f"open{processes} ")]
    assert sorted(asked) == sorted(f"open{processes} {k}" for k in range(10))


def test_more_requests_than_are_kept_in_stock(zero: int) -> None:
    count = 3000
    with target(zero, processes=2) as clients:
        sent = clients.send([k / 4000 for k in range(count)], step(0.8), first_index=0, watch=no_watch)
        assert sent.sent == count
        assert clients.settle(CLOCK.now() + LONG_S)
        check(clients.logs())
        assert accounts(clients.logs()).completed == count


@pytest.mark.parametrize("processes", [1, 2])
def test_a_closed_loop_never_has_more_open_than_it_has_streams(processes: int, zero: int) -> None:
    with target(zero, processes=processes) as clients:
        first = clients.send([], step(0.3, streams=5), first_index=0, watch=no_watch)
        assert first.offered == first.sent > 5
        second = clients.send([], step(0.3, index=1, streams=1, think_s=0.02), first_index=first.sent, watch=no_watch)
        assert clients.settle(CLOCK.now() + LONG_S)
        logs = clients.logs()
        check(logs)
        assert len(logs) == first.sent + second.sent
    for streams, number in ((5, 0), (1, 1)):
        mine = [log for log in logs if log.request.step == number]
        ends = [(log.finished_s or 0.0, -1) for log in mine]
        changes = sorted([(log.request.sent_s, 1) for log in mine] + ends)
        open_now = 0
        for _, change in changes:
            open_now += change
            assert open_now <= streams
        assert all(log.request.scheduled_s <= log.request.sent_s for log in mine)


def test_a_watch_sees_totals_and_can_cut(server: tuple[int, Server]) -> None:
    seen: list[Pulse] = []

    def watch(pulse: Pulse) -> str:
        seen.append(pulse)
        return "enough" if pulse.ended >= 2 else ""

    with target(server[0]) as clients:
        sent = clients.send([0.0, 0.01, 0.02, 50.0], step(LONG_S), first_index=0, watch=watch)
        assert (sent.offered, sent.sent, sent.cut) == (4, 3, "enough")
        assert clients.settle(CLOCK.now() + LONG_S)
        check(clients.logs())
    assert seen[-1].sent == seen[-1].ended == 3
    assert any(pulse.latency_s is not None for pulse in seen)


def test_what_hangs_is_pending_until_closing_cancels_it(server: tuple[int, Server]) -> None:
    with target(server[0], lambda k: "hang" if k % 2 else "fine") as clients:
        clients.send([0.0, 0.0, 0.01, 0.01], step(0.1), first_index=0, watch=no_watch)
        while [log.status for log in clients.logs()].count(COMPLETED) < 2:
            assert not clients.settle(CLOCK.now() + 0.1)
        assert [log.status for log in clients.logs()] == [COMPLETED, PENDING, COMPLETED, PENDING]
        clients.close()
        assert [log.status for log in clients.logs()] == [COMPLETED, CANCELLED, COMPLETED, CANCELLED]
        check(clients.logs())


def test_a_time_out_is_counted_as_one(server: tuple[int, Server]) -> None:
    with target(server[0], lambda _: "hang", timeout_s=0.1) as clients:
        clients.send([0.0, 0.0], step(0.05), first_index=0, watch=no_watch)
        assert clients.settle(CLOCK.now() + LONG_S)
        assert accounts(clients.logs()).timed_out == 2


def test_every_fault_over_two_processes_is_accounted_for(server: tuple[int, Server]) -> None:
    modes = ["fine", "500", "429", "reset", "half-chunk", "garbage", "close-before", "hang", "bad-json", "together"]
    with target(server[0], lambda k: f"{modes[k % len(modes)]} {k}", processes=2, timeout_s=5.0) as clients:
        clients.send([k / 100 for k in range(30)], step(0.3), first_index=0, watch=no_watch)
        assert clients.settle(CLOCK.now() + LONG_S)
        check(clients.logs())
        counts = accounts(clients.logs())
    assert (counts.completed, counts.rejected, counts.timed_out, counts.failed) == (6, 3, 3, 18)


def test_a_client_process_that_dies_says_so_and_loses_nothing(server: tuple[int, Server]) -> None:
    with target(server[0], lambda k: "hang" if k % 2 else "fine", processes=2) as clients:

        def watch(pulse: Pulse) -> str:
            if pulse.ended >= 2 and pulse.sent - pulse.ended >= 2:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(clients.pids[1], signal.SIGKILL)
            return ""

        with pytest.raises(WorkerError, match=r"client process 1 was killed by SIGKILL"):
            clients.send([k / 50 for k in range(2000)], step(40.0), first_index=0, watch=watch)
        with pytest.raises(WorkerError, match="SIGKILL"):
            clients.send([0.0], step(0.1), first_index=2000, watch=no_watch)
        clients.close()
        logs = clients.logs()
    counts = accounts(logs)
    assert counts.failed > 0
    assert counts.completed > 0
    assert counts.completed + counts.failed == counts.sent
    assert all("SIGKILL" in log.error for log in logs if log.status == FAILED)


def test_an_endpoint_that_cannot_be_reached_is_noticed_at_the_start() -> None:
    with pytest.raises(WorkloadError, match="client process 0 cannot begin"), target(9):
        pass


PARENT = """
import sys
from lmbench.load.http.clients import HttpTarget
from lmbench.load.http.endpoint import Ask, Endpoint
from lmbench.load.shapes import HOLD, Step
from lmbench.load.targets import no_watch
from lmbench.measure.clock import CLOCK

endpoint = Endpoint(url=f"http://127.0.0.1:{sys.argv[1]}", model="m")
target = HttpTarget(endpoint, lambda k: Ask(prompt="hang", max_tokens=1), clock=CLOCK, processes=2)
try:
    print(*target.pids, flush=True)
    step = Step(index=0, kind=HOLD, rate=0.0, start_s=CLOCK.now(), duration_s=60.0)
    target.send([k / 10 for k in range(600)], step, first_index=0, watch=no_watch)
except KeyboardInterrupt:
    target.close()
    print(*{log.status for log in target.logs()}, flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_client_process_outlives_its_parent(end: signal.Signals, server: tuple[int, Server]) -> None:
    before = server[1].begun
    with subprocess.Popen([sys.executable, "-c", PARENT, str(server[0])], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        orphans = [int(word) for word in parent.stdout.readline().split()]
        assert len(orphans) == 2
        while server[1].begun == before:
            CLOCK.sleep_until(CLOCK.now() + 0.02)  # until something is on its way
        parent.send_signal(end)
        said = parent.stdout.read().split()
    assert said == ([] if end == signal.SIGKILL else [CANCELLED])
    give_up_at = CLOCK.now() + LONG_S
    while any(alive(pid) for pid in orphans) and CLOCK.now() < give_up_at:
        CLOCK.sleep_until(CLOCK.now() + 0.02)
    assert not any(alive(pid) for pid in orphans)


def test_no_client_process_outlives_its_target(server: tuple[int, Server]) -> None:
    with target(server[0], processes=2) as clients:
        pids = clients.pids
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
    clients.close()  # a second time is harmless


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
