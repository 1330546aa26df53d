"""The in-process service with real threads: order, batches, rejection, failures, drain; counts and states, never durations."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lmbench.load.in_process import Batching, InProcess, Reply
from lmbench.load.requests import CANCELLED, COMPLETED, FAILED, REJECTED, Request, RequestLog, accounts
from lmbench.measure.clock import CLOCK

LONG_S = 600.0


def request(index: int) -> Request:
    now = CLOCK.now()
    return Request(index=index, step=0, scheduled_s=now, sent_s=now)


def at_once(batch: Sequence[Request]) -> list[Reply]:
    return [Reply(token_times_s=(CLOCK.now(), CLOCK.now())) for _ in batch]


def test_requests_are_served_in_order() -> None:
    served: list[int] = []

    def serve(batch: Sequence[Request]) -> list[Reply]:
        served.append(batch[0].index)
        return at_once(batch)

    target = InProcess(serve, CLOCK, threads=ThreadPoolExecutor(1), queue_limit=100)
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

    def serve(batch: Sequence[Request]) -> list[Reply]:
        together.wait(LONG_S)
        return at_once(batch)

    target = InProcess(serve, CLOCK, threads=ThreadPoolExecutor(3), queue_limit=100)
    for index in range(6):
        target.submit(request(index))
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    assert accounts(target.logs()).completed == 6


def test_an_exception_makes_a_failed_request_with_its_reason() -> None:
    def serve(batch: Sequence[Request]) -> list[Reply]:
        if batch[0].index % 2:
            raise RuntimeError(f"no answer for {batch[0].index}")
        return at_once(batch)

    target = InProcess(serve, CLOCK, threads=ThreadPoolExecutor(2), queue_limit=100)
    for index in range(10):
        target.submit(request(index))
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    counts = accounts(target.logs())
    assert (counts.completed, counts.failed) == (5, 5)
    assert target.logs()[3].error == "RuntimeError: no answer for 3"


def test_a_full_queue_rejects_and_closing_drops_what_waits() -> None:
    running, release = threading.Event(), threading.Event()

    def serve(batch: Sequence[Request]) -> list[Reply]:
        running.set()
        release.wait(LONG_S)
        return at_once(batch)

    target = InProcess(serve, CLOCK, threads=ThreadPoolExecutor(1), queue_limit=2)
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
    assert [one.status for one in target.logs()] == [COMPLETED, CANCELLED, CANCELLED, REJECTED, REJECTED]
    assert "still waiting" in target.logs()[1].error
    assert "the queue holds 2" in target.logs()[3].error
    assert accounts(target.logs()).sent == 5


def test_batches_are_filled_with_requests_alike_and_no_larger_than_declared() -> None:
    first, release = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def serve(batch: Sequence[Request]) -> list[Reply]:
        batches.append([one.index for one in batch])
        first.set()
        release.wait(LONG_S)
        return at_once(batch)

    batching = Batching(max_size=3, alike=lambda one: one.index == 6)
    target = InProcess(serve, CLOCK, threads=ThreadPoolExecutor(1), queue_limit=100, batching=batching)
    target.submit(request(0))
    assert first.wait(LONG_S)
    for index in range(1, 9):
        target.submit(request(index))
    release.set()
    assert target.settle(CLOCK.now() + LONG_S)
    target.close()
    assert batches == [[0], [1, 2, 3], [4, 5], [6], [7, 8]]
    assert accounts(target.logs()).completed == 9
    assert target.logs()[1].started_s == target.logs()[3].started_s


def test_a_batch_waits_for_company_and_every_end_is_given_once() -> None:
    def serve(batch: Sequence[Request]) -> list[Reply]:
        return at_once(batch[:2])

    target = InProcess(
        serve, CLOCK, threads=ThreadPoolExecutor(1), queue_limit=100, batching=Batching(max_size=3, max_wait_s=LONG_S)
    )
    ended: list[RequestLog] = []
    for index in range(3):
        target.submit(request(index))
    while len(ended) < 3:
        target.wait_ended(CLOCK.now() + LONG_S)
        ended += target.take_ended()
    target.close()
    assert [one.status for one in sorted(ended, key=lambda log: log.request.index)] == [COMPLETED, COMPLETED, FAILED]
    assert ended[-1].error == "no reply was given"
    assert target.take_ended() == []
