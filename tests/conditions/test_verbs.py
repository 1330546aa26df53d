"""Every verb of the command, on runs that a session of pytest has stored; also run with the lowest declared versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lmbench.cli.main import cli
from tests.conditions.places import Place, commit, fill

UNDECIDED = 8
"""Three seconds are for one pair or none."""


def verbs(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from verbs(inner, (*words, name))


@pytest.mark.parametrize("words", list(verbs(cli)), ids=lambda words: " ".join(words) or "lmbench")
def test_every_verb_shows_its_help(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*words, "--help"], prog_name="lmbench")
    assert shown.exit_code == 0, shown.output
    assert shown.output.startswith(f"Usage: {' '.join(('lmbench', *words))}")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fill(tmp_path_factory.mktemp("stored"))
    shown = Place(folder=folder).pytest("--benchmark-autosave", "--lmbench-isolate=none")
    assert shown.returncode == 0 and "2 passed" in shown.stdout, shown.stdout + shown.stderr
    return folder


READERS = {
    "suites validate .": "valid, 1 cell",
    "suites show small.suite.yaml": "speed[stub-fake-none]",
    "suites schema": "lmbench suite",
    "suites keys": "prompt_tokens",
    "metrics": "ttft_p50_s",
    "cache": "",
    "env list": "",
    "report": "small.html",
    "report --matrix": "",
    "baseline list": "0001",
    "baseline show 1": "started 20",
    "records list": "small.suite.yaml",
    "export csv": "ttft_p50_s",
    "export jsonl": "ttft_p50_s",
    "export openmetrics": "ttft",
    "export parquet --out runs.parquet": "",
    "query": "",
    "site": "",
}


@pytest.mark.parametrize(("line", "expected"), list(READERS.items()))
def test_stored_runs_are_read(stored: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str) -> None:
    monkeypatch.chdir(stored)
    shown = CliRunner().invoke(cli, line.split(), catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert expected in shown.output


def test_the_gate_compares_a_suite_and_a_plain_test(tmp_path: Path) -> None:
    folder = fill(tmp_path / "gated")
    commit(folder)
    plain = folder / "test_plain.py"
    plain.write_text(plain.read_text(encoding="utf-8") + "# another commit\n", encoding="utf-8")
    shown = Place(folder=folder).pytest("--lmbench-gate=HEAD", "--lmbench-gate-budget=3s")
    assert "Traceback" not in shown.stdout + shown.stderr, shown.stdout + shown.stderr
    verdicts = json.loads((folder / "reports" / "verdicts.json").read_text(encoding="utf-8"))
    assert set(verdicts["cases"]) == {"small.suite.yaml::speed[stub-fake-none]", "test_plain.py::test_sum"}
    assert set(verdicts["cases"].values()) <= {"ok", "improved", "inconclusive"}, shown.stdout
    steady = [one["outcome"] for one in verdicts["verdicts"] if one["metric"] == "perplexity"]
    assert steady == ["ok"], "a run of the base was compared with one of the working tree"
    assert shown.returncode == verdicts["gate"]["exit_status"] and shown.returncode in (0, UNDECIDED), shown.stdout
