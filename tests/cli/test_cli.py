"""The console command: what it prints, where, and with which exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmbench.cli import main as entry
from lmbench.cli.main import cli

SUITE = "models: {m: {model: fake}}\nmatrix: {model: m, backend: [fake, torch]}\ncases: {one: {workload: latency, tags: slow}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.suite.yaml").write_text(SUITE)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.usefixtures("folder")
def test_validate_counts_cells() -> None:
    result = run("suites", "validate", "a.suite.yaml")
    assert (result.exit_code, result.output) == (0, "a.suite.yaml: valid, 2 cells\n")


def test_validate_shows_every_fault_of_every_file(folder: Path) -> None:
    (folder / "b.suite.yaml").write_text("cases: {one: {workload: latncy}, two: {workload: memory, tokns: 1}}\n")
    (folder / "c.suite.yaml").write_text("")
    result = run("suites", "validate", ".")
    assert result.exit_code == 1
    assert "Did you mean 'latency'?" in result.output
    assert "Did you mean 'tokens'?" in result.output
    assert "an empty file" in result.output
    assert "a.suite.yaml: valid" in result.output


@pytest.mark.usefixtures("folder")
def test_show_lists_cells_and_why_some_cannot_run() -> None:
    plain = run("suites", "show", "a.suite.yaml").output
    assert "one[m-fake-none]" in plain
    assert "torch cannot load a model of family fake" in plain
    cells = json.loads(run("suites", "show", "--json", "a.suite.yaml").output)
    assert [cell["obstacle"] is None for cell in cells] == [True, False]


def test_schema_is_json() -> None:
    assert json.loads(run("suites", "schema").output)["title"] == "lmbench suite"


def test_a_folder_without_suites_is_a_usage_error(tmp_path: Path) -> None:
    result = run("suites", "validate", str(tmp_path))
    assert result.exit_code == 2
    assert "no *.suite.yaml file" in result.output


def test_the_cache_is_shown_and_cleared(folder: Path) -> None:
    entry_folder = folder / "cache" / "model" / "abc"
    entry_folder.mkdir(parents=True)
    (entry_folder / "key.json").write_text('{"steps": 3}')
    assert '"steps": 3' in run("cache").output
    assert json.loads(run("cache", "show", "--json").output)["entries"][0]["digest"] == "abc"
    assert run("cache", "clear", "nothing").exit_code == 2
    assert run("cache", "clear", "model").exit_code == 0
    assert not entry_folder.exists()


@pytest.mark.usefixtures("folder")
def test_nothing_stored_is_said() -> None:
    assert "no stored run" in run("baseline", "list").output
    result = run("report")
    assert result.exit_code == 2
    assert "no stored run" in result.output


def test_expected_errors_are_one_message_and_status_2(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lmbench", "baseline", "accept", "7", "--reason", "meant", "--storage", str(folder)])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == entry.USAGE_ERROR
    assert "no rejected run matches 7" in capsys.readouterr().err


def test_doctor_is_a_table_and_json_with_the_same_status() -> None:
    plain, machine = run("doctor"), run("doctor", "--json")
    findings = json.loads(machine.output)["findings"]
    assert {"area", "level", "found", "remedy"} <= set(findings[0])
    assert plain.exit_code in (0, 1, 2)
    assert "machine class: " in plain.output


def test_metrics_and_keys_are_tables() -> None:
    assert run("metrics").output.startswith("| metric | unit |")
    assert "### Workload `stress`" in run("suites", "keys").output


def test_fetch_refuses_unknown_names() -> None:
    result = run("fetch", "shakspeare")
    assert result.exit_code == 2
    assert "shakespeare" in result.output
