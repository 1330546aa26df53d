"""The HTTP target: a step's schedule split over client processes, their logs put together again."""

from __future__ import annotations

import contextlib
import selectors
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from lmbench.base.errors import WorkerError, WorkloadError
from lmbench.base.signals import waiting_signals
from lmbench.load.http.bodies import CHUNK, Shelf
from lmbench.load.http.client import api_key
from lmbench.load.http.columns import batch
from lmbench.load.http.course import Course
from lmbench.load.http.endpoint import Ask, Endpoint
from lmbench.load.http.ledger import Ledger
from lmbench.load.http.process import ClientProcess
from lmbench.load.http.session import STOCK
from lmbench.load.requests import RequestLog
from lmbench.load.shapes import Step
from lmbench.load.targets import PULSE_S, Pulse, Sent, Watch
from lmbench.measure.clock import Clock

START_S = 60.0
"""How long client processes may take to start and to open their connections."""
LEAD_S = 0.1
"""The schedule and the first bodies must be with the client processes before the first request is due."""
GRACE_S = 10.0
"""How long a client process may be silent after the end of a step, or after it was told to cancel."""


class HttpTarget:
    """Sends to `endpoint` from `processes` client processes; request k asks `bodies(k)`, which depends on k alone.

    `connections` are opened ahead, in all; more are opened when they are needed, and none is ever waited for. Request k of an
    open loop goes to process k mod `processes`. A closed loop's streams are split over them; its numbers are made dense when
    it is over, so that with several processes a few requests carry the body of a neighbouring number.

    Raises WorkloadError when the endpoint cannot be reached at the start, and WorkerError when a client process dies: what it
    held is then failed, `logs` and `close` still answer. Call `close` in a `finally`.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of the user
        self,
        endpoint: Endpoint,
        bodies: Callable[[int], Ask],
        *,
        clock: Clock,
        processes: int = 1,
        connections: int = 64,
        timeout_s: float = 600.0,
        retries: int = 0,
        seed: int = 0,
    ) -> None:
        if not (processes >= 1 and connections >= 0 and timeout_s > 0 and retries >= 0):
            found = f"processes {processes}, connections {connections}, timeout_s {timeout_s}, retries {retries}"
            raise ValueError(f"found {found}; expected at least 1, at least 0, above 0 and at least 0")
        api_key(endpoint)  # a missing key is noticed here, not in another process
        self._clock, self._seed = clock, seed
        self._shelf, self._ledger = Shelf(endpoint, bodies), Ledger()
        self._course: Course | None = None
        self._deaths: list[str] = []
        self._selector = selectors.DefaultSelector()
        self._processes: list[ClientProcess] = []
        self._alive: list[ClientProcess] = []
        self.step_cpu_s: dict[int, tuple[float, ...]] = {}
        """CPU seconds that each client process spent on a step, by the step's index."""
        plain = asdict(replace(endpoint, headers=dict(endpoint.headers), extra=dict(endpoint.extra)))
        opening = {"do": "open", "endpoint": plain, "timeout_s": timeout_s, "retries": retries}
        try:
            for number in range(processes):
                process = ClientProcess(number)
                self._processes.append(process)
                self._alive.append(process)
                self._selector.register(process, selectors.EVENT_READ)
                self._tell(process, opening | {"connections": len(range(number, connections, processes))})
            self._shelf.prepare(0)
            self._await_ready()
        except BaseException:
            self._kill()
            raise

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all client processes so far."""
        return sum(process.cpu_s for process in self._processes)

    @property
    def reopened(self) -> int:
        """Requests written again because a kept connection had closed before any byte of a reply."""
        return sum(process.reopened for process in self._processes)

    @property
    def retried(self) -> int:
        """Attempts beyond the first, over all requests."""
        return sum(process.retried for process in self._processes)

    @property
    def pids(self) -> tuple[int, ...]:
        """The client processes, for whoever samples them."""
        return tuple(process.pid for process in self._processes)

    @property
    def lead_s(self) -> float:
        return LEAD_S

    def send(self, schedule: Sequence[float], step: Step, *, first_index: int, watch: Watch) -> Sent:
        self._check()
        stride = len(self._processes) if step.streams is None else max(1, min(len(self._processes), step.streams))
        course = Course(step=step, first=first_index, stride=stride, schedule=schedule, shipped=[0] * stride)
        self._course = course
        self._begin(course)
        cut = self._attend(course, watch)
        self._course = None
        sent = [process.sent for process in self._processes[:stride]]
        if step.streams is not None or cut:  # processes that stop at different moments leave gaps in the numbers
            self._ledger.close_gaps(step.index, first_index, sent)
        self._check()
        self.step_cpu_s[step.index] = tuple(process.step_cpu_s for process in self._processes[:stride])
        self._shelf.prepare(first_index + sum(sent))
        offered = len(schedule) if step.streams is None else sum(sent)
        return Sent(
            offered=offered,
            sent=sum(sent),
            queue_depth_max=None,
            queue_depth_end=None,
            cut=cut,
            cut_s=self._clock.now() if cut else None,
        )

    def settle(self, until: float) -> bool:
        while any(process.open for process in self._processes):
            left = until - self._clock.now()
            if left <= 0:
                return False
            self._listen(left)
        self._check()
        return True

    def logs(self) -> tuple[RequestLog, ...]:
        return self._ledger.logs()

    def take_fresh(self) -> list[RequestLog]:
        return self._ledger.take_fresh()

    def close(self) -> None:
        for process in self._alive:
            process.done = False
            self._tell(process, {"do": "cancel"})
        try:
            give_up_at = self._clock.now() + GRACE_S
            while not all(process.done for process in self._alive) and (left := give_up_at - self._clock.now()) > 0:
                self._listen(left)
        finally:
            for process in self._alive:
                reason = f"client process {process.number} was ended before it told what became of this request"
                self._ledger.fail(process.number, reason, self._clock.now())
            if (course := self._course) is not None and course.step.streams is not None:  # it was interrupted
                sent = [process.sent for process in self._processes[: course.stride]]
                self._ledger.close_gaps(course.step.index, course.first, sent)
                self._course = None
            self._kill()

    def _begin(self, course: Course) -> None:
        active = self._processes[: course.stride]
        for process in active:
            process.done, process.sent = False, 0
            self._tell(process, {"do": "step", "part": course.part(process.number, self._seed)})
        for count in (CHUNK, STOCK - CHUNK):
            for process in active:
                self._ship(process, count)

    def _attend(self, course: Course, watch: Watch) -> str:
        """Listen until every process is over; why the step was cut, or an empty string."""
        active = self._processes[: course.stride]
        cut, look_at, give_up_at = "", self._clock.now() + PULSE_S, course.step.end_s + GRACE_S
        while not all(process.done for process in active):
            self._listen(max(0.0, min(look_at, give_up_at) - self._clock.now()))
            now = self._clock.now()
            if now >= give_up_at:
                self._deaths += [f"client process {one.number} did not end its step in time" for one in active if not one.done]
                break
            if cut or (now < look_at and not self._deaths):
                continue
            look_at = now + PULSE_S
            cut = "; ".join(self._deaths) or watch(self._pulse(course, now))
            if cut:
                look_at, give_up_at = give_up_at, now + GRACE_S
                for process in active:
                    self._tell(process, {"do": "cut"})
        return cut

    def _pulse(self, course: Course, now: float) -> Pulse:
        return Pulse(
            now_s=now,
            sent=sum(process.sent for process in self._processes[: course.stride]),
            ended=course.ended,
            in_flight=sum(process.open for process in self._processes),
            latency_s=course.take_latency(),
        )

    def _listen(self, wait_s: float) -> None:
        """Wait in the kernel, `wait_s` at most, for something to be told, and take note of it."""
        ready = self._selector.select(wait_s)
        with waiting_signals():  # what was read from a pipe and not taken note of would be lost
            for key, _ in ready:
                process = key.fileobj
                assert isinstance(process, ClientProcess)  # noqa: S101 - only these are registered
                try:
                    events = process.events()
                except WorkerError as error:
                    self._bury(process, str(error))
                    continue
                for event in events:
                    self._heed(process, event)

    def _heed(self, process: ClientProcess, event: dict[str, Any]) -> None:
        match event["event"]:
            case "ready":
                process.done = True
            case "failed":
                raise WorkloadError(f"client process {process.number} cannot begin: {event['error']}")
            case "want":
                if self._course is not None and self._course.step.index == event["step"]:
                    self._ship(process, event["count"])
            case told:
                found = batch(event)
                self._ledger.take(process.number, found)
                if self._course is not None:
                    self._course.note(found)
                process.open, process.cpu_s = event["open"], event["cpu_s"]
                if self._course is not None and self._course.step.index == event["step"]:  # else it is of the step before
                    process.sent, process.step_cpu_s = event["sent"], event["step_cpu_s"]
                process.reopened, process.retried = event["reopened"], event["retried"]
                process.done = process.done or told == "over"

    def _ship(self, process: ClientProcess, count: int) -> None:
        course = self._course
        assert course is not None  # noqa: S101 - bodies are shipped only while a step is sent
        shipped = course.shipped[process.number]
        count = course.left(process.number, count)
        course.shipped[process.number] += count
        for message in self._shelf.messages(course.first + process.number + shipped * course.stride, course.stride, count):
            self._tell(process, message)

    def _await_ready(self) -> None:
        give_up_at = self._clock.now() + START_S
        while not all(process.done for process in self._processes):
            left = give_up_at - self._clock.now()
            if left <= 0:
                raise WorkloadError(f"no client process was ready after {START_S:g} s; is the endpoint taking connections?")
            self._listen(left)
        self._check()

    def _tell(self, process: ClientProcess, command: dict[str, Any]) -> None:
        with contextlib.suppress(WorkerError):  # its end shows where it is listened to, after what it still had to say
            process.say(command)

    def _bury(self, process: ClientProcess, error: str) -> None:
        """Account for everything a dead process held, also for what it may have sent without having told."""
        now = self._clock.now()
        self._selector.unregister(process)
        self._alive.remove(process)
        self._deaths.append(error)
        if (course := self._course) is not None and process.number < course.stride:
            self._ledger.fail_unknown(course.due(process.number, now), process.number)
        self._ledger.fail(process.number, error, now)
        process.done, process.open = True, 0

    def _check(self) -> None:
        if self._deaths:
            raise WorkerError("; ".join(self._deaths))

    def _kill(self) -> None:
        self._alive.clear()
        for process in self._processes:
            process.kill()
        self._selector.close()
