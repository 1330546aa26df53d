"""A paired worker: pytest in one tree, its cases and plain benchmark tests served round by round (lmbench/paired/protocol.py)."""

from __future__ import annotations

import os
import platform
import secrets
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture, PauseInstrumentation

from lmbench import __version__
from lmbench.base.errors import Unavailable
from lmbench.measure.clock import CLOCK
from lmbench.paired.protocol import (
    BYE,
    COLLECTED,
    FAILED,
    HELLO,
    LEFT,
    PASSED,
    PROTOCOL,
    SKIPPED,
    Collected,
    Left,
    Ready,
)
from lmbench.paired.visit import ROUND_S, WARM_CALLS, Dialogue, Warmth, loops_for, serve, serve_case
from lmbench.plan.case import Case
from lmbench.plugin.collect import CASE, RUNNER
from lmbench.plugin.inner import QUIET, InnerSession

CLOCKS = ("wall", "cpu")
_PADDING = [bytearray(secrets.randbelow(1024)) for _ in range(secrets.randbelow(256))]
"""Kept alive, so that what a tree allocates lies elsewhere in each process: see PADDING in lmbench/paired/protocol.py."""


def main() -> int:
    """Entry point of the worker process."""
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - the tree this process was started in
    reader, writer = (int(argument) for argument in sys.argv[1:3])
    with os.fdopen(reader, encoding="utf-8") as commands, os.fdopen(writer, "w", encoding="utf-8") as events:
        dialogue = Dialogue(commands, events)
        first = dialogue.receive()
        dialogue.send(HELLO, {"protocol": PROTOCOL, "lmbench": __version__, "python": platform.python_version()})
        session = PairedSession(dialogue, first.get("foreign"))
        try:
            return int(pytest.main([*first["arguments"], *QUIET], plugins=[session]))
        finally:
            if dialogue.alone and os.getpgrp() == os.getpid():
                os.killpg(os.getpid(), signal.SIGKILL)  # the driver is dead: nothing this side started may stay


