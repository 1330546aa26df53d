"""The parent of a server that a run starts: tells how it began and ended, and leaves nothing of it behind, however the run ends.

It is a process of its own, so it outlives a run that is killed. Everything below it that loses its parent becomes its child
(PR_SET_CHILD_SUBREAPER, prctl(2)), so a worker that left the server's process group or session is found and ended too.

    stdin    one JSON line {"command", "cwd", "env", "grace_s", "parent", "secrets"}; its closing means: stop
    stdout   {"pid"} or {"error"} at once, then nothing until the server ends by itself: {"exit"}
    stderr   the log, into which it copies what the server prints, without the secrets
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from typing import Any

import psutil

from lmbench.base.secrets import give
from lmbench.load.log_copy import LogCopy
from lmbench.measure.clock import CLOCK

PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 1.0
"""A process that the run has forked may hold stdin open after the run was killed, hence a second test of the parent."""
ENDING_CHECK_S = 0.05
KILL_S = 10.0
"""Longest wait for what SIGKILL was sent to: a process that hangs in a device driver does not end."""
STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> int:
    """Entry point: start what stdin asks for and stay until it has ended."""
    order = _order()
    if order is None:
        return 0
    give(order["secrets"])
    wake = _wakeups()
    _adopt_orphans()
    reader, writer = os.pipe()
    try:
        server = subprocess.Popen(
            order["command"],
            cwd=order["cwd"],
            env=order["env"],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            start_new_session=True,
        )
    except OSError as error:
        _say(error=f"{error.strerror}: {error.filename}")
        return 0
    finally:
        os.close(writer)
    log = LogCopy(reader, sys.stderr.fileno())
    _say(pid=server.pid)
    status = _watch(server.pid, wake, int(order["parent"]))
    if status is not None:
        log.settle()
        _say(exit=status)
    _end(wake, float(order["grace_s"]))
    log.settle()
    return 0


def _order() -> dict[str, Any] | None:
    text = b""
    while not text.endswith(b"\n"):
        piece = os.read(0, 1 << 16)
        if not piece:
            return None
        text += piece
    order: dict[str, Any] = json.loads(text)
    return order


def _say(**message: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")


def _wakeups() -> socket.socket:
    """Readable whenever a child has ended or a stop signal has come; a byte read from it is the signal's number."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *STOP):
        signal.signal(number, lambda *_: None)
    return reader


def _adopt_orphans() -> None:
    # Where the kernel refuses, a worker that left the server's tree can escape; everything else still works.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _watch(pid: int, wake: socket.socket, parent: int) -> int | None:
    """The server's exit status when it ends by itself, None when it is to be stopped."""
    while True:
        status = _reap(pid)
        if status is not None:
            return status
        readable, _, _ = select.select([0, wake.fileno()], [], [], PARENT_CHECK_S)
        stopped = wake.fileno() in readable and not set(STOP).isdisjoint(wake.recv(4096))
        if stopped or 0 in readable or os.getppid() != parent:
            return None


def _reap(pid: int = 0) -> int | None:
    """Bury every child that has ended; the exit status of `pid` when it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            child, status = os.waitpid(-1, os.WNOHANG)
            if child == 0:
                break
            if child == pid:
                found = os.waitstatus_to_exitcode(status)
    return found


def _end(wake: socket.socket, grace_s: float) -> None:
    """SIGTERM to everything below, after `grace_s` SIGKILL, again while new ones appear, until nothing is left."""
    _signal_all(signal.SIGTERM)
    if not _gone(wake, CLOCK.now() + grace_s):
        deadline = CLOCK.now() + KILL_S
        while CLOCK.now() < deadline:
            _signal_all(signal.SIGKILL)
            if _gone(wake, CLOCK.now() + ENDING_CHECK_S):
                return


def _signal_all(number: signal.Signals) -> None:
    for process in _descendants():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)


def _gone(wake: socket.socket, deadline: float) -> bool:
    """Wait until nothing below is left, no longer than `deadline`; whether that is so."""
    while True:
        _reap()
        if not _descendants():
            return True
        left = deadline - CLOCK.now()
        if left <= 0:
            return False
        if select.select([wake], [], [], min(ENDING_CHECK_S, left))[0]:
            wake.recv(4096)


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


if __name__ == "__main__":
    sys.exit(main())
