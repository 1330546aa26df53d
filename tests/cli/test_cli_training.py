"""`lmbench capacity train` and `lmbench capacity roofline`: what is read, printed, written and returned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from lmbench.capacity.training_file import load_training
from lmbench.cli import main as entry
from lmbench.cli.main import cli
from lmbench.record.record import Failure, Record
from lmbench.suite.load import load as load_suite
from tests.capacity.roofed import WITH_ROOFS, latency, training
from tests.cli.test_cli_capacity import journal

ROOT = Path(__file__).parents[2]
OPTIONS = {
    "one": {"model": "gpt", "price_per_hour": 1, "busy_w": 100},
    "four": {"model": "gpt", "machines": 4, "efficiency": 0.5, "price_per_hour": 1},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose storage holds a training and a latency record beside known ceilings."""
    monkeypatch.chdir(tmp_path)
    stored([training(more={"details": WITH_ROOFS}), latency()])
    return tmp_path


def stored(records: Sequence[Record], name: str = "made") -> Path:
    (folder := Path("baselines")).mkdir(exist_ok=True)
    return journal(folder / f"{name}.jsonl", records, {})


def plan_file(**changes: Any) -> str:
    Path("a.training.yaml").write_text(yaml.safe_dump({"tokens": 7.2e6, "options": OPTIONS} | changes))
    return "a.training.yaml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["capacity", *arguments])


def test_the_answer_comes_first_then_one_table_and_a_file(here: Path) -> None:
    result = run("train", plan_file(description="made up"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Training plan: made up"
    assert lines[1].startswith("Cheapest: 'one', 2 h (")
    head = next(line.split("  ") for line in lines if line.startswith("option"))
    named = [cell.strip() for cell in head if cell]
    assert named == ["option", "machines", "tokens/s", "time", "machine-hours", "energy", "cost", "FLOPs", "MFU"]
    row = next(line for line in lines if line.startswith("one"))
    assert "0.2 kWh" in row and "180 TFLOP" in row and "25.0 %" in row
    assert "FLOPs are by the model's own formula." in " ".join(result.stdout.split())
    assert lines[-1] == "reports/training.md"
    assert "| one | 1 | 1,000 | 2 h" in (here / "reports" / "training.md").read_text()


def test_a_deadline_decides_the_exit_status(here: Path) -> None:
    kept = run("train", plan_file(deadline_h=1.5))
    assert kept.exit_code == 0
    assert "Cheapest and fastest within the deadline of 1.5 h: 'four'" in kept.stdout
    late = run("train", plan_file(deadline_h=0.5), "--out", "elsewhere")
    assert late.exit_code == 1
    assert "No option meets the deadline of 0.5 h" in late.stdout
    assert "No option meets" in (here / "elsewhere" / "training.md").read_text()
    unknown = run("train", plan_file(options={"a": {"model": "gpt", "case": "nightly"}}))
    assert unknown.exit_code == 1
    words = " ".join(unknown.stdout.split())
    assert "record of gpt / torch / none from case nightly; there are: training_step: gpt / torch / none;" in words


def test_the_json_of_a_training_plan_is_all_that_is_printed(here: Path) -> None:
    result = run("train", plan_file(deadline_h=1.5), "--json")
    found = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"found {name}"))
    assert found["meet_the_deadline"] == ["four"]
    plans = {one["name"]: one["plan"] for one in found["options"]}
    assert (plans["one"]["time_s"], plans["four"]["machine_hours"], plans["four"]["mfu"]) == (7200.0, 4.0, 0.125)
    assert plans["four"]["energy_j"] is None
    assert not (here / "reports").exists()


def test_a_fault_of_a_training_plan_says_where_and_why(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del here
    faulty = plan_file(options={"wide": {"model": "gpt", "machines": 8}})
    monkeypatch.setattr("sys.argv", ["lmbench", "capacity", "train", faulty])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == entry.USAGE_ERROR
    message = capsys.readouterr().err
    assert (
        "a.training.yaml:2" in message
        and "measured there: no record tells of several machines, and it is not guessed here" in message
    )


def test_the_example_is_a_valid_plan_of_cases_that_the_suite_has() -> None:
    path = ROOT / "plans" / "example.training.yaml"
    request = load_training(path)
    assert path.read_text().startswith("# An example. Its tokens, deadline, prices, powers and efficiency are made up")
    assert "example" in request.description and "made-up" in request.description
    cases = load_suite(ROOT / "suites" / "training.suite.yaml", ROOT).spec.cases
    assert {option.case for option in request.options.values()} <= set(cases)
    assert any(option.machines > 1 for option in request.options.values())


def test_rooflines_of_the_newest_records_are_sorted_by_distance(here: Path) -> None:
    del here
    stored([replace(latency(mfu=0.9), started_at="2020-01-01T00:00:00+00:00")], "older")
    result = run("roofline")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "Roofline"
    assert lines[1].startswith("Furthest from its roof: training step of training_step[gpt-torch-none], 4x; nearest: prefill")
    phases = [line.partition("[gpt-torch-none]")[2].strip().split("  ")[0] for line in lines if "[gpt-torch-none]  " in line]
    assert phases == ["training step", "decode step", "prefill"]
    assert "at least 5.0 %" in result.stdout and "2.5x" in result.stdout
    found = json.loads(run("roofline", "--json").stdout)
    assert [point["distance"] for point in found["points"]] == pytest.approx([4.0, 2.5, 2.0])
    assert found["points"][1]["intensity"] == pytest.approx(1.25) and found["left_out"] == []


def test_no_record_and_one_without_ceilings_say_what_to_do(here: Path) -> None:
    (here / "empty").mkdir()
    nothing = run("roofline", "--storage", "empty")
    assert nothing.exit_code == 1
    assert "run a suite with a case of training_step, scoring or latency" in nothing.stdout
    path = stored([training()], "bare").rename(here / "empty" / "bare.jsonl")
    bare = run("roofline", "--storage", "empty", "--run", str(path))
    assert bare.exit_code == 0
    assert "its record holds no ceilings: measure again with this version" in " ".join(bare.stdout.split())


def test_a_case_that_fails_now_is_said_beside_the_older_record_that_is_used(here: Path) -> None:
    failure = Failure(kind="Diverged", message="the training diverged")
    failed = replace(training(), status="error", failure=failure, metrics={}, series={}, started_at="2027-01-01T00:00:00+00:00")
    stored([failed], "later")
    words = "of 2027-01-01T00:00:00+00:00, is an error (Diverged: the training diverged)"

    def said(*arguments: str) -> str:
        return " ".join(run(*arguments).stdout.split())

    out = said("train", plan_file())
    assert words in out and "what is used was measured at" in out
    assert words in " ".join((here / "reports" / "training.md").read_text().split())
    out = said("roofline")
    assert words in out and "what is shown was measured at" in out
    assert words in json.loads(run("roofline", "--json").stdout)["failing"][0]
    (here / "baselines" / "made.jsonl").unlink()
    assert f"found no good training_step record of this option: the newest one, {words}" in said("train", plan_file())
