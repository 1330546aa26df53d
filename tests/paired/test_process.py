"""The driver's end of the protocol against workers that crash, hang, lie or talk nonsense."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lmbench.base.errors import WorkerError
from lmbench.base.scratch import this_process
from lmbench.base.signals import ending_signals
from lmbench.measure.clock import CLOCK
from lmbench.paired.process import Worker
from lmbench.paired.protocol import ROUND
from lmbench.run.isolate import Place, kill_workers_of

HELLO = """tell('{"event": "hello", "protocol": 1, "lmbench": "0", "python": "3"}')\n"""
COLLECTED = """tell('{"event": "collected", "cases": {"a": null}, "errors": {}}')\n"""
Impostor = Callable[[str], str]
LONG_S = 600.0
"""A limit for what ends as soon as it is there; a loaded machine does not reach it."""


def quiet(_: str) -> None:
    """Progress nobody looks at."""


def started(python: str, root: Path) -> Worker:
    return Worker(Place(name="base", root=root, python=python), [], foreign=None, say=quiet)


def test_a_worker_that_dies_is_named_with_its_signal_and_its_last_words(impostor: Impostor, tmp_path: Path) -> None:
    body = HELLO + COLLECTED + "print('about to fall', flush=True)\nos.kill(os.getpid(), 11)"
    with started(impostor(body), tmp_path) as worker:
        assert worker.collected(LONG_S).cases == {"a": None}
        with pytest.raises(WorkerError, match=r"base worker ended: killed by SIGSEGV\nlast output:\nabout to fall") as caught:
            worker.receive(LONG_S)
    assert caught.value.side == "base"


def test_a_worker_that_hangs_is_given_up_and_killed_with_its_children(impostor: Impostor, tmp_path: Path) -> None:
    told = "pid = os.fork()\nif pid:\n    tell(json.dumps({'event': 'progress', 'text': str(pid)}))\n"
    body = HELLO + told + f"    {COLLECTED}time.sleep(3600)"
    said: list[str] = []
    with Worker(Place(name="head", root=tmp_path, python=impostor(body)), [], foreign=None, say=said.append) as worker:
        worker.collected(LONG_S)
        with pytest.raises(WorkerError, match=r"head worker no answer after 1 s"):
            worker.receive(1)
    child = int(said[-1].removeprefix("head: "))
    assert goes(child) and goes(worker.pid)


def goes(pid: int) -> bool:
    """Whether a process that was killed ends: the signal was sent, and the kernel may take a moment on a busy machine."""
    status = Path(f"/proc/{pid}/status")
    deadline = CLOCK.now() + LONG_S
    while CLOCK.now() < deadline:
        try:
            if "State:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        CLOCK.sleep_until(CLOCK.now() + 0.01)
    return False


@pytest.mark.parametrize("line", ["no json", "[1, 2]", '{"event": 7}', "\\x00\\xff"])
def test_garbage_on_the_pipe_is_quoted(impostor: Impostor, tmp_path: Path, line: str) -> None:
    with started(impostor(HELLO + COLLECTED + f"tell('{line}')\ntime.sleep(3600)"), tmp_path) as worker:
        worker.collected(LONG_S)
        with pytest.raises(WorkerError, match="expected a JSON line with an event"):
            worker.receive(LONG_S, ROUND)


def test_an_event_out_of_order_is_an_error(impostor: Impostor, tmp_path: Path) -> None:
    with started(impostor(HELLO + COLLECTED + """tell('{"event": "left"}')\ntime.sleep(3600)"""), tmp_path) as worker:
        worker.collected(LONG_S)
        with pytest.raises(WorkerError, match="found event 'left'; expected round"):
            worker.receive(LONG_S, ROUND)


def test_another_protocol_asks_for_the_same_lmbench_on_both_sides(impostor: Impostor, tmp_path: Path) -> None:
    body = """tell('{"event": "hello", "protocol": 99, "lmbench": "9.9"}')\ntime.sleep(3600)"""
    with started(impostor(body), tmp_path) as worker, pytest.raises(WorkerError, match=r"protocol 99 .*install the same lmbench"):
        worker.collected(LONG_S)


def test_a_python_that_cannot_be_started_is_said(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="no-python cannot be started"):
        started(str(tmp_path / "no-python"), tmp_path)


def test_a_python_without_lmbench_shows_its_own_words(tmp_path: Path) -> None:
    place = Place(name="base", root=tmp_path, python=sys.executable, env={"PYTHONPATH": "", "PYTHONHOME": str(tmp_path)})
    with (
        pytest.raises(WorkerError, match=r"ended: exit status 1\nlast output"),  # at once, or when it is first asked
        Worker(place, [], foreign=None, say=quiet) as worker,
    ):
        worker.collected(LONG_S)


def test_a_worker_ends_when_its_driver_is_gone(tree: Callable[..., Path]) -> None:
    with Worker(Place(name="head", root=tree("head")), ["test_a.py"], foreign=None, say=quiet) as worker:
        worker.collected(LONG_S)
        os.close(worker._commands)
        assert worker._process.wait(LONG_S) != 0
        worker._commands = os.open(os.devnull, os.O_WRONLY)


def test_a_worker_does_not_see_the_commit_in_progress_and_is_known_as_ours(
    impostor: Impostor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/of/the/hook/.git")
    monkeypatch.setenv("GIT_INDEX_FILE", "/of/the/hook/.git/index.lock")
    body = HELLO + "names = [name for name in os.environ if name.startswith(('GIT_DIR', 'GIT_INDEX', 'LMBENCH_PARENT'))]\n"
    body += "tell(json.dumps({'event': 'collected', 'cases': dict.fromkeys(names), 'errors': {}}))\ntime.sleep(600)"
    with started(impostor(body), tmp_path) as worker:
        assert list(worker.collected(LONG_S).cases) == ["LMBENCH_PARENT"]
        kill_workers_of(this_process())  # which lives
        assert worker._process.poll() is None


def test_when_a_whole_job_is_cancelled_its_end_is_no_failure_of_a_worker(impostor: Impostor, tmp_path: Path) -> None:
    """The signal reaches the worker first and this process a little later."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cancel = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))
    try:
        with ending_signals() as endings, started(impostor("os.kill(os.getpid(), 15)"), tmp_path) as worker:
            worker._process.wait()
            cancel.start()
            with pytest.raises(KeyboardInterrupt, match="ended by SIGTERM"):
                worker.collected(LONG_S)
        assert endings.status == 143
    finally:
        signal.signal(signal.SIGTERM, before)


DRIVE = """
import sys
from pathlib import Path
from lmbench.paired.process import Worker
from lmbench.run.isolate import Place, kill_workers_of
with Worker(Place(root=Path(sys.argv[1])), ["test_a.py"], foreign=None, say=print) as worker:
    worker.collected(600)
    print(worker.pid, flush=True)
    sys.stdin.read()
"""


def test_a_worker_whose_driver_was_killed_ends_with_what_it_started(tree: Callable[..., Path]) -> None:
    starts = """
    import subprocess, sys
    CHILD = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open("child", "w").write(str(CHILD.pid))
    """
    root = tree("alone", {"conftest.py": starts, "test_a.py": "def test_a(benchmark):\n    benchmark(int)\n"})
    with subprocess.Popen([sys.executable, "-c", DRIVE, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        worker = int(driver.stdout.readline())
        driver.kill()
    assert goes(worker) and goes(int((root / "child").read_text()))