class PairedSession(InnerSession):
    """The plugin that puts the driver in charge of pytest's run loop and of the benchmark fixture."""

    def __init__(self, dialogue: Dialogue, foreign: str | None) -> None:
        self.dialogue = dialogue
        self.foreign = Path(foreign).resolve() if foreign else None
        self.tree = Path.cwd()
        self.errors: dict[str, str] = {}
        self.given: Mapping[str, Any] = {}
        self.left = Left(outcome=PASSED)

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[RUNNER] = self.run_case

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.errors[report.nodeid] = str(report.longrepr)[-2000:]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items if "benchmark" in getattr(item, "fixturenames", ())}
        self.dialogue.send(COLLECTED, Collected(cases={name: _digest(item) for name, item in items.items()}, errors=self.errors))
        while (command := self.dialogue.receive())["do"] == "plan":
            self._run([items[name] for name in command["node_ids"]])
        self.dialogue.send(BYE)
        return True

    def _run(self, items: Sequence[pytest.Item]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            command = self.dialogue.receive()
            self.left = Left(outcome=PASSED)
            if command["do"] == "prepare":
                self.given = command.get("given", {})
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.dialogue.send(LEFT, replace(self.left, foreign=self._foreign_modules()))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.left = Left(outcome=FAILED, message=f"{report.when}: {report.longreprtext[-2000:]}")
        elif report.skipped and self.left.outcome == PASSED:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self.left = Left(outcome=SKIPPED, message=str(reason))

    def run_case(self, case: Case, benchmark: Any, timer: Any) -> None:  # noqa: ARG002 - as Run.measure is called
        """The body of a suite's item."""
        benchmark._mode = "paired"  # served without the fixture: it must not warn that nobody used it
        try:
            serve_case(self.dialogue, replace(case, params={**case.params, **self.given}))
        except Unavailable as lack:
            pytest.skip(str(lack))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Generator[None, Any, Any]:
        """Turn pytest-benchmark's fixture of plain tests into one that does a round when the driver asks for it."""
        fixture = yield
        if fixturedef.argname == "benchmark" and isinstance(fixture, BenchmarkFixture) and CASE not in request.node.stash:
            fixture.__class__ = PairedFixture
            fixture.start(self.dialogue, _clock(request.node))
        return fixture

    def _foreign_modules(self) -> tuple[str, ...]:
        """Files of the other tree that were imported here all the same: then the comparison would be of nothing."""
        if self.foreign is None:
            return ()
        named = {found for module in list(sys.modules.values()) if (found := getattr(module, "__file__", None))}
        files = [Path(name) for name in sorted(named) if not name.startswith((sys.prefix, sys.base_prefix))]
        # A file of the base's own tree may be a link to one that is in no commit; any other path may lead through links.
        others = [file for file in files if not file.is_relative_to(self.tree)]
        return tuple(str(file) for file in others if file.resolve().is_relative_to(self.foreign))


class PairedFixture(BenchmarkFixture):  # type: ignore[misc]
    """`benchmark(...)` and `benchmark.pedantic(...)` of an unmodified test, one round at a time."""

    def start(self, dialogue: Dialogue, clock: str) -> None:
        """Take over from the fixture that pytest-benchmark made."""
        self._dialogue = dialogue
        self._clock = clock
        self._add_stats = lambda _: None  # kept for the test itself, never stored

    def _raw(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        started = CLOCK.now()
        runner = self._make_runner(function, args, kwargs)
        self._min_time = max(float(vars(self)["_min_time"]), ROUND_S)
        with PauseInstrumentation():
            _, loops, loops_range = self._calibrate_timer(runner)
            warmth = Warmth()
            call_s = min(runner(loops_range) for _ in range(WARM_CALLS)) / loops
            ready = Ready(
                loops=max(loops, loops_for(call_s)),
                call_s=call_s,
                setup_s=CLOCK.now() - started,
                one_thread=warmth.one_thread(),
                clock=self._clock,
            )
            work = _Calls(lambda calls: runner(range(calls)), self._make_stats(1))
            serve(self._dialogue, self.fullname, work, ready)
        return function(*args, **kwargs)

    def _raw_pedantic(  # noqa: PLR0913 - the signature of the method it replaces
        self,
        target: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,  # noqa: ARG002 - the driver says how many
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        started = CLOCK.now()
        last: list[Any] = []

        def once(calls: int) -> float:
            arguments = (setup() or (args, kwargs or {})) if setup else (args, kwargs or {})
            runner = self._make_runner(target, *arguments)
            if calls > 1:
                duration = runner(range(calls))
            else:
                duration, result = runner(None)
                last[:] = [result]
            if teardown is not None:
                teardown(*arguments[0], **arguments[1])
            return float(duration)

        with PauseInstrumentation():
            warmth = Warmth()
            call_s = min(once(iterations) for _ in range(max(1, warmup_rounds))) / iterations
            ready = Ready(
                loops=iterations,
                call_s=call_s,
                setup_s=CLOCK.now() - started,
                one_thread=warmth.one_thread(),
                fixed_loops=True,
                clock=self._clock,
            )
            serve(self._dialogue, self.fullname, _Calls(once, self._make_stats(iterations)), ready)
            if not last:
                once(1)
        return last[0]


class _Calls:
    """A plain test's rounds; what is timed is also given to the test's own statistics."""

    def __init__(self, run: Callable[[int], float], stats: Any) -> None:
        self._run = run
        self._stats = stats

    def run(self, index: int, calls: int) -> dict[str, float]:  # noqa: ARG002 - the calls of a plain test are all alike
        duration = self._run(calls)
        self._stats.update(duration / calls)
        return {"round": duration}

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return {"round_p50_s": means["round"]}


def _digest(item: pytest.Item) -> str | None:
    return item.stash[CASE].digest if CASE in item.stash else None


def _clock(item: pytest.Item) -> str:
    mark = item.get_closest_marker("lmbench")
    clock = str(mark.kwargs.get("metric", CLOCKS[0])) if mark else CLOCKS[0]
    if clock not in CLOCKS:
        raise pytest.UsageError(f"{item.nodeid}: found lmbench(metric={clock!r}); expected one of {', '.join(CLOCKS)}")
    return clock


if __name__ == "__main__":
    sys.exit(main())
