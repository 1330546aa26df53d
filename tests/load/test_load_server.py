"""Managed servers with real processes: ready, dead, late, stopped; nothing survives them, and no secret is told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lmbench.base.errors import WorkloadError
from lmbench.base.secrets import MASK
from lmbench.load.ports import free_port, is_open, listener_pid
from lmbench.load.server import ManagedServer, ServerSpec
from lmbench.measure.clock import CLOCK, ManualClock

LONG_S = 600.0
SERVER = """
import http.server, json, os, subprocess, sys
port, pids, mode = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sleeper = "import os, signal, sys, time\\nif sys.argv[1] == 'stubborn': signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(600)"
children = [subprocess.Popen([sys.executable, "-c", sleeper, mode], start_new_session=apart).pid for apart in (False, True)]
# A daemon: its parent ends at once, and it leaves the session.
twice = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]], start_new_session=True, stdout=2).pid)"
made = subprocess.run([sys.executable, "-c", twice, sleeper, mode], stdout=subprocess.PIPE, text=True, check=True)
with open(pids + ".part", "w") as stream:
    json.dump([os.getpid(), *children, int(made.stdout)], stream)
os.replace(pids + ".part", pids)
print("token:", os.environ.get("MY_API_TOKEN"), flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def spec(tmp_path: Path, *, mode: str = "polite", **more: object) -> ServerSpec:
    command = (sys.executable, "-c", SERVER, "{port}", str(tmp_path / "pids.json"), mode)
    values: dict[str, object] = {"command": command, "timeout_s": LONG_S, "log": tmp_path / "server.log", **more}
    return ServerSpec(**values)  # type: ignore[arg-type]


def started(tmp_path: Path) -> list[psutil.Process]:
    pids = json.loads((tmp_path / "pids.json").read_text())
    return [psutil.Process(pid) for pid in pids]


def assert_all_end(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=LONG_S)
    alive = [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
    for one in alive:
        one.kill()
    assert alive == []


@contextlib.contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield int(taken.getsockname()[1])


def test_a_server_is_ready_inside_and_gone_after_with_all_it_started(tmp_path: Path) -> None:
    with ManagedServer(spec(tmp_path), CLOCK) as server:
        family = started(tmp_path)
        assert len(family) == 4
        assert server.pid == family[0].pid
        assert server.alive()
        assert listener_pid(server.url) == server.pid
    assert not server.alive()
    assert_all_end(family)
    assert "token:" in (tmp_path / "server.log").read_text()


def test_what_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    with ManagedServer(spec(tmp_path, mode="stubborn", grace_s=0.2), CLOCK):
        family = started(tmp_path)
    assert_all_end(family)


def test_an_exception_inside_ends_the_server_too(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ManagedServer(spec(tmp_path), CLOCK):
        family = started(tmp_path)
        raise KeyboardInterrupt
    assert_all_end(family)


PARENT = """
import os, sys, time
from lmbench.load.server import ManagedServer, ServerSpec
from lmbench.measure.clock import CLOCK
command = (sys.executable, "-c", sys.argv[1], "{port}", sys.argv[2], "polite")
with ManagedServer(ServerSpec(command=command, timeout_s=600), CLOCK) as server:
    if sys.argv[3] == "forks" and os.fork() == 0:
        time.sleep(600)  # A child that holds every descriptor of its parent open.
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize(
    ("number", "habit"), [(signal.SIGKILL, ""), (signal.SIGKILL, "forks"), (signal.SIGTERM, ""), (signal.SIGINT, "")]
)
def test_a_killed_run_leaves_no_server_behind(tmp_path: Path, number: signal.Signals, habit: str) -> None:
    command = [sys.executable, "-c", PARENT, SERVER, str(tmp_path / "pids.json"), habit]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"ready\n"
    family = started(tmp_path)
    guard = psutil.Process(family[0].ppid())
    forked = [one for one in psutil.Process(parent.pid).children() if one.pid != guard.pid]
    assert len(forked) == (habit == "forks")
    parent.send_signal(number)
    parent.wait(LONG_S)
    assert_all_end([*family, guard])
    for one in forked:
        one.kill()
    parent.stdout.close()


def test_a_killed_guard_does_not_save_the_server(tmp_path: Path) -> None:
    server = ManagedServer(spec(tmp_path), CLOCK)
    server.start()
    family = started(tmp_path)
    os.kill(family[0].ppid(), signal.SIGKILL)
    server.stop()
    assert_all_end(family[:2])
    for stray in family[2:]:  # Left the group, and their keeper was murdered: nobody can know them any more.
        stray.kill()


def test_a_server_that_ends_early_is_reported_with_its_log() -> None:
    script = "import os, sys; print('cannot load', os.environ['MY_API_TOKEN']); sys.exit(3)"
    early = ServerSpec(command=(sys.executable, "-c", script), env={"MY_API_TOKEN": "very-secret"}, timeout_s=LONG_S)
    with pytest.raises(WorkloadError, match=r"exit status 3") as caught, ManagedServer(early, CLOCK):
        pass
    assert "cannot load ***" in str(caught.value)
    assert "very-secret" not in str(caught.value)


def test_a_server_that_is_never_ready_is_told_of_and_ended(tmp_path: Path) -> None:
    said: list[str] = []
    port = free_port()

    class HalfSeconds(ManualClock):
        """Half a second at every look, once the server listens; how long that takes on a busy machine does not count."""

        def now(self) -> float:
            if super().now() or is_open("127.0.0.1", port):
                self.advance(0.5)
            return super().now()

    late = spec(tmp_path, ready="/never", timeout_s=4.0, port=port)
    with (
        pytest.raises(WorkloadError, match=r"/never answers with status 503"),
        ManagedServer(late, HalfSeconds(), said.append),
    ):
        pass
    assert said
    assert "waiting for http://127.0.0.1:" in said[0]
    assert_all_end([one for one in _maybe(tmp_path) if one.is_running()])


def _maybe(tmp_path: Path) -> list[psutil.Process]:
    try:
        return started(tmp_path)
    except (OSError, psutil.NoSuchProcess):
        return []


def test_a_missing_program_is_named() -> None:
    missing = ServerSpec(command=("no-such-program-here",), timeout_s=LONG_S)
    with pytest.raises(WorkloadError, match="No such file or directory: no-such-program-here"), ManagedServer(missing, CLOCK):
        pass


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with listening() as port:
        url = f"http://127.0.0.1:{port}"
        assert listener_pid(url) == os.getpid()
        with pytest.raises(WorkloadError, match=f"process {os.getpid()} listening"):
            ManagedServer(spec(tmp_path, url=url), CLOCK).start()
        with pytest.raises(WorkloadError, match="already"):
            ManagedServer(spec(tmp_path, port=port), CLOCK).start()
    assert not (tmp_path / "pids.json").exists()


def test_an_open_port_is_enough_for_tcp(tmp_path: Path) -> None:
    with ManagedServer(spec(tmp_path, ready="tcp", grace_s=1.0), CLOCK) as server:
        assert server.alive()
        family = started(tmp_path)
        family[0].kill()
        psutil.wait_procs(family[:1], timeout=LONG_S)
        assert not server.alive()
    assert_all_end(family)


def test_listeners_elsewhere_have_no_pid_here() -> None:
    assert listener_pid(f"http://127.0.0.1:{free_port()}") is None
    assert listener_pid("http://192.0.2.1:80") is None
    assert listener_pid("http://no.such.host.invalid:80") is None


def test_descriptions_are_stable_and_hold_no_secret() -> None:
    one = ServerSpec(
        command=("serve", "--port", "{port}", "--api-key", "hush", "--hf-token=hush", "--max-tokens", "16", "--note=abcdefgh"),
        env={"OPENAI_API_KEY": "abcdefgh", "DB_PASSWORD": "x", "PLAIN": "{port} abcdefgh", "my_secret": "zz"},
    )
    told = one.describe()
    assert told["command"] == [
        "serve", "--port", "{port}", "--api-key", MASK, f"--hf-token={MASK}", "--max-tokens", "16", f"--note={MASK}",
    ]  # fmt: skip
    assert told["env"] == {"OPENAI_API_KEY": MASK, "DB_PASSWORD": MASK, "PLAIN": f"{{port}} {MASK}", "my_secret": MASK}
    assert not {"hush", "abcdefgh"} & set(json.dumps(told).split('"'))


def test_faults_of_a_spec_are_found_at_once() -> None:
    with pytest.raises(WorkloadError, match="as a list"):
        ServerSpec(command="serve --port 1")  # type: ignore[arg-type]
    with pytest.raises(WorkloadError, match="expected a path such as /health"):
        ServerSpec(command=("serve",), ready="health")
