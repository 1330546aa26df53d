"""Damaged stored files beside good ones, files that are none, and numbers that are none: a message and status 2, nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.synthetic import record, run_json, store

INF = float("inf")


def lmbench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lmbench", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> str:
    """A stored run of which one record and the run's own data were changed."""
    data = run_json([record("memory")])
    change(data["benchmarks"][0]["extra_info"]["lmbench"], data["lmbench"])
    return json.dumps(data)


DAMAGED: dict[str, str] = {
    "infinity": changed(lambda one, _: one.update(wall_s=INF)),
    "infinity-inside": changed(lambda one, _: one["details"].update(x=[INF])),
    "metric": changed(lambda one, _: one["metrics"]["weights_rss_bytes"].update(value="much")),
    "notes": changed(lambda one, _: one.update(notes=3)),
    "case": changed(lambda one, _: one["case"].update(model="m")),
    "verdict": changed(lambda _, run: run.update(verdicts=["bad"])),
    "info": changed(lambda _, run: run["run"].update(suites=3)),
    "environment": changed(lambda _, run: run.update(environment={"git": "x"})),
    "skipped": changed(lambda _, run: run.update(skipped=[3])),
    "failed": changed(lambda _, run: run.update(failed=3)),
    "extra": json.dumps({**run_json([record("memory")]), "benchmarks": [{"extra_info": True}]}),
    "depth": "[" * 5000,
    "binary": "\x00\x01",
}


def test_damaged_files_are_named_and_take_no_other_with_them(tmp_path: Path) -> None:
    storage = tmp_path / "baselines"
    store(storage, 1, [record("memory")])
    folder = next(storage.glob("*/0001_*")).parent
    for number, (name, text) in enumerate(DAMAGED.items(), start=2):
        (folder / f"{number:04d}_{name}.json").write_text(text)
    lines = {
        "no-record": '{"kind": "run", "schema_version": 1}\n{"kind": "record"}\n{"kind": "end"}\n',
        "record-of-text": '{"kind": "run", "schema_version": 1}\n{"kind": "record", "record": "x"}\n{"kind": "end"}\n',
        "run-of-text": '{"kind": "run", "schema_version": 1, "run": 5}\n{"kind": "end"}\n',
    }
    for name, text in lines.items():
        (folder / f"{name}.jsonl").write_text(text)
    os.mkfifo(folder / "0099_pipe.json")
    (folder / "0098_folder.json").mkdir()
    listed = lmbench(tmp_path, "records", "list", "--storage", str(storage))
    assert listed.returncode == 2
    assert "0001_" in listed.stdout
    for name in (*DAMAGED, *lines, "pipe", "folder"):
        assert name in listed.stderr, name
    assert "Traceback" not in listed.stderr
    history = storage / "history"
    history.mkdir()
    (history / "other.jsonl").write_text('{"kind": "pin"}\n{"kind": "night"}\n')
    site = lmbench(tmp_path, "site", "--storage", str(storage), "--out", "site")
    assert site.returncode == 0, site.stderr
    assert "1 runs, 1 cases" in site.stdout
    assert "other.jsonl:1" in site.stderr


def test_files_that_are_none_are_refused_with_a_message(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.suite.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe")
    (tmp_path / "taken").write_text("")
    (tmp_path / "0001_x.json").write_text(json.dumps(run_json([record("memory")])))
    for words in (
        ("suites", "validate", "pipe.suite.yaml"),
        ("records", "import", "/dev/zero"),
        ("report", "x" * 300),
        ("capacity", "plan", "plan.yaml"),
        ("report", "0001_x.json", "--out", "taken"),
        ("report", "0001_x.json", "--out", "x" * 300),
    ):
        done = lmbench(tmp_path, *words)
        expected = 1 if words[0] == "suites" else 2  # a suite with faults
        assert (done.returncode, "Traceback" in done.stderr) == (expected, False), (words, done.stderr)
        assert done.stderr.strip() or done.stdout.strip()


@pytest.mark.parametrize(
    "words",
    [
        *(("--timeout", "nan"), ("--timeout", "inf"), ("--trace-speed", "1e999"), ("--burstiness", "nan"), ("--seed", "-1")),
        *(
            ("--seed", "9" * 5000),
            ("--processes", "9" * 400),
            ("--slo", f"latency={'9' * 400}s"),
            ("--prompt-tokens", "9" * 5000),
        ),
        ("--prompt-tokens", f"uniform 1..{'9' * 300}"),
    ],
)
def test_options_that_are_no_numbers_are_usage_errors(words: tuple[str, str]) -> None:
    from click.testing import CliRunner

    from lmbench.cli.load import load

    given = ["--url", "http://127.0.0.1:1", "--shape", "hold 1 for 1s", *words]
    done = CliRunner().invoke(load, given)
    assert done.exit_code == 2, (words, done.output, done.exception)
    assert len(done.output) < 2000


def test_a_sampling_rate_that_is_no_number_measures_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.suite.yaml").write_text(
        "models: {m: {model: fake}}\ncases: {a: {workload: latency, matrix: {model: m, backend: fake}}}\n"
    )
    for option in ("--lmbench-hz=nan", "--lmbench-hz=0", "--lmbench-hz=1e400", "--lmbench-gate-seed=" + "9" * 5000):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "a.suite.yaml", option], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 4, done.stdout + done.stderr
        assert "expected a " in done.stderr
