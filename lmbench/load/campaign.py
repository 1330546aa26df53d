"""A load run carried out: the steps of a shape against a target, each judged by the SLO, then the drain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from lmbench.load.arrivals import schedule_digest
from lmbench.load.plans import Campaign, Ears, Plan, StepRun, no_keep
from lmbench.load.requests import PENDING, RequestLog
from lmbench.load.shapes import HOLD, INTERRUPTED, RAMP, Step
from lmbench.load.slo import judge, still_reachable
from lmbench.load.targets import Pulse, Sent, Target, Watch
from lmbench.measure.clock import Clock

KEEP_S = 0.4
"""How often requests that ended are handed over to be written down. With a client's pulse (0.2 s) and a step's (0.25 s) a
request is with the kernel less than a second after its end."""


def carry_out(plan: Plan, target: Target, clock: Clock, ears: Ears = Ears()) -> Campaign:  # noqa: B008 - it is frozen
    """Run the shape to its end and close `target`.

    Steps follow one another when the requests of the one before have ended, so that none is measured on another's backlog;
    only a ramp's last step may leave one to its recovery step, where its clearing is what is measured. A continuous shape is
    sent as one schedule, and its requests are told apart afterwards by when they were due: there is no pause between pieces.
    A KeyboardInterrupt closes the target; it is passed on unless the plan is content with a part and there is one.
    """
    course = _Continuous(plan, target, clock, ears) if plan.shape.continuous else _Stepwise(plan, target, clock, ears)
    drained = False
    try:
        course.run()
        drained = not course.interrupted and course.settle(clock.now() + course.patience_s)
    except KeyboardInterrupt as error:
        if not (plan.partial and course.runs):
            raise
        course.broken_off, course.ended_by = True, _by(error)
    finally:
        target.close()
        course.keep()
    logs = course.labelled(target.logs())
    return Campaign(
        steps=course.steps(logs),
        logs=logs,
        drained=drained,
        stopped=course.stopped,
        interrupted=course.interrupted,
        ended_by=course.ended_by if course.interrupted else "",
    )


class _Course(ABC):
    """What both ways share: sending one step, watched, and interrupted in order."""

    def __init__(self, plan: Plan, target: Target, clock: Clock, ears: Ears) -> None:
        self.plan, self.target, self.clock, self.ears = plan, target, clock, ears
        self.runs: list[StepRun] = []
        self.stopped = ""
        self.broken_off = False
        """By Ctrl-C, outside of a step."""
        self.ended_by = ""
        self._keep_at = 0.0

    @property
    def patience_s(self) -> float:
        """How long what is open may still be waited for at the end."""
        return 0.0 if self.stopped else self.plan.drain_s

    @property
    def interrupted(self) -> bool:
        return self.broken_off or (bool(self.runs) and self.runs[-1].interrupted)

    @abstractmethod
    def run(self) -> None:
        """Send everything the shape asks for."""

    def labelled(self, logs: Sequence[RequestLog]) -> tuple[RequestLog, ...]:
        """The logs with the steps they belong to."""
        return tuple(logs)

    @abstractmethod
    def steps(self, logs: Sequence[RequestLog]) -> tuple[StepRun, ...]:
        """The runs, once everything has ended."""

    def send(self, step: Step, offsets: Sequence[float], first_index: int) -> Sent:
        watch = self._keeping(self.plan.watch(step))
        try:
            return self.target.send(offsets, step, first_index=first_index, watch=watch)
        except KeyboardInterrupt as error:
            if not self.plan.partial or self.clock.now() <= step.start_s:  # a step that has not begun has no part
                raise
            self.ended_by = _by(error)
        now = self.clock.now()
        count = len(self.target.logs()) - first_index
        return Sent(offered=len(offsets), sent=count, queue_depth_max=None, queue_depth_end=None, cut=INTERRUPTED, cut_s=now)

    def keep(self) -> None:
        """Hand over what has ended."""
        fresh = self.target.take_fresh()
        self._keep_at = self.clock.now() + KEEP_S
        if fresh:
            self.ears.keep(self.labelled(fresh))

    def settle(self, until: float) -> bool:
        """`Target.settle`, in parts so short that what ends meanwhile is written down meanwhile."""
        while True:
            part = until if self.ears.keep is no_keep else min(until, self.clock.now() + KEEP_S)
            settled = self.target.settle(part)
            self.keep()
            if settled or part >= until:
                return settled

    def waited(self, wait: Callable[[], object]) -> bool:
        """Whether `wait` came to its end; False when Ctrl-C ended it and the plan is content with a part."""
        try:
            wait()
        except KeyboardInterrupt as error:
            if not self.plan.partial:
                raise
            self.ended_by = _by(error)
            return False
        return True

    def _keeping(self, watch: Watch) -> Watch:
        def look(pulse: Pulse) -> str:
            if pulse.now_s >= self._keep_at:
                self.keep()
            return watch(pulse)

        return look


class _Stepwise(_Course):
    """Step after step, each decided before the next."""

    def run(self) -> None:
        before = 0
        start_s = self.clock.now() + self.target.lead_s
        while (step := self.plan.shape.next_step([run.passed for run in self.runs], start_s)) is not None:
            run = self._step(step, before)
            self.runs.append(run)
            fresh = self.target.logs()[before:]
            before += len(fresh)
            self.ears.observe(run, fresh)
            if run.interrupted:
                return
            if run.still_open and (run.met or not self._may_leave_backlog(step)):
                self.stopped = (
                    f"stopped after step {step.index + 1}: {run.still_open} of its requests were still open after "
                    f"{self.plan.drain_s:.0f} s, and the next step would have measured them"
                )
                return
            start_s = self.clock.now() + self.target.lead_s

    def steps(self, logs: Sequence[RequestLog]) -> tuple[StepRun, ...]:
        """With the verdicts on what requests came to in the end; a ramp's step keeps the one by which the ramp went on."""
        return tuple(run if run.step.kind == RAMP else _judged(run, logs, self.plan) for run in self.runs)

    def _step(self, step: Step, before: int) -> StepRun:
        plan, clock = self.plan, self.clock
        offsets = plan.schedule(step, plan.rng(step)) if step.streams is None else np.empty(0)
        cpu = plan.cpu_s()
        sent = self.send(step, offsets.tolist(), before)
        if sent.cut != INTERRUPTED and not self.waited(lambda: self._decide(step, before)):
            sent = replace(sent, cut=INTERRUPTED, cut_s=clock.now())
        logs = self.target.logs()[before:]
        return StepRun(
            step=step,
            verdict=judge(logs, plan.slo),
            schedule=schedule_digest(offsets),
            sent=sent,
            settled_s=clock.now(),
            cpu_s=plan.cpu_s() - cpu,
            still_open=sum(log.status == PENDING for log in logs),
        )

    def _may_leave_backlog(self, step: Step) -> bool:
        past = [run.passed for run in self.runs if run.step.index < step.index]
        return self.plan.shape.leaves_backlog(past, step)

    def _decide(self, step: Step, before: int) -> None:
        """Wait for the step's requests; where a backlog may stay, only as long as their outcome can still matter."""
        plan, now = self.plan, self.clock.now()
        bound = max(plan.slo.latency_s or 0.0, plan.slo.ttft_s or 0.0)
        if self.settle(now + bound):
            return
        logs = self.target.logs()[before:]
        if not self._may_leave_backlog(step) or still_reachable(logs, plan.slo, self.clock.now()):
            self.settle(now + bound + plan.drain_s)


