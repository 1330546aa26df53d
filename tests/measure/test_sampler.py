"""The sampler as a process: it follows a real tree, excludes itself, stops when told and dies with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lmbench.base.errors import WorkerError
from lmbench.measure.clock import CLOCK
from lmbench.measure.harness import counted_work, harness_cost
from lmbench.measure.sampler import Sampler
from lmbench.measure.samples import summary

BURN = "import time\nblock = bytearray(64 << 20)\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
PARENT = """
import os, sys
from lmbench.measure.clock import CLOCK
from lmbench.measure.sampler import Sampler
sampler = Sampler(os.getpid())
sampler.start()
if sys.argv[1] == "fork":
    child = os.fork()
    if child == 0:
        CLOCK.sleep_until(CLOCK.now() + 3600)
        os._exit(0)
else:
    child = 0
print(sampler.pid, child, flush=True)
CLOCK.sleep_until(CLOCK.now() + 3600)
"""


def wait_for_end(pid: int, seconds: float = 600.0) -> bool:
    deadline = CLOCK.now() + seconds
    while CLOCK.now() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        try:
            state = stat.read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        CLOCK.sleep_until(CLOCK.now() + 0.02)
    return False


def test_a_childs_cpu_and_memory_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "samples.jsonl"
    with Sampler(os.getpid(), path=path) as sampler:
        subprocess.run([sys.executable, "-c", BURN], check=True)
    samples = sampler.stop()
    assert path.exists()
    assert samples.problem == ""
    found = summary(samples)
    assert found["totals"]["cpu_s"] >= 0.5
    rss = found["quantities"]["rss_bytes"]
    assert rss["max"] - rss["min"] > 50 << 20
    assert found["quantities"]["processes"]["max"] == 2
    assert found["window"]["samples"] == len(samples.rows)
    assert found["sampler"]["cpu_s"] > 0
    assert 0 < len(found["timeline"]["rss_bytes"]) <= 120


def until_rows(path: Path, number: int) -> None:
    """Wait until this many lines more are in the sampler's file; it writes them out once a second."""
    wanted = path.read_bytes().count(b"\n") + number
    while path.read_bytes().count(b"\n") < wanted:
        CLOCK.sleep_until(CLOCK.now() + 0.02)


def test_the_sampler_is_not_in_its_own_tree(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Sampler(os.getpid(), path=path) as sampler:
        until_rows(path, 2)
    assert summary(sampler.stop())["quantities"]["processes"]["max"] == 1


def test_a_window_leaves_the_rest_out(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Sampler(os.getpid(), hz=50, path=path) as sampler:
        start = CLOCK.now()
        until_rows(path, 2)
        end = CLOCK.now()
        until_rows(path, 2)
    samples = sampler.stop()
    window = summary(samples, start=start, end=end)["window"]
    assert 0 < window["samples"] < len(samples.rows)
    assert window["wall_s"] == end - start


def test_stopping_twice_gives_the_same_and_starting_twice_is_refused() -> None:
    sampler = Sampler(os.getpid())
    sampler.start()
    with pytest.raises(WorkerError, match="started before"):
        sampler.start()
    assert sampler.stop() is sampler.stop()
    with pytest.raises(WorkerError, match="make a new one"):
        sampler.start()


def test_a_paused_sampler_takes_no_samples() -> None:
    with Sampler(os.getpid(), hz=50) as sampler:
        sampler.pause()
        while psutil.Process(sampler.pid).status() != psutil.STATUS_STOPPED:
            CLOCK.sleep_until(CLOCK.now() + 0.01)
        paused = CLOCK.now()
        CLOCK.sleep_until(paused + 0.5)
        resumed = CLOCK.now()
        sampler.resume()
    between = [row for row in sampler.stop().rows if paused < row["t"] < resumed]
    assert between == []
    assert summary(sampler.stop())["gaps"]["count"] >= 1


def test_a_process_that_is_not_there_is_said_not_raised() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Sampler(gone.pid) as sampler:
        pass
    samples = sampler.stop()
    assert samples.rows == ()
    assert samples.footer["why"] == "the sampled process ended"
    assert summary(samples)["window"] is None


def test_a_killed_sampler_keeps_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    with Sampler(os.getpid(), hz=50, path=path) as sampler:
        until_rows(path, 2)
        assert sampler.pid is not None
        os.kill(sampler.pid, signal.SIGKILL)
    samples = sampler.stop()
    assert "status -9" in samples.problem
    assert len(samples.rows) > 1
    assert summary(samples)["problem"] == samples.problem


def test_a_sampler_never_started_says_so() -> None:
    assert summary(Sampler(os.getpid()).stop())["problem"] == "the sampler was never started"


def test_a_rate_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="hz=0"):
        Sampler(os.getpid(), hz=0)


@pytest.mark.parametrize("how", ["alone", "fork"])
def test_killing_the_parent_leaves_no_sampler(how: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, how], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    sampler, child = map(int, parent.stdout.readline().split())
    try:
        assert Path(f"/proc/{sampler}").exists()
        parent.kill()
        parent.wait()
        assert wait_for_end(sampler)
    finally:
        parent.stdout.close()
        if child:
            os.kill(child, signal.SIGKILL)


def test_the_sampler_imports_nothing_heavy() -> None:
    script = "import sys, lmbench.measure.sampler_main; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pydantic", "psutil", "torch", "pynvml", "dataclasses", "argparse"} & set(loaded)


def test_the_harness_measures_itself() -> None:
    cost = harness_cost(CLOCK, pairs=4)
    assert cost.sampler_pairs == 4
    assert cost.sampler_reason == ""
    assert cost.sampler_ratio is not None
    assert cost.sampler_ratio > 0
    assert cost.timer_resolution_s > 0
    assert cost.empty_call_s < cost.empty_round_s
    assert cost.sampler_share is not None


def test_counted_work_counts() -> None:
    assert counted_work(3) == 3000


LEAVES = """
import os, sys, tempfile
from lmbench.measure.clock import CLOCK
from lmbench.measure.sampler import Sampler
sampler = Sampler(os.getpid())
sampler.start()
if sys.argv[1] == "paused":
    sampler.pause()
print(sampler.pid, flush=True)
CLOCK.sleep_until(CLOCK.now() + 60)
"""


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_sampler_whose_parents_group_is_killed_leaves_no_folder_and_no_process(tmp_path: Path, state: str) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", LEAVES, state], stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    assert parent.stdout is not None
    sampler = int(parent.stdout.readline())
    assert [path.name.startswith("lmbench-sampler-") for path in tmp_path.iterdir()] == [True]
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_for_end(sampler)
    assert list(tmp_path.iterdir()) == []


def test_a_sampler_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Sampler(os.getpid(), path=tmp_path / "file" / "samples.jsonl") as sampler:
        pass
    assert "the sampler cannot start: " in sampler.stop().problem
