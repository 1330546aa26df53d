"""One command started and killed at a moment of its own output; what it had finished is read off that output."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from lmbench.measure.clock import CLOCK
from tests.conditions.disks import mounted

MARKER = "LMBENCH_CHAOS"
CONTROL = "control"
ROOT = Path(__file__).parents[2]
PYTEST = (sys.executable, "-u", "-m", "pytest", "-v", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
PASSED = re.compile(r"^(kill\.suite\.yaml::\S+) PASSED", re.MULTILINE)
SERVER = f"{sys.executable} -P -m lmbench.load.null_server --tokens 2 --port {{port}}"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
END_S, START_S = 150.0, 240.0
FULL_BYTES = 160 << 10
"""Of the disk that a session fills: reports of one suite and a record or two."""

SESSION_STARTS = ("", "collected", r"(?s)PASSED", r"(?s)PASSED.*PASSED", r"(?s)(PASSED.*){3}", "-- lmbench --")
STARTS: Mapping[str, Sequence[str]] = {
    "session": SESSION_STARTS,
    "full disk": SESSION_STARTS[2:],
    "gate": (*SESSION_STARTS[2:5], "gate against", "gate against", "gate against", "-- lmbench --"),
    "load": ("", "stress: ", "stress: hold 1", "written: "),
}
"""A kind's moments: a pattern in its output, after which a random delay begins."""
DELAYS_S: Mapping[str, float] = {"gate against": 6.0, "stress: ": 2.0}
PHASES = (
    ("results", re.compile("-- lmbench --|written: ")),
    ("pairs", re.compile("gate against")),
    ("load", re.compile("stress: hold")),
    ("between cases", re.compile("PASSED")),
    ("start", re.compile("")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """What is started, when and how it is killed; drawn from the seed alone."""

    number: int
    kind: str
    signal: signal.Signals
    group: bool
    start: str
    delay_s: float

    def __str__(self) -> str:
        who = "the process group" if self.group else "the process"
        return f"kill {self.number}: {self.kind}, {self.signal.name} to {who} {self.delay_s:.2f} s after {self.start or 'its start'!r}"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a trial came to."""

    kill: Kill
    folder: Path
    phase: str
    """Where the kill met it; 'after its end' when it was too late."""
    output: str
    status: int | None
    """None for a process that did not end."""
    finished: frozenset[str] = field(default_factory=frozenset)
    """Node ids that pytest itself has called passed."""


def draw(seed: int, kills: int) -> list[Kill]:
    """The kills of a campaign: every kind and every signal in turn, all else by chance."""
    random = Random(seed)
    kinds = list(STARTS)
    drawn = []
    for number in range(kills):
        kind = kinds[number % len(kinds)]
        start = random.choice(STARTS[kind])
        drawn.append(
            Kill(
                number=number + 1,
                kind=kind,
                signal=SIGNALS[(number // len(kinds) + number) % len(SIGNALS)],
                group=random.random() < 0.5,
                start=start,
                delay_s=random.uniform(0.0, DELAYS_S.get(start, 1.0)),
            )
        )
    return drawn


def hear_signals() -> None:
    """Let what is started hear every signal: a shell ignores Ctrl-C for its background jobs, and nohup SIGHUP."""
    for number in SIGNALS:
        if number != signal.SIGKILL and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def carry_out(kill: Kill, repository: Path, folder: Path) -> Outcome:
    """Start it, kill it, wait for its end."""
    folder.mkdir(parents=True)
    if (warm := folder.parent / CONTROL / "cache").is_dir():
        shutil.copytree(warm, folder / "cache", ignore=shutil.ignore_patterns("journal"))
    log = folder / "output.txt"
    with ExitStack() as stack:
        stack.enter_context(_disk(kill, folder))
        stream = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            _command(kill.kind, folder),
            cwd=repository,
            env=environment(folder, str(kill.number)),
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _await(process, log, re.compile(kill.start))
            CLOCK.sleep_until(CLOCK.now() + kill.delay_s)
            late = process.poll() is not None
            before = _read(log)
            if not late:
                _send(process, kill)
            status = _end(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        text = _read(log)
    phase = "after its end" if late else next(name for name, pattern in PHASES if pattern.search(before))
    return Outcome(kill=kill, folder=folder, phase=phase, output=text, status=status, finished=frozenset(PASSED.findall(text)))


def environment(folder: Path, mark: str) -> dict[str, str]:
    """The user's, with the campaign's own temporary folder, a cache of its own, and a mark by which its processes are known."""
    top = folder.parent
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTEST_ADDOPTS", "COLUMNS")}
    ours = {"TMPDIR": str(top / "tmp"), "LMBENCH_CACHE": str(folder / "cache"), MARKER: f"{top} {mark}", "COLUMNS": "200"}
    return {"PYTHONPATH": str(ROOT), **variables, **ours}


def processes(top: Path) -> list[int]:
    """Those of the campaign that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state = (path / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            marked = f"{MARKER}={top} ".encode() in (path / "environ").read_bytes()
            if marked and state not in ("Z", "X"):
                found.append(int(path.name))
    return found


def _command(kind: str, folder: Path) -> list[str]:
    if kind == "load":
        shape = ("--shape", "hold 20 for 3s", "--slo", "latency=5s", "--processes", "1", "--out", str(folder / "reports"))
        server = ("--url", "http://127.0.0.1:{port}", "--server", SERVER, "--prompt-tokens", "8", "--output-tokens", "2")
        return [sys.executable, "-u", "-m", "lmbench", "load", *server, *shape]
    places = (f"--lmbench-reports={folder / 'reports'}", f"--benchmark-storage=file://{folder / 'stored'}")
    gate = ("--lmbench-gate=HEAD~1", "--lmbench-gate-pair=all", "--lmbench-gate-budget=5s") if kind == "gate" else ()
    return [*PYTEST, *places, *gate, "--benchmark-autosave", "kill.suite.yaml", "test_plain.py"]


@contextmanager
def _disk(kill: Kill, folder: Path) -> Iterator[None]:
    """The disk of the reports; a small one for a session that is to fill it."""
    if kill.kind != "full disk":
        yield
        return
    with mounted(folder / "reports", FULL_BYTES) as there:
        if not there:  # the nearest thing without rights to mount: no report can be written at all
            (folder / "reports").write_text("in the way", encoding="utf-8")
        yield


def _await(process: subprocess.Popen[bytes], log: Path, start: re.Pattern[str]) -> None:
    deadline = CLOCK.now() + START_S
    while process.poll() is None and not start.search(_read(log)) and CLOCK.now() < deadline:
        CLOCK.sleep_until(CLOCK.now() + 0.02)


def _send(process: subprocess.Popen[bytes], kill: Kill) -> None:
    with contextlib.suppress(ProcessLookupError):
        if kill.group:
            os.killpg(process.pid, kill.signal)
        else:
            process.send_signal(kill.signal)


def _end(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(END_S)
    except subprocess.TimeoutExpired:
        return None


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")
