"""Servers that a run starts itself: started, waited for until they answer, and ended with everything they have started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import urlsplit

import psutil

from lmbench.base import secrets
from lmbench.base.errors import WorkloadError
from lmbench.base.files import why
from lmbench.base.scratch import unnamed_bytes
from lmbench.load.fetch import fetch
from lmbench.load.guard import KILL_S
from lmbench.load.masks import blot, masked_command, masked_env, secrets_of
from lmbench.load.ports import free_port, is_open, listener_pid
from lmbench.measure.clock import Clock

PORT = "{port}"
TCP = "tcp"
GUARD = ("-P", "-m", "lmbench.load.guard")
GUARD_TIMEOUT_S = 60.0
FIRST_DELAY_S, DELAY_GROWTH, MAX_DELAY_S = 0.05, 1.5, 1.0
PROBE_TIMEOUT_S, PROBE_BYTES = 5.0, 1 << 16
WORD_S = 3.0
"""A server that is not ready yet is told of this often."""
TAIL_CHARS = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A server to start. `{port}` in the command, the URL and the environment's values is filled in when it starts."""

    command: tuple[str, ...]
    """Program and arguments; there is no shell between. It must stay in the foreground."""
    url: str = "http://127.0.0.1:{port}"
    port: int | None = None
    """None or 0: a free one is chosen, unless the URL names one."""
    ready: str = "/health"
    """A path that answers with a 2xx status once the server can serve, or 'tcp': it is enough that the port is open."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to this process's environment."""
    cwd: Path | None = None
    log: Path | None = None
    """Where stdout and stderr go; None: a temporary file that is deleted with the server."""
    timeout_s: float = 120.0
    """Longest time until it must be ready."""
    grace_s: float = 10.0
    """Time between SIGTERM and SIGKILL."""

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or not self.command:
            raise WorkloadError(f"found the command {self.command!r}; expected program and arguments as a list: split it")
        if self.ready != TCP and not self.ready.startswith("/"):
            raise WorkloadError(f"found ready: {self.ready!r}; expected a path such as /health, or {TCP}")

    def describe(self) -> dict[str, Any]:
        """Plain JSON for records, the same at every start: ports unfilled, secrets masked."""
        return {
            "command": masked_command(self.command, self.env),
            "url": blot(self.url, self.env),
            "port": self.port,
            "ready": self.ready,
            "env": masked_env(self.env),
            "cwd": None if self.cwd is None else str(self.cwd),
        }


