"""A client process: told what to do by JSON lines on its standard input, tells what it did on its standard output.

Commands: open, bodies, step, cut, cancel. Events: ready, want, pulse (what was sent and what ended), over (the same, and the
step or the cancelling is done), failed. Request bodies come in, never a key: that is read from the environment here. The
process ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

from lmbench.base.errors import Unavailable
from lmbench.load.http.client import Client
from lmbench.load.http.columns import unpack
from lmbench.load.http.endpoint import Endpoint
from lmbench.load.http.session import Part, Session
from lmbench.measure.clock import CLOCK, process_cpu_s

PULSE_S = 0.2
"""A little under targets.PULSE_S, so that every look finds something new."""
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Commands(asyncio.Protocol):
    """Standard input, cut into lines."""

    def __init__(self, line: Callable[[bytes], None], closed: Callable[[], None]) -> None:
        self._line, self._closed = line, closed
        self._pieces: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(b"".join([*self._pieces, line]))
            self._pieces.clear()
        if rest:
            self._pieces.append(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._closed()


class ClientMain:
    """One process: its client, its session, and its two pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gone = loop.create_future()
        self._output: asyncio.WriteTransport
        self._client: Client
        self._session: Session
        self._reported_open = 0
        self._cpu_then_s = 0.0
        self.status = 0

    async def run(self) -> int:
        """Serve until standard input closes; the exit status."""
        self._loop.set_exception_handler(self._broken)
        await self._loop.connect_read_pipe(lambda: Commands(self._do, self._leave), sys.stdin)
        self._output, _ = await self._loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
        await self._gone
        return self.status

    def _do(self, line: bytes) -> None:
        command = json.loads(line)
        match command["do"]:
            case "open":
                self._opening = self._loop.create_task(self._open(command))
            case "bodies":
                self._session.feed(command["first"], command["stride"], command["texts"], command["asked"])
            case "step":
                part, self._cpu_then_s = command["part"], process_cpu_s()
                self._session.begin(Part(**part | {"moments": unpack(part["moments"])}))
            case "cut":
                self._session.cut()
            case "cancel":
                self._session.stop()  # its "over" comes after what is open has been ended
                self._client.cancel_all()
                self._report("over")

    async def _open(self, command: dict[str, Any]) -> None:
        try:
            endpoint = Endpoint(**command["endpoint"])
            options = {name: command[name] for name in ("timeout_s", "retries")}
            self._client = Client(endpoint, self._loop, CLOCK.now, **options)
            await self._client.warm(command["connections"])
        except (OSError, Unavailable, ValueError) as error:
            self._say({"event": "failed", "error": str(error)})
            return
        idle = partial(self._report, "pulse")  # at once, because somebody may be waiting for the last answer
        self._session = Session(self._client, self._loop, CLOCK.now, want=self._want, over=self._over, idle=idle)
        self._say({"event": "ready"})
        gc.collect()
        gc.freeze()
        gc.disable()
        self._loop.call_later(PULSE_S, self._pulse)

    def _pulse(self) -> None:
        self._loop.call_later(PULSE_S, self._pulse)
        if self._session.outbox or self._client.in_flight != self._reported_open:
            self._report("pulse")

    def _report(self, event: str) -> None:
        self._reported_open = self._client.in_flight
        session, client, cpu_s = self._session, self._client, process_cpu_s()
        facts = {"step": session.step, "sent": session.sent, "open": client.in_flight, "cpu_s": cpu_s}
        tallies = {"step_cpu_s": cpu_s - self._cpu_then_s, "reopened": client.reopened, "retried": client.retried}
        self._say({"event": event, **facts, **tallies, **self._session.outbox.take()})

    def _over(self) -> None:
        if not self._client.in_flight:  # garbage is collected only while nothing is timed
            gc.collect()
        self._report("over")

    def _want(self, step: int, count: int) -> None:
        self._say({"event": "want", "step": step, "count": count})

    def _say(self, event: dict[str, Any]) -> None:
        self._output.write(_ENCODER.encode(event).encode() + b"\n")

    def _leave(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A fault of the network is the request's affair; anything else is a fault here, and no number may come of it."""
        error = context.get("exception")
        if error is None or isinstance(error, OSError):
            loop.default_exception_handler(context)
            return
        traceback.print_exception(error)
        self.status = 1
        self._leave()


def main() -> int:
    """Entry point."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # whoever sends them to a whole job
        signal.signal(number, signal.SIG_IGN)  # the parent ends this process in order, and its end closes our input
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # one descriptor per connection
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with asyncio.Runner(loop_factory=_new_loop()) as runner:
        return runner.run(_main())


async def _main() -> int:
    return await ClientMain(asyncio.get_running_loop()).run()


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
