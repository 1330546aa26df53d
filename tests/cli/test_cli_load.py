"""`lmbench load`: what it refuses and why, what a run leaves behind, and how it ends."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from lmbench.cli.main import cli
from lmbench.compare.gate import UNWRITTEN_STATUS
from lmbench.load.null_server import null_server
from lmbench.load.ports import free_port
from lmbench.load.request_log import StoredLogs, read_request_log
from lmbench.measure.clock import CLOCK
from lmbench.store.runs import read_run

URL = ("--url", "http://127.0.0.1:1")
NULL_SERVER = f"{sys.executable} -P -m lmbench.load.null_server --tokens 4 --port {{port}}"
SMALL = ("--prompt-tokens", "16", "--output-tokens", "4")
LIMIT_S = 600.0


def load(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["load", *arguments])


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command as a shell would start it, in a process group of its own."""
    environment = os.environ | {"COLUMNS": "40", "LMBENCH_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "lmbench", "load", *SMALL, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with null_server(4, CLOCK) as found:
        yield found


def request_log(folder: Path) -> StoredLogs:
    (path,) = (folder / "reports" / "requests").glob("*.jsonl")
    return read_request_log(path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "found none of them; expected one of --shape, --ramp, --search and --trace"),
        (("--ramp", "1..4", "--search", "1"), "found --ramp and --search; expected one of"),
        (("--ramp", "1..4", "--slo", "ttft=fast"), "found 'ttft=fast'; expected for example ttft_p95=500ms"),
        (("--ramp", "1..4", "--slo", "ttft_p95=1s,tpot_p99=50ms"), "found p95, p99; expected one percentile"),
        (("--ramp", "1..4", "--slo", "ttft=1s,ttft=2s"), "found ttft twice; expected one objective of each kind"),
        (("--ramp", "1..4", "--slo", "latency_p101=1s"), "expected times above 0 and a percentile above 0, 100 at most"),
        (("--ramp", "1..4", "--slo", "latency=0s"), "expected times above 0 and a percentile above 0, 100 at most"),
        (("--ramp", "4..1"), "shape column"),
        (("--shape", "hold 20 fr 60s"), "    hold 20 fr 60s\n            ^"),
        (("--shape", "hodl 20 for 60s"), "Did you mean 'hold'?"),
        (("--search", "1", "--step", "soon"), "expected a duration such as 500ms, 30s, 10m or 2h"),
        (("--ramp", "1..4", "--prompt-tokens", "0"), "prompt_tokens"),
        (("--ramp", "1..4", "--output-tokens", "uniform 5..1"), "output_tokens column"),
        (("--ramp", "1..4", "--burstiness", "0.5"), "expected arrivals: gamma beside it"),
        (("--ramp", "1..4", "--rate", "3"), "No such option"),
        (("--trace", "nowhere.csv"), "does not exist"),
        (("--ramp", "1..4", "--server", "serve 'it"), '--server: found "serve \'it" (No closing quotation)'),
        (("--ramp", "1..4", "--server", ""), "server.command: found []; expected"),
        (("--ramp", "1..4", "--token-ids", "--api", "chat"), "found token_ids with the chat API"),
        (("--ramp", "1..4", "--url", "127.0.0.1:8000"), "expected http(s)://host[:port][/path]"),
        (("--ramp", "1..4", "--url", "http://127.0.0.1:{port}"), "no server to start"),
        (("--ramp", "1..4", "--api-key-env", "LMBENCH_NO_SUCH_KEY"), "LMBENCH_NO_SUCH_KEY, which should hold the API key"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(arguments: tuple[str, ...], words: str) -> None:
    result = load(*URL, *arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_an_endpoint_is_needed() -> None:
    result = load("--ramp", "1..4")
    assert result.exit_code == 2
    assert "--url" in result.output


def test_a_run_leaves_reports_a_request_log_and_a_jtl(url: str, tmp_path: Path) -> None:
    process = start(tmp_path, "--url", url, "--ramp", "20..40", "--step", "500ms", "--slo", "latency=5s", "--jtl", "all.jtl")
    status, out, err = finish(process)
    assert status == 0, err
    (log,) = (tmp_path / "reports" / "requests").glob("*.jsonl")
    names = ["reports/load.md", "reports/load.html", "reports/load.csv", "all.jtl", str(log.relative_to(tmp_path))]
    assert [line for line in out.splitlines() if line.startswith("written: ")] == [f"written: {name}" for name in names]
    assert all((tmp_path / name).stat().st_size > 0 for name in names)
    logs = request_log(tmp_path).logs
    assert len(logs) > 10
    assert {log.status for log in logs} == {"completed"}
    with (tmp_path / "all.jtl").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(logs)
    assert sum(line.startswith("ramp ") for line in out.splitlines()) == 2
    assert "max_sustainable_rate" in out
    # A log is no terminal, however narrow: every message is one line.
    assert all(line.startswith("stress: ") for line in err.splitlines())
    assert "\x1b" not in out + err
    assert any(line.endswith("against a server that answers at once") for line in err.splitlines())
    assert all(line.startswith("note: ") for line in out.splitlines() if len(line) > 300)


def test_a_server_of_its_own_and_a_shape_on_one_line(tmp_path: Path) -> None:
    shape = ("--shape", "closed 2 for 300ms each")
    process = start(tmp_path, "--url", "http://127.0.0.1:{port}", "--server", NULL_SERVER, *shape, "--processes", "1")
    status, out, err = finish(process)
    assert status == 0, err
    assert any(line.startswith("ramp of 2 streams") or " of 2 streams" in line for line in out.splitlines())
    assert len(request_log(tmp_path).logs) > 0


def test_a_run_that_fails_says_why_and_exits_with_1(tmp_path: Path) -> None:
    status, out, err = finish(start(tmp_path, "--url", f"http://127.0.0.1:{free_port()}", "--shape", "hold 5 for 1s"))
    assert status == 1, err
    assert "WorkloadError: found no answer from http://127.0.0.1:" in out
    for name in ("load.md", "load.html", "load.csv"):
        assert "found no answer from" in (tmp_path / "reports" / name).read_text()
    assert "Traceback" not in out + err


def test_ctrl_c_ends_the_run_in_order(tmp_path: Path) -> None:
    """SIGINT goes to the whole group, as a terminal sends it."""
    server = ("--url", "http://127.0.0.1:{port}", "--server", NULL_SERVER, "--processes", "1")
    process = start(tmp_path, *server, "--shape", "hold 50 for 1m", "--jtl", "all.jtl")
    assert process.stderr is not None
    children: list[psutil.Process] = []
    for line in process.stderr:
        if " in flight" in line:
            children = psutil.Process(process.pid).children(recursive=True)
            os.killpg(process.pid, signal.SIGINT)
            break
    status, out, err = finish(process)
    assert status == 130, err
    assert len(children) >= 3
    assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    stored = request_log(tmp_path)
    assert not stored.torn
    assert 0 < len(stored.logs) < 60 * 50
    assert {log.status for log in stored.logs} <= {"completed", "cancelled"}
    assert "the run was interrupted" in out
    assert any(line.startswith("hold  interrupted ") for line in out.splitlines())
    report = (tmp_path / "reports" / "load.md").read_text()
    assert "the run was interrupted" in report
    assert "cases that were not finished" not in report
    assert (tmp_path / "all.jtl").stat().st_size > 0


@pytest.mark.parametrize(("number", "expected", "how"), [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, " (ended by SIGTERM)")])
def test_an_end_before_the_load_leaves_nothing_to_report(tmp_path: Path, number: signal.Signals, expected: int, how: str) -> None:
    server = f'{sys.executable} -c "import time; time.sleep(3600)" {{port}}'
    process = start(tmp_path, "--url", "http://127.0.0.1:{port}", "--server", server, "--shape", "hold 5 for 1s")
    assert process.stderr is not None
    children: list[psutil.Process] = []
    for line in process.stderr:
        if "not ready" in line or "waiting" in line:
            children = psutil.Process(process.pid).children(recursive=True)
            break
    os.killpg(process.pid, number)
    status, out, err = finish(process)
    assert status == expected, err
    assert f"interrupted before a step had begun{how}: there is nothing to report" in err
    assert len(children) >= 2
    assert not psutil.wait_procs(children, timeout=LIMIT_S)[1]
    assert "written" not in out


def test_files_that_cannot_be_written_cost_a_run_none_of_its_figures(url: str, tmp_path: Path) -> None:
    for name in ("reports", "all.jtl"):
        (tmp_path / name).write_text("in the way")
    process = start(
        tmp_path, "--url", url, "--shape", "hold 20 for 1s", "--slo", "latency=5s", "--jtl", "all.jtl/x", "--out", "reports/x"
    )
    status, out, err = finish(process)
    assert status == UNWRITTEN_STATUS, out + err
    assert "latency_p95_s" in out and "Traceback" not in out + err
    told = [line for line in err.splitlines() if "cannot be written" in line or "is not written" in line]
    starts = ("record: ", "--jtl: ", "not kept: the request log", "reports")
    assert [next(start for start in starts if line.startswith(start)) for line in told] == [
        "record: ",
        "--jtl: ",
        "not kept: the request log",
        "reports",
    ], err
    (kept,) = (tmp_path / "cache").glob("load-*.jsonl")
    assert f"record: {kept}" in out and str(kept) in told[0]
    (record,) = read_run(kept).records
    assert record.failure is None and record.details["request_log"] is None and record.metrics["goodput_requests_per_s"].value