class ManagedServer:
    """A server while it runs; use it in a `with` statement.

    Its parent is a guard process (lmbench.load.guard), which ends the server and everything the server has started when
    this object is stopped, when Ctrl-C passes through the `with`, and when this process dies in whatever way.
    """

    def __init__(self, spec: ServerSpec, clock: Clock, progress: Callable[[str], None] = lambda _: None) -> None:
        self.spec = spec
        self.port = _port(spec)
        self.url = spec.url.replace(PORT, str(self.port)).rstrip("/")
        self._clock, self._progress = clock, progress
        self._guard: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._log: IO[bytes] | None = None
        self.problem = ""
        """Why the log is not where it was wanted."""

    def __enter__(self) -> ManagedServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process the command became; its children are below it."""
        if self._pid is None:
            raise WorkloadError("this server was not started; use it in a with statement")
        return self._pid

    def alive(self) -> bool:
        """Whether the command's process still runs; it may be gone a moment before its guard says so."""
        if self._guard is None or self._pid is None or self._ended_within(0.0):
            return False
        return psutil.pid_exists(self._pid)

    def start(self) -> None:
        """Start and wait until ready. Raises WorkloadError, with the end of the log, when that does not come about."""
        if self._guard is not None:
            raise WorkloadError("this server runs already; make a new ManagedServer for a second one")
        self._refuse_taken_port()
        self._log = self._open_log()
        self._guard = subprocess.Popen(
            [sys.executable, *GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self._pid = self._begin(self._guard)
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def _open_log(self) -> IO[bytes]:
        if self.spec.log is not None:
            try:
                self.spec.log.parent.mkdir(parents=True, exist_ok=True)
                return self.spec.log.open("w+b")
            except OSError as error:
                self.problem = f"the server's log, since {self.spec.log.parent} cannot be written ({why(error)})"
        return unnamed_bytes("server")

    def stop(self) -> None:
        """End the server and everything it has started; a second call does nothing."""
        guard, self._guard = self._guard, None
        if guard is None:
            return
        try:
            with contextlib.suppress(BrokenPipeError):
                _pipe(guard.stdin).close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                guard.wait(self.spec.grace_s + 2 * KILL_S)
        finally:
            if guard.poll() != 0 and self._pid is not None:
                # The guard itself was killed or hangs: at least the server's own group goes with it.
                guard.kill()
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._pid, signal.SIGKILL)
            guard.wait()
            _pipe(guard.stdout).close()
            if self._log is not None:
                self._log.close()

    def tail(self) -> str:
        """The end of what the server printed, secrets of the environment blotted out."""
        if self._log is None or self._log.closed:
            return ""
        size = os.fstat(self._log.fileno()).st_size
        # pread leaves the position alone, which the server's own descriptor shares.
        data = os.pread(self._log.fileno(), TAIL_CHARS, max(0, size - TAIL_CHARS))
        return blot(data.decode(errors="replace").strip(), {**os.environ, **self.spec.env})

    def _begin(self, guard: subprocess.Popen[bytes]) -> int:
        fill = {name: value.replace(PORT, str(self.port)) for name, value in self.spec.env.items()}
        order = {
            "command": [argument.replace(PORT, str(self.port)) for argument in self.spec.command],
            "cwd": None if self.spec.cwd is None else str(self.spec.cwd),
            "env": {**os.environ, **fill},
            "grace_s": self.spec.grace_s,
            "parent": os.getpid(),
            "secrets": [*secrets.values(), *secrets_of(fill)],
        }
        stdin = _pipe(guard.stdin)
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps(order).encode() + b"\n")
            stdin.flush()
        ready = self._ended_within(GUARD_TIMEOUT_S)
        answer = json.loads(_pipe(guard.stdout).readline() or b"{}") if ready else {}
        if "pid" not in answer:
            found = answer.get("error") or f"no process; {self.tail()}"
            raise WorkloadError(f"found {found}; expected the server's program to start; correct the command or its cwd")
        return int(answer["pid"])

    def _wait_ready(self) -> None:
        begun = self._clock.now()
        deadline, word, delay = begun + self.spec.timeout_s, begun + WORD_S, FIRST_DELAY_S
        while True:
            answer = self._probe()
            if self._ended_within(0.0):
                raise WorkloadError(self._obituary())
            if not answer:
                return
            now = self._clock.now()
            if now >= deadline:
                raise WorkloadError(
                    f"found {self.url} not ready after {self.spec.timeout_s:g} s ({answer}); expected {self._expected()}; "
                    f"raise timeout_s or correct `ready` or the command; the end of its log:\n{self.tail()}"
                )
            if now >= word:
                self._progress(f"server: waiting for {self.url}, {now - begun:.0f} s ({answer})")
                word = now + WORD_S
            self._ended_within(min(delay, deadline - now))
            delay = min(delay * DELAY_GROWTH, MAX_DELAY_S)

    def _probe(self) -> str:
        """Why the server is not ready; an empty string when it is."""
        place = urlsplit(self.url)
        host = place.hostname or "127.0.0.1"
        if self.spec.ready == TCP:
            return "" if is_open(host, self.port) else "the port is closed"
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{self.port}{self.spec.ready}"
        found = fetch(url, self._clock, timeout_s=PROBE_TIMEOUT_S, most_bytes=PROBE_BYTES, body=False)
        if found.fault:
            return found.fault
        return "" if found.status // 100 == 2 else f"{self.spec.ready} answers with status {found.status}"

    def _expected(self) -> str:
        return "an open port" if self.spec.ready == TCP else f"a 2xx answer to GET {self.spec.ready}"

    def _ended_within(self, seconds: float) -> bool:
        """Wait in the kernel, no longer than `seconds`; True as soon as the guard has something to say or is gone."""
        if self._guard is None:
            return True
        return bool(select.select([_pipe(self._guard.stdout)], [], [], seconds)[0])

    def _obituary(self) -> str:
        answer = json.loads(_pipe(self._guard.stdout).readline() or b"{}") if self._guard else {}
        status = answer.get("exit")
        if status is None:
            how = "its guard process was killed"
        else:
            how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return (
            f"found that the server ended before it was ready ({how}); expected it to stay in the foreground and give "
            f"{self._expected()}; the end of its log:\n{self.tail()}"
        )

    def _refuse_taken_port(self) -> None:
        """A server of somebody else on this port would answer in place of the one that fails to start."""
        host = urlsplit(self.url).hostname or "127.0.0.1"
        if is_open(host, self.port):
            owner = listener_pid(self.url)
            who = "another process" if owner is None else f"process {owner}"
            raise WorkloadError(
                f"found {who} listening at {host}:{self.port} already; expected a free port; stop it, or leave the port out "
                f"and write {PORT} in the command"
            )


def _port(spec: ServerSpec) -> int:
    if spec.port:
        return spec.port
    return free_port() if PORT in spec.url else urlsplit(spec.url).port or 80


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - Popen was given pipes
    return pipe
