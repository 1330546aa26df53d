"""The in-process target with real threads: order, rejection, failures, drain; counts and states, never durations."""

from __future__ import annotations

import threading

from lmbench.load.requests import COMPLETED, FAILED, REJECTED, Request, accounts
from lmbench.load.targets import InProcess, Reply
from lmbench.measure.clock import CLOCK

LONG_S = 60.0


def request(index: int) -> Request:
    now = CLOCK.now()
    return Request(index=index, step=0, scheduled_s=now, sent_s=now)


def at_once(one: Request) -> Reply:
    del one
    return Reply(first_token_s=CLOCK.now(), finished_s=CLOCK.now(), tokens=2)


def test_requests_are_served_in_order() -> None:
    served: list[int] = []

    def serve(one: Request) -> Reply:
        served.append(one.index)
        return at_once(one)

    target = InProcess(serve, CLOCK, workers=1, queue_limit=100)
    for index in range(50):
        target.submit(request(index))
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    assert served == list(range(50))
    assert target.queue_depth == 0
    for one in target.logs():
        assert one.status == COMPLETED
        assert one.request.sent_s <= (one.started_s or 0) <= (one.first_token_s or 0) <= (one.finished_s or 0)


def test_workers_serve_at_the_same_time() -> None:
    together = threading.Barrier(3)

    def serve(one: Request) -> Reply:
        together.wait(LONG_S)
        return at_once(one)

    target = InProcess(serve, CLOCK, workers=3, queue_limit=100)
    for index in range(6):
        target.submit(request(index))
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    assert accounts(target.logs()).completed == 6


def test_an_exception_makes_a_failed_request_with_its_reason() -> None:
    def serve(one: Request) -> Reply:
        if one.index % 2:
            raise RuntimeError(f"no answer for {one.index}")
        return at_once(one)

    target = InProcess(serve, CLOCK, workers=2, queue_limit=100)
    for index in range(10):
        target.submit(request(index))
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    counts = accounts(target.logs())
    assert (counts.completed, counts.failed) == (5, 5)
    assert target.logs()[3].error == "RuntimeError: no answer for 3"


def test_a_full_queue_rejects_and_closing_drops_what_waits() -> None:
    running, release = threading.Event(), threading.Event()

    def serve(one: Request) -> Reply:
        running.set()
        release.wait(LONG_S)
        return at_once(one)

    target = InProcess(serve, CLOCK, workers=1, queue_limit=2)
    target.submit(request(0))
    assert running.wait(LONG_S)
    for index in range(1, 5):
        target.submit(request(index))
    assert target.queue_depth == 2
    assert not target.settle(CLOCK.now())
    closer = threading.Thread(target=target.close)
    closer.start()
    while target.queue_depth:
        assert not target.settle(CLOCK.now() + 0.01)
    release.set()
    closer.join(LONG_S)
    assert [one.status for one in target.logs()] == [COMPLETED, FAILED, FAILED, REJECTED, REJECTED]
    assert "still waiting" in target.logs()[1].error
    assert "the queue holds 2" in target.logs()[3].error
    assert accounts(target.logs()).sent == 5
