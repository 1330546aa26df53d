"""One paired worker process: started in its tree, spoken to, timed out and killed with everything it started."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from lmbench.base.errors import WorkerError
from lmbench.base.scratch import unnamed_file
from lmbench.measure.clock import CLOCK
from lmbench.paired.protocol import COLLECTED, HELLO, MODULE, PROGRESS, PROTOCOL, Collected, decode
from lmbench.run.isolate import HEARTBEAT_S, Place, death, environment_at, kill_group, tail


class Worker:
    """A paired worker, a context manager; every method raises WorkerError, and names its side in it."""

    def __init__(self, place: Place, arguments: Sequence[str], *, foreign: Path | None, say: Callable[[str], None]) -> None:
        self.place = place
        self.say = say
        self._log: IO[str] = unnamed_file("paired")
        commands, self._commands = os.pipe()
        self._events, events = os.pipe()
        try:
            self._process = subprocess.Popen(
                [place.python, "-m", MODULE, str(commands), str(events)],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=(commands, events),
                cwd=place.root,
                env=environment_at(place),
                start_new_session=True,
                encoding="utf-8",
            )
        except OSError as error:
            self._close()
            text = f"{place.name}: {place.python} cannot be started ({error.strerror}); give the path of a Python"
            raise WorkerError(text, side=place.name) from error
        finally:
            os.close(commands)
            os.close(events)
        self._pending = b""
        self._send({"protocol": PROTOCOL, "arguments": list(arguments), "foreign": None if foreign is None else str(foreign)})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        kill_group(self._process)
        self._close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def collected(self, timeout_s: float) -> Collected:
        """Wait for the greeting and for what the tree offers."""
        hello = self.receive(timeout_s, HELLO)
        if hello.get("protocol") != PROTOCOL:
            raise self._error(
                f"speaks protocol {hello.get('protocol')} (lmbench {hello.get('lmbench')}); expected {PROTOCOL}; "
                "install the same lmbench on both sides"
            )
        event = self.receive(timeout_s, COLLECTED)
        return Collected(cases=dict(event["cases"]), errors=dict(event["errors"]))

    def do(self, what: str, **fields: object) -> None:
        """Send one command."""
        self._send({"do": what, **fields})

    def receive(self, timeout_s: float, *expected: str) -> dict[str, Any]:
        """The next event but progress; blocks in the kernel meanwhile. With `expected` any other event is an error."""
        begun = CLOCK.now()
        while (left := begun + timeout_s - CLOCK.now()) > 0:
            line = self._line(min(HEARTBEAT_S, left))
            if line is None:
                continue
            try:
                event = decode(line)
            except WorkerError as error:
                raise self._error(str(error)) from None
            if event["event"] == PROGRESS:
                self.say(f"{self.place.name}: {event.get('text', '')}")
            elif expected and event["event"] not in expected:
                raise self._error(f"found event {event['event']!r}; expected {' or '.join(expected)}")
            else:
                return event
        raise self._error(f"no answer after {timeout_s:g} s")

    def _line(self, wait_s: float) -> bytes | None:
        while b"\n" not in self._pending:
            with selectors.DefaultSelector() as selector:
                selector.register(self._events, selectors.EVENT_READ)
                if not selector.select(wait_s):
                    return None
            piece = os.read(self._events, 1 << 16)
            if not piece:
                raise self._error(f"ended: {death(self._process)}")
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _send(self, command: Mapping[str, Any]) -> None:
        try:
            os.write(self._commands, json.dumps(command).encode() + b"\n")
        except BrokenPipeError:
            raise self._error(f"ended: {death(self._process)}") from None

    def _error(self, text: str) -> WorkerError:
        said = tail(self._log).strip()
        output = f"\nlast output:\n{said}" if said else ""
        return WorkerError(f"the {self.place.name} worker {text}{output}", side=self.place.name)

    def _close(self) -> None:
        for descriptor in (self._commands, self._events):
            os.close(descriptor)
        self._log.close()
