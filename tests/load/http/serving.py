"""A scripted OpenAI-compatible server for tests and acceptance runs: known latencies with its own log, and every kind of fault.

    python -m tests.load.http.serving --mode latency --ttft-s 0.02 --tpot-s 0.005 --tokens 16 --log truth.jsonl

prints its port and serves until its standard input closes. A request whose prompt begins with the name of a mode ("reset 17")
is answered in that mode, any other in the mode of the command line. The log has one line per request that was read whole:
{"prompt", "mode", "received_s", "token_times_s"}, and one per stop of the server: {"begun_s", "ended_s"}; moments on
CLOCK_MONOTONIC.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from tests.load.http.modes import MODES, Call, Host, Options, now


class Server:
    """Answers requests by mode; `calls` is its log."""

    def __init__(self, options: Options) -> None:
        self.host = Host(options=options, slots=asyncio.Semaphore(options.slots))
        self.calls: list[Call] = []
        self.connections = 0
        self.begun = 0
        """Requests read whole; those that hang are in no log."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.log: Callable[[Call], None] = self.calls.append
        self.stopped: Callable[[float, float], None] = lambda *_: None

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, TimeoutError):
                while await self._one(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.host.options.keep_alive_s)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        asked = json.loads(await reader.readexactly(int(fields[b"content-length"])))
        prompt = asked.get("prompt", "") or (asked["messages"][-1]["content"] if asked.get("messages") else "")
        first = str(prompt).split(" ", 1)[0]
        call = Call(
            prompt=str(prompt),
            mode=first if first in MODES else self.host.options.mode,
            received_s=now(),
            stream=bool(asked.get("stream")),
            max_tokens=int(asked["max_tokens"]),
            chat="messages" in asked,
            head=head,
        )
        self.begun += 1
        keep = await MODES[call.mode](self.host, call, writer)
        self.log(call)
        return keep

    async def freeze(self, every_s: float, length_s: float) -> None:
        """Stop the whole server at every multiple of `every_s` on the clock."""
        while True:
            await asyncio.sleep(every_s - now() % every_s)
            begun = now()
            time.sleep(length_s)  # a frozen process does not even accept
            self.stopped(begun, now())


@contextlib.contextmanager
def serving(options: Options | None = None, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, Server]]:
    """A server in a thread of its own: its port, and itself for its log."""
    started = threading.Event()
    holder: dict[str, Any] = {}

    async def run() -> None:
        server = Server(options or Options())
        listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, ssl=tls, backlog=1024)
        holder.update(server=server, loop=asyncio.get_running_loop(), stop=asyncio.Event())
        holder["port"] = listener.sockets[0].getsockname()[1]
        started.set()
        await holder["stop"].wait()
        listener.close()
        await server.stop()

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert started.wait(600)
    try:
        yield holder["port"], holder["server"]
    finally:
        holder["loop"].call_soon_threadsafe(holder["stop"].set)
        thread.join(60)


def _keep_log(server: Server, stream: TextIO) -> None:
    def write(**facts: Any) -> None:
        stream.write(json.dumps(facts) + "\n")

    facts = ("prompt", "mode", "received_s", "token_times_s")
    server.log = lambda call: write(**{name: getattr(call, name) for name in facts})
    server.stopped = lambda begun, ended: write(begun_s=begun, ended_s=ended)


async def serve(options: Options, port: int, log: Path | None) -> None:
    """The command line's server: ends with its standard input."""
    loop = asyncio.get_running_loop()
    server = Server(options)
    if log is not None:
        stream = log.open("w")
        _keep_log(server, stream)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", port, backlog=4096)
    sys.stdout.write(f"{listener.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    frozen = loop.create_task(server.freeze(options.freeze_every_s, options.freeze_s)) if options.freeze_s else None
    await loop.run_in_executor(None, sys.stdin.read)
    if frozen is not None:
        frozen.cancel()
    listener.close()
    await server.stop()
    if log is not None:
        stream.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=sorted(MODES), default="latency")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path)
    for name, kind in (("ttft", float), ("tpot", float), ("service", float), ("freeze", float), ("freeze-every", float)):
        default = getattr(Options(), f"{name.replace('-', '_')}_s")
        parser.add_argument(f"--{name}-s", type=kind, default=default)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--keep-alive-s", type=float)
    given = vars(parser.parse_args())
    port, log = given.pop("port"), given.pop("log")
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(Options(**given), port, log))
    else:
        uvloop.run(serve(Options(**given), port, log))


if __name__ == "__main__":
    main()
