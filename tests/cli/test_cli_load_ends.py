"""How load runs end: by signals, in failure, killed; what each leaves on disk, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from lmbench.load.ports import free_port
from lmbench.load.request_log import StoredLogs, read_request_log
from lmbench.measure.clock import CLOCK
from lmbench.store.runs import read_run

NULL_SERVER = f"{sys.executable} -P -m lmbench.load.null_server --tokens 4 --port {{port}}"
SERVED = ("--url", "http://127.0.0.1:{port}", "--server", NULL_SERVER, "--processes", "1")
LIMIT_S = 600.0
SOON_S = 120.0
"""The runs that are killed here send for longer, in one step; a log that is written only now and then is still empty by then."""
SUITE = """
models:
  stub: {model: fake, vocab_size: 32}
matrix: {model: stub, backend: fake}
cases:
  soak: {workload: stress, shape: soak 50 for 10m, slo: {latency_s: 5}, prompt_tokens: 4, output_tokens: 2}
"""


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"LMBENCH_CACHE": str(folder / "cache")},
        start_new_session=True,
    )


def load(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command as a shell would start it."""
    sizes = ("--prompt-tokens", "16", "--output-tokens", "4")
    return start(folder, ["-m", "lmbench", "load", *sizes, "--slo", "latency=5s", *arguments])


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


def until_under_way(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Everything below the process, once its load is on."""
    assert process.stderr is not None
    for line in process.stderr:
        if " in flight" in line:
            return psutil.Process(process.pid).children(recursive=True)
    raise AssertionError(finish(process))


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder itself."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def log_in(folder: Path) -> StoredLogs:
    (path,) = folder.glob("*.jsonl")
    return read_request_log(path)


def test_a_run_that_is_ended_or_fails_replaces_nothing_of_one_that_was_complete(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    jtl = ("--jtl", "all.jtl")
    status, out, err = finish(load(tmp_path, *SERVED, "--shape", "hold 40 for 500ms", *jtl))
    assert status == 0, err
    good = files(reports) | files(reports / "requests") | {"all.jtl": (tmp_path / "all.jtl").read_bytes()}
    assert {"load.md", "load.html", "load.csv", "load.jsonl", "all.jtl"} < set(good)

    process = load(tmp_path, *SERVED, "--shape", "hold 50 for 10m", *jtl)
    children = until_under_way(process)
    process.send_signal(signal.SIGTERM)
    status, out, err = finish(process)
    assert status == 143, err
    assert "the run was interrupted (ended by SIGTERM): this report is partial" in out
    assert "kept: the files in reports of the complete run" in out
    assert len(children) >= 3 and not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    assert "ended by SIGTERM" in (reports / "interrupted" / "load.md").read_text()
    (record,) = read_run(reports / "interrupted" / "load.jsonl").records
    assert (record.details["interrupted"], record.details["ended_by"]) == (True, "ended by SIGTERM")
    logs = log_in(reports / "interrupted" / "requests").logs
    assert len(logs) == record.details["accounts"]["sent"] > 0
    assert (reports / "interrupted" / "all.jtl").stat().st_size > 0

    status, out, err = finish(load(tmp_path, "--url", f"http://127.0.0.1:{free_port()}", "--shape", "hold 5 for 1s", *jtl))
    assert status == 1, err
    assert "written: reports/failed/load.md" in out and "kept: the files in reports of the complete run" in out
    assert "found no answer from" in (reports / "failed" / "load.md").read_text()
    assert files(reports) | files(reports / "requests") | {"all.jtl": (tmp_path / "all.jtl").read_bytes()} == good

    stored = str(reports / "load.jsonl"), str(reports / "failed" / "load.jsonl")
    rows = CliRunner().invoke(cli, ["export", "csv", *stored]).output.splitlines()
    assert any("max_sustainable_rate" in row for row in rows) and any("WorkloadError" in row for row in rows)


def test_a_closed_terminal_ends_the_run_in_order(tmp_path: Path) -> None:
    """SIGHUP goes to the whole group, as the kernel sends it, and a second signal does not stop the writing."""
    process = load(tmp_path, *SERVED, "--shape", "closed 3 for 10m each", "--processes", "2")
    children = until_under_way(process)
    os.killpg(process.pid, signal.SIGHUP)
    os.killpg(process.pid, signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 129, err
    assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    assert "ended by SIGHUP" in (tmp_path / "reports" / "load.md").read_text()
    stored = log_in(tmp_path / "reports" / "requests")
    numbers = sorted(log.request.index for log in stored.logs)
    assert numbers == list(range(len(numbers))) and not stored.torn
    assert {log.status for log in stored.logs} <= {"completed", "cancelled"}


def kill_in_the_middle(process: subprocess.Popen[str], requests: Path) -> list[psutil.Process]:
    """SIGKILL once some requests are in the log; everything that was below the process."""
    give_up_at = CLOCK.now() + LIMIT_S
    seen_at: float | None = None
    while process.poll() is None and CLOCK.now() < give_up_at:
        for path in requests.glob("*.jsonl"):
            seen_at = CLOCK.now() if seen_at is None else seen_at
            if path.read_bytes().count(b"\n") > 20:
                below = psutil.Process(process.pid).children(recursive=True)
                process.kill()
                return below
            assert CLOCK.now() - seen_at < SOON_S, "nothing was written for so long"
        CLOCK.sleep_until(CLOCK.now() + 0.1)
    raise AssertionError(finish(process))


@pytest.mark.parametrize("command", ["load", "pytest"])
def test_a_soak_that_is_killed_leaves_its_requests_and_no_process(tmp_path: Path, command: str) -> None:
    tmp_path.joinpath("a.suite.yaml").write_text(SUITE)
    starts: dict[str, Callable[[], subprocess.Popen[str]]] = {
        "load": lambda: load(tmp_path, *SERVED, "--shape", "soak 50 for 10m"),
        "pytest": lambda: start(tmp_path, ["-m", "pytest", "-q", "-p", "no:cacheprovider", "a.suite.yaml"]),
    }
    process = starts[command]()
    requests = tmp_path / "reports" / "requests"
    children = kill_in_the_middle(process, requests)
    finish(process)
    assert len(children) >= 2 and not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    logs = log_in(requests).logs
    assert len(logs) >= 19
    assert {log.status for log in logs} == {"completed"}
    assert len({log.request.index for log in logs}) == len(logs)
    if command == "load":
        status, _, err = finish(load(tmp_path, *SERVED, "--shape", "hold 20 for 300ms"))
        assert status == 0, err
        (left,) = requests.glob("*.unfinished.jsonl")
        assert read_request_log(left).logs[: len(logs)] == logs
        assert len(list(requests.glob("*.jsonl"))) == 2
