"""Cases in worker processes: results, progress, crashes, hangs, garbage and Ctrl-C, none of which leaves an orphan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lmbench.base.errors import Unavailable
from lmbench.plan.case import Case, Choice
from lmbench.record.record import ERROR, OK, ONCE, Record
from lmbench.run import isolate
from lmbench.run.execute import Setting, execute
from lmbench.run.isolate import run_isolated
from lmbench.suite.params import LatencyParams

ROOT = Path(__file__).parents[2]
SETTING = Setting(environment="e", machine_class="m", hz=50.0)
QUICK = {"min_rounds": 2, "max_rounds": 3, "max_time_s": 0.1, "min_warmup_rounds": 1, "max_warmup_s": 0.1}


def case(*, timeout_s: float = 60.0, model: Choice | None = None, **backend: object) -> Case:
    params = LatencyParams.model_validate({"prompt_tokens": 4, "output_tokens": 3, "budget": QUICK})
    return Case(
        suite="s.suite.yaml",
        name="one",
        workload="latency",
        params=params.model_dump(),
        model=model or Choice(name="fake", kind="fake"),
        backend=Choice(name="fake", kind="fake", options=backend),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
        timeout_s=timeout_s,
    )


def run(cell: Case, *, once: bool = False) -> Record:
    setting = Setting(environment="e", machine_class="m", once=once, hz=50.0)
    return run_isolated(cell, setting, print, ROOT)


BEFORE: set[int] = set()


@pytest.fixture(autouse=True)
def note_children() -> None:
    """Other tests of this session may have started what lives as long as the session, such as multiprocessing's tracker."""
    BEFORE.clear()
    BEFORE.update(child.pid for child in psutil.Process().children(recursive=True))


def children() -> list[int]:
    """Those that the test itself has left."""
    return [child.pid for child in psutil.Process().children(recursive=True) if child.pid not in BEFORE]


def test_a_case_in_a_worker_gives_a_full_record() -> None:
    record = run(case())
    assert (record.status, record.failure) == (OK, None)
    assert record.primary is not None
    assert 2 <= len(record.series[record.primary]) <= 3
    assert record.metrics["perplexity_ratio"].value == pytest.approx(1.0)
    assert record.corpus_digest
    assert record.resources["window"]["wall_s"] > 0
    assert children() == []


def test_once_is_one_round_and_says_so() -> None:
    record = run(case(), once=True)
    assert record.mode == ONCE
    assert record.primary is not None
    assert len(record.series[record.primary]) == 1
    assert record.resources == {}


@pytest.mark.parametrize(
    ("crash", "kind", "words"),
    [("segfault", "WorkerError", "killed by SIGSEGV"), ("exception", "RuntimeError", "")],
)
def test_a_crash_is_a_record(crash: str, kind: str, words: str) -> None:
    record = run(case(crash=crash))
    assert record.status == ERROR
    assert record.failure is not None
    assert record.failure.kind == kind
    assert words in record.failure.message
    assert children() == []


def test_a_hang_is_ended_at_the_case_s_own_limit() -> None:
    record = run(case(crash="hang", timeout_s=3.0))
    assert record.failure is not None
    assert "no result after 3 s" in record.failure.message
    assert children() == []


def test_a_wrong_subject_is_an_error_and_not_a_fast_result() -> None:
    record = run(case(perturb=5.0))
    assert record.failure is not None
    assert record.failure.kind == "FidelityError"
    assert record.metrics == {}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os,sys; os.write(int(sys.argv[1]), b'not json\\n')", "expected a progress, record or unavailable event"),
        ('import os,sys; os.write(int(sys.argv[1]), b\'{"event": "record", "record": {}}\\n\')', "cannot be read"),
        ('import os,sys; os.write(int(sys.argv[1]), b\'{"event": "progr\')', "exit status 0"),
        ("raise SystemExit(7)", "exit status 7"),
    ],
)
def test_a_worker_that_breaks_the_protocol_is_a_record(monkeypatch: pytest.MonkeyPatch, script: str, words: str) -> None:
    monkeypatch.setattr(isolate, "WORKER", ("-c", script))
    record = run(case())
    assert record.failure is not None
    assert record.failure.kind == "WorkerError"
    assert words in record.failure.message


def test_what_the_worker_printed_last_is_kept_with_its_death(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolate, "WORKER", ("-c", "print('about to fail', flush=True); raise ValueError('deep inside')"))
    record = run(case())
    assert record.failure is not None
    assert "about to fail" in record.failure.traceback
    assert "deep inside" in record.failure.traceback


def test_what_is_missing_here_is_no_failure() -> None:
    missing = case(model=Choice(name="s", kind="huggingface", options={"path": "smollm2"}))
    os.environ["LMBENCH_CACHE"], before = "/nonexistent/lmbench", os.environ.get("LMBENCH_CACHE")
    try:
        with pytest.raises(Unavailable):
            run(missing)
    finally:
        del os.environ["LMBENCH_CACHE"]
        if before is not None:
            os.environ["LMBENCH_CACHE"] = before


def test_a_case_can_also_run_in_this_process() -> None:
    told: list[str] = []
    record = execute(case(), SETTING, told.append)
    assert record.status == OK


def test_ctrl_c_leaves_no_worker_behind(tmp_path: Path) -> None:
    script = (
        "import tests_isolate_case as t; from lmbench.run.isolate import run_isolated; from pathlib import Path\n"
        "run_isolated(t.CASE, t.SETTING, print, Path.cwd())"
    )
    (tmp_path / "tests_isolate_case.py").write_text(
        "from lmbench.plan.case import Case\nfrom lmbench.run.execute import Setting\n"
        f"CASE = Case.from_json({case(crash='hang').to_json()!r})\nSETTING = Setting(environment='e', machine_class='m')\n"
    )
    command = [sys.executable, "-u", "-c", script]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline(), "the worker, or the wait for it, says something"
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert any("lmbench.run.worker" in part for part in workers[0].cmdline())
        parent.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(workers, timeout=600)
    assert alive == []
