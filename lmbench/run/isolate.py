"""A case in a fresh process: started, listened to, timed out and killed without orphans; a dead worker is a record too."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from lmbench.base.environments import python_of
from lmbench.base.errors import StoreError, Unavailable, WorkerError
from lmbench.base.git import without_git
from lmbench.base.registry import BACKENDS
from lmbench.base.scratch import PARENT, Owner, this_process, unnamed_file
from lmbench.base.secrets import conceal, ending
from lmbench.base.signals import ENDING
from lmbench.measure.clock import CLOCK, utc_now
from lmbench.plan.case import Case
from lmbench.record.codec import from_json
from lmbench.record.record import ERROR, FULL, ONCE, Failure, Record
from lmbench.run.execute import Setting

LOG_TAIL_CHARS = 4000
GRACE_S = 5.0
CANCELLED_S = 3.0
HEARTBEAT_S = 5.0
"""The parent wakes this often to say what a silent worker is at; anything faster would share its cores."""
WORKER = ("-m", "lmbench.run.worker")
WORKER_MODULES = (b"lmbench.run.worker", b"lmbench.plugin.worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a worker runs: its working folder (the user's own modules are imported from there), its Python, more environment."""

    root: Path
    name: str = "this"
    """For messages: 'base', 'head' ..."""
    python: str = sys.executable
    env: Mapping[str, str] = field(default_factory=dict)


def run_isolated(case: Case, setting: Setting, progress: Callable[[str], None], root: Path | Place) -> Record:
    """Run `case` in a worker at `root`. Raises Unavailable; every other failure is in the record."""
    place = root if isinstance(root, Place) else Place(root=root)
    case.declare_secrets()
    started_at, started = utc_now(), CLOCK.now()
    with unnamed_file("worker") as log:
        try:
            return _converse(case, setting, progress, place, log)
        except WorkerError as error:
            failure = Failure(kind="WorkerError", message=conceal(str(error)), traceback=tail(log))
    return Record(
        case=case,
        status=ERROR,
        started_at=started_at,
        wall_s=CLOCK.now() - started,
        environment=setting.environment,
        machine_class=setting.machine_class,
        mode=ONCE if setting.once else FULL,
        failure=failure,
    )


def environment_at(place: Place) -> dict[str, str]:
    """A worker's environment: git there finds the repository of its own folder, also when this process runs in a hook."""
    ours = {"TOKENIZERS_PARALLELISM": "false", PARENT: this_process().name}
    return {**without_git(os.environ), **ours, **place.env}


def _converse(case: Case, setting: Setting, progress: Callable[[str], None], place: Place, log: IO[str]) -> Record:
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            [_python(case, place), *WORKER, str(writer)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(writer,),
            cwd=place.root,
            env=environment_at(place),
            start_new_session=True,
            encoding="utf-8",
        )
    finally:
        os.close(writer)
    try:
        plain = asdict(setting)
        # Apart from the setting, so that a worker of an older version, which has none, still answers.
        pins = plain.pop("pins")
        _ask(process, {"case": case.to_json(), "setting": plain, "pins": pins})
        final = _listen(reader, process, progress, case.timeout_s)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE_S)
        return _answer(final)
    finally:
        kill_group(process)


def _python(case: Case, place: Place) -> str:
    """The interpreter of the environment the case's backend runs in."""
    env = BACKENDS[case.backend.kind].env
    own = None if env is None else python_of(env)
    return place.python if own is None else str(own)


def _ask(process: subprocess.Popen[str], request: Mapping[str, Any]) -> None:
    assert process.stdin is not None  # noqa: S101 - Popen was given a pipe
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise WorkerError(f"the worker ended before it read its case: {death(process)}") from None


def _listen(reader: int, process: subprocess.Popen[str], progress: Callable[[str], None], timeout_s: float) -> Mapping[str, Any]:
    """The last event; blocks in the kernel between events, so that the parent costs the worker nothing."""
    begun = CLOCK.now()
    deadline, last = begun + timeout_s, "starting"
    with os.fdopen(reader, "rb") as pipe, selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        pending = b""
        while CLOCK.now() < deadline:
            if not selector.select(min(HEARTBEAT_S, max(0.0, deadline - CLOCK.now()))):
                progress(f"{last} ({CLOCK.now() - begun:.0f} s)")
                continue
            piece = os.read(pipe.fileno(), 1 << 20)
            if not piece:
                raise WorkerError(f"the worker ended without a result: {death(process)}")
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                event = _event(line)
                if event["event"] != "progress":
                    return event
                last = str(event.get("text", ""))
                progress(last)
    raise WorkerError(f"no result after {timeout_s:g} s; expected one within the case's timeout_s; raise it or shorten the case")


def _event(line: bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict) or event.get("event") not in ("progress", "record", "unavailable"):
        raise WorkerError(f"found {line[:80]!r} on the worker's pipe; expected a progress, record or unavailable event")
    return event


def _answer(event: Mapping[str, Any]) -> Record:
    if event["event"] == "unavailable":
        raise Unavailable(str(event["reason"]), str(event["remedy"]))
    try:
        return from_json(event["record"])
    except (StoreError, KeyError) as error:
        raise WorkerError(f"the worker's record cannot be read: {error}") from error


def kill_group(process: subprocess.Popen[str]) -> None:
    """Leave nothing of the worker behind: not on success, not on Ctrl-C, not on a time-out."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def kill_workers_of(owner: Owner) -> None:
    """End the workers that a dead process of this machine has left running, with everything they started.

    A worker is known by its environment and by leading a group of its own.
    """
    for folder in Path("/proc").glob("[0-9]*") if owner.here and not owner.alive else ():
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            words = (folder / "cmdline").read_bytes().split(b"\0")
            leads = os.getpgid(int(folder.name)) == int(folder.name)
        except OSError:
            continue
        if leads and f"{PARENT}={owner.name}".encode() in variables and any(word in WORKER_MODULES for word in words):
            with contextlib.suppress(OSError):
                os.killpg(int(folder.name), signal.SIGKILL)


def death(process: subprocess.Popen[str]) -> str:
    """How a worker whose pipe closed came to its end.

    Who cancels a job often signals all of its processes, this one perhaps last: then that is what ended the work.
    """
    try:
        status = process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        return "its pipe closed while it was still running"
    if -status in ENDING:
        CLOCK.sleep_until(CLOCK.now() + CANCELLED_S)
    if status < 0:
        return f"killed by {signal.Signals(-status).name}" + (" (out of memory?)" if -status == signal.SIGKILL else "")
    return f"exit status {status}"


def tail(log: IO[str]) -> str:
    """The end of what a worker printed, without secrets."""
    log.seek(0)
    return ending(log.read(), LOG_TAIL_CHARS)
