"""`lmbench capacity plan` and `lmbench records`: what is read, printed, written and returned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from lmbench.base.errors import ConfigError, StoreError
from lmbench.capacity.plan_file import load
from lmbench.cli import main as entry
from lmbench.cli.main import cli
from lmbench.record.record import Failure, Record
from lmbench.store.imports import import_runs, run_files
from lmbench.store.journal import Journal
from lmbench.store.runs import read_run
from tests.capacity.records import GIB, sources
from tests.report.synthetic import MACHINE, record, run_json, store

ROOT = Path(__file__).parents[2]
PLAN: Mapping[str, Any] = {
    "traffic": {"requests_per_s": 60},
    "slo": {"latency_p95_s": 0.05},
    "options": {"fp32": {"model": "gpt", "price_per_hour": 1}, "q4": {"model": "gpt", "compression": "q4"}},
}


def journal(path: Path, records: Sequence[Record], environment: Mapping[str, Any]) -> Path:
    log = Journal(path)
    log.open({"schema_version": 1, "run": {"id": path.stem}, "environment": environment, "machine_class": "m"})
    for one in records:
        log.record(one)
    log.end()
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a session on a machine of 16 GiB, of which a control group allows 4."""
    environment = {"memory": {"total_bytes": 16 * GIB}, "limits": {"memory_limit_bytes": 4 * GIB}}
    return journal(tmp_path_factory.mktemp("elsewhere") / "made.jsonl", [one.record for one in sources()], environment)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, measured: Path) -> Path:
    """A storage that holds what was measured."""
    storage = tmp_path_factory.mktemp("storage") / "baselines"
    import_runs([measured], storage)
    return storage


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: Path) -> Path:
    """A working folder with a copy of the storage."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(imported, tmp_path / "baselines")
    return tmp_path


def plan_file(folder: Path, **changes: Any) -> str:
    path = folder / "a.plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **changes}))
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def test_a_plan_is_printed_written_and_succeeds_when_an_option_keeps_its_promises(here: Path) -> None:
    result = run("capacity", "plan", plan_file(here))
    assert result.exit_code == 0, result.output
    assert "Buy " in result.stdout and "x 'fp32'" in result.stdout
    assert "Not 'q4': found no stored stress record of gpt / torch / q4" in result.stdout
    assert "memory there" in result.stdout and "4 GiB" in result.stdout, "the control group's share, not the machine's"
    assert result.stdout.splitlines()[-2:] == ["reports/capacity.md", "reports/capacity.html"]
    assert "reading stored runs: 1" in result.stderr and "fp32 (1 of 2)" in result.stderr
    for name in ("capacity.md", "capacity.html"):
        assert "x 'fp32'" in (here / "reports" / name).read_text().replace("&#39;", "'")


def test_json_is_all_that_is_printed_and_no_file_is_written(here: Path) -> None:
    result = run("capacity", "plan", plan_file(here), "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"found {name}"))
    assert [one["name"] for one in found["options"]] == ["fp32", "q4"]
    assert found["options"][0]["memory"]["machine_bytes"] == 4 * GIB
    assert not (here / "reports").exists()


def test_no_option_that_keeps_its_promises_is_exit_status_1(here: Path) -> None:
    result = run("capacity", "plan", plan_file(here, slo={"latency_p95_s": 0.001}), "--out", "elsewhere")
    assert result.exit_code == 1
    assert "No option keeps every promise" in result.stdout
    assert "even an idle replica is slower than promised" in result.stdout
    assert (here / "elsewhere" / "capacity.md").exists()


def test_runs_and_folders_can_be_named_and_each_record_counts_once(here: Path, measured: Path) -> None:
    (here / "empty").mkdir()
    nothing = run("capacity", "plan", plan_file(here), "--storage", "empty", "--json")
    assert nothing.exit_code == 1
    assert "there are: none" in json.loads(nothing.stdout)["options"][0]["why_not"]
    named = run("capacity", "plan", plan_file(here), "--storage", "empty", "--run", str(measured), "--json")
    both = run("capacity", "plan", plan_file(here), "--storage", str(measured.parent), "--storage", "baselines", "--json")
    answers = [json.loads(result.stdout) for result in (named, both)]
    assert [answer["stored_runs"] for answer in answers] == [1, 2]
    first, second = ({**answer["options"][0]["measured"], "sources": None} for answer in answers)
    assert first == second


def test_a_damaged_run_in_the_storage_is_left_out_and_said_and_a_named_one_is_a_fault(here: Path) -> None:
    broken = here / "baselines" / "m" / "imported" / "0009_x.json"
    broken.write_text("{")
    result = run("capacity", "plan", plan_file(here))
    assert result.exit_code == 0
    assert "Warning: left out: baselines/m/imported/0009_x.json: found what is not JSON" in " ".join(result.stdout.split())
    assert isinstance(run("capacity", "plan", plan_file(here), "--run", str(broken)).exception, StoreError)


def test_the_trace_lies_beside_the_plan(here: Path) -> None:
    inner = here / "plans"
    inner.mkdir()
    moments = [*range(0, 60_000, 1000), *range(60_000, 120_000, 250)]
    (inner / "day.jsonl").write_text("".join(f'{{"timestamp": {t}, "input_length": 8, "output_length": 2}}\n' for t in moments))
    result = run("capacity", "plan", plan_file(inner, traffic={"requests_per_s": 60, "trace": "day.jsonl"}), "--json")
    rates = json.loads(result.stdout)["demand"]["per_minute"]
    assert sum(rates) / len(rates) == pytest.approx(60)
    assert sum(rates[720:]) == pytest.approx(4 * sum(rates[:720]), rel=0.02)
    missing = run("capacity", "plan", plan_file(inner, traffic={"requests_per_s": 60, "trace": "none.jsonl"}))
    assert isinstance(missing.exception, ConfigError) and "none.jsonl" in str(missing.exception)


def test_a_faulty_plan_is_named_with_its_line_and_is_exit_status_2(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lmbench", "capacity", "plan", plan_file(here, routing="fastest")])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == entry.USAGE_ERROR
    assert "a.plan.yaml:" in (message := capsys.readouterr().err) and "routing" in message
    assert run("capacity", "plan", "nowhere.yaml").exit_code == entry.USAGE_ERROR


def test_the_example_is_a_valid_plan_that_says_it_is_one() -> None:
    path = ROOT / "plans" / "example.plan.yaml"
    request = load(path)
    assert "example" in request.description and "made-up" in request.description
    assert len(request.options) >= 3
    assert path.read_text().startswith("# An example. Its traffic, prices and powers are made up")


def test_records_come_in_once_and_are_listed(here: Path, measured: Path) -> None:
    (here / "a.json").write_text(json.dumps(run_json([record(), record("memory")])))
    first = run("records", "import", "a.json", str(measured))
    assert first.exit_code == 0, first.output
    assert f"a.json: {MACHINE}: 2 new, 0 known -> baselines/{MACHINE}/imported/0001_" in first.stdout
    assert first.stdout.splitlines()[-1] == "2 records came in, 5 were known"
    assert run("records", "import", "a.json").stdout.splitlines()[-1] == "0 records came in, 2 were known"
    listed = run("records", "list").stdout
    assert len(listed.splitlines()) == 3
    line = next(line for line in listed.splitlines() if line.startswith(MACHINE))
    assert line.split()[2:] == ["suites/inference.suite.yaml", "2", "0", record().started_at]
    assert "plan.suite.yaml" in listed


def test_an_import_of_a_damaged_file_brings_nothing(here: Path) -> None:
    (here / "good.json").write_text(json.dumps(run_json([record()])))
    (here / "bad.json").write_text("{")
    before = run_files(here / "baselines")
    assert isinstance(run("records", "import", "good.json", "bad.json").exception, StoreError)
    assert run_files(here / "baselines") == before


def test_a_damaged_run_is_listed_as_such(here: Path) -> None:
    broken = store(here / "baselines" / MACHINE, 1, [record()])
    broken.write_text("{")
    result = run("records", "list")
    assert result.exit_code == 2
    assert broken.name in result.stderr and "plan.suite.yaml" in result.stdout
    empty = run("records", "list", "--storage", "none")
    assert (empty.exit_code, "no stored run in none (--storage)" in empty.stdout) == (0, True)


def test_what_was_imported_is_what_was_measured(here: Path, measured: Path) -> None:
    (path,) = run_files(here / "baselines")
    assert read_run(path).records == read_run(measured).records


def test_a_case_that_fails_now_is_a_warning_of_the_plan_that_uses_an_older_record(here: Path) -> None:
    records = [one for path in run_files(here / "baselines") for one in read_run(path).records]
    stress = next(one for one in records if one.case.workload == "stress")
    failed = replace(
        stress, status="error", failure=Failure(kind="WorkerError", message="killed"), started_at="2099-01-01T00:00:00"
    )
    journal(here / "baselines" / "later.jsonl", [failed], {})
    result = run("capacity", "plan", plan_file(here))
    assert f"the newest record of {stress.case.node_id}, of 2099-01-01T00:00:00, is an error (WorkerError: killed)" in " ".join(
        result.stdout.split()
    )