class _Continuous(_Course):
    """All pieces as one schedule."""

    patience_s = 0.0  # `run` has waited

    def run(self) -> None:
        plan, clock = self.plan, self.clock
        pieces = _pieces(plan, 0.0)
        self._offsets = [plan.schedule(piece, plan.rng(piece)) for piece in pieces]
        schedule = [piece.start_s + offset for piece, part in zip(pieces, self._offsets, strict=True) for offset in part]
        length = pieces[-1].end_s
        start = clock.now() + self.target.lead_s  # only now: a long schedule takes a while to make
        self._pieces = [replace(piece, start_s=start + piece.start_s) for piece in pieces]
        whole = Step(index=0, kind=HOLD, rate=len(schedule) / length, start_s=start, duration_s=length)
        cpu = plan.cpu_s()
        sent = self.send(whole, schedule, 0)
        if sent.cut != INTERRUPTED and not self.waited(lambda: self.settle(clock.now() + plan.drain_s)):
            sent = replace(sent, cut=INTERRUPTED, cut_s=clock.now())
        self._fill(whole, sent, plan.cpu_s() - cpu)
        logs = self.labelled(self.target.logs())
        for run in self.runs:
            self.ears.observe(run, [log for log in logs if log.request.step == run.step.index])

    def labelled(self, logs: Sequence[RequestLog]) -> tuple[RequestLog, ...]:
        """By when requests were due."""
        if not hasattr(self, "_pieces"):
            return tuple(logs)
        starts = [piece.start_s for piece in self._pieces]
        return tuple(replace(log, request=replace(log.request, step=_place(starts, log.request.scheduled_s))) for log in logs)

    def steps(self, logs: Sequence[RequestLog]) -> tuple[StepRun, ...]:
        return tuple(_judged(run, logs, self.plan) for run in self.runs)

    def _fill(self, whole: Step, sent: Sent, cpu_s: float) -> None:
        """One run per piece that was begun."""
        ends = list(accumulate(len(part) for part in self._offsets))
        for piece, part, end in zip(self._pieces, self._offsets, ends, strict=True):
            left = max(0, min(len(part), sent.sent - (end - len(part))))
            last = piece is self._pieces[-1]
            cut_here = bool(sent.cut) and sent.cut_s is not None and (last or sent.cut_s < piece.end_s)
            share = piece.duration_s / whole.duration_s
            self.runs.append(
                StepRun(
                    step=piece,
                    verdict=judge((), self.plan.slo),
                    schedule=schedule_digest(part),
                    sent=Sent(
                        offered=len(part),
                        sent=left,
                        queue_depth_max=sent.queue_depth_max,
                        queue_depth_end=sent.queue_depth_end,
                        cut=sent.cut if cut_here else "",
                        cut_s=sent.cut_s if cut_here else None,
                    ),
                    settled_s=piece.end_s,
                    cpu_s=cpu_s * share,
                )
            )
            if cut_here:
                return


def _by(error: KeyboardInterrupt) -> str:
    """What ended the run; Python's own exception for Ctrl-C says nothing."""
    return str(error) or "ended by Ctrl-C"


def _pieces(plan: Plan, start_s: float) -> list[Step]:
    """All steps of a continuous shape, which are known ahead, one at the end of another."""
    runs: list[StepRun] = []
    pieces: list[Step] = []
    while (piece := plan.shape.next_step([run.passed for run in runs], start_s)) is not None:
        pieces.append(piece)
        start_s = piece.end_s
        nothing = Sent(offered=0, sent=0, queue_depth_max=None, queue_depth_end=None)
        runs.append(StepRun(step=piece, verdict=judge((), plan.slo), schedule="", sent=nothing, settled_s=start_s, cpu_s=0.0))
    return pieces


def _place(starts: Sequence[float], moment: float) -> int:
    """The piece a moment lies in."""
    return max(0, bisect_right(starts, moment) - 1)


def _judged(run: StepRun, logs: Sequence[RequestLog], plan: Plan) -> StepRun:
    return replace(run, verdict=judge([log for log in logs if log.request.step == run.step.index], plan.slo))
