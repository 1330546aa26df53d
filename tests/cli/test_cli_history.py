"""`lmbench history`: pinning, re-pinning over a bridge, and the exit status of a check."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lmbench.cli import main as entry
from lmbench.cli.main import cli
from lmbench.store.history import CellRatio, Night, append_night, read_history

OLD, NEW = "a" * 40, "b" * 40
WOBBLE = (1.0, 1.002, 0.998, 1.001, 0.999, 1.002, 0.998, 1.0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A history file outside of any repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path / "host.jsonl"


def run(verb: str, path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["history", verb, *arguments, "--file", str(path)])


def add(path: Path, values: Sequence[float], *, pinned: str = OLD, metric: str = "ttft_p50_s") -> None:
    for value in values:
        number, log = len(read_history(path).nights), math.log(value)
        cell = CellRatio(node_id="s::c[m-b-n]", metric=metric, log_ratio=log, low=log - 0.01, high=log + 0.01, pairs=8)
        append_night(path, Night(at=f"day {number:03}", commit=f"{number:040x}", pinned=pinned, run=str(number), cells=(cell,)))


def test_a_pin_is_taken_by_its_full_hash_and_only_once(path: Path) -> None:
    assert run("pin", path, OLD).exit_code == 0
    assert [pin.commit for pin in read_history(path).pins] == [OLD]
    again = run("pin", path, NEW)
    assert again.exit_code == 2
    assert "history repin" in again.output
    assert [pin.commit for pin in read_history(path).pins] == [OLD]


def test_a_pin_is_resolved_by_git(path: Path) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], cwd=path.parent, check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], cwd=path.parent, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=path.parent, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert run("pin", path, "HEAD").exit_code == 0
    assert read_history(path).pins[0].commit == head


def test_a_name_nobody_knows_is_a_usage_error(path: Path) -> None:
    result = run("pin", path, "v9.9")
    assert result.exit_code == 2
    assert "found 'v9.9'" in result.output
    assert not path.exists()


def test_nothing_pinned_is_an_error_and_no_night_yet_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lmbench", "history", "check", "--file", str(path)])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == entry.USAGE_ERROR
    assert "lmbench history pin COMMIT" in capsys.readouterr().err
    run("pin", path, OLD)
    assert run("check", path).exit_code == 0


@pytest.mark.parametrize(
    ("values", "metric", "status", "said"),
    [
        (WOBBLE, "ttft_p50_s", 0, "0 alarms, 0 to watch, 0 improvements"),
        ((*WOBBLE, 1.06), "ttft_p50_s", 0, "watch: s::c[m-b-n] ttft_p50_s: worse by 6.0%"),
        ((*WOBBLE, 1.05, 1.051, 1.049), "ttft_p50_s", 1, "alarm: s::c[m-b-n] ttft_p50_s: worse by 5.0%"),
        ((*WOBBLE, 0.95, 0.951, 0.949), "ttft_p50_s", 0, "improvement: s::c[m-b-n] ttft_p50_s: better by 5.0%"),
        ((*WOBBLE, 0.95, 0.951, 0.949), "output_tokens_per_s", 1, "alarm: s::c[m-b-n] output_tokens_per_s: worse by"),
    ],
)
def test_a_check_fails_on_what_recurs_only(path: Path, values: Sequence[float], metric: str, status: int, said: str) -> None:
    run("pin", path, OLD)
    add(path, values, metric=metric)
    result = run("check", path)
    assert (result.exit_code, said in result.output) == (status, True), result.output


def test_an_alarm_names_the_first_commit_after_the_change(path: Path) -> None:
    run("pin", path, OLD)
    add(path, (*WOBBLE, 1.05, 1.051, 1.049))
    found = json.loads(run("show", path, "--json").output)
    (alarm,) = found["findings"]
    assert (alarm["kind"], alarm["commit"], alarm["nights"]) == ("alarm", f"{8:040x}", 3)
    assert [point["commit"] for point in found["series"][0]["points"]][8] == alarm["commit"]
    assert "s::c[m-b-n]" in run("show", path).output


def test_a_repin_needs_a_night_of_that_very_commit(path: Path) -> None:
    run("pin", path, OLD)
    add(path, WOBBLE)
    refused = run("repin", path, NEW)
    assert refused.exit_code != 0
    assert "no night has compared bbbbbbbbbb with the pin aaaaaaaaaa" in str(refused.exception)
    assert run("repin", path, OLD).exit_code == 2
    assert len(read_history(path).pins) == 1
    done = run("repin", path, f"{7:040x}")
    assert done.exit_code == 0, done.output
    known = read_history(path)
    assert [pin.commit for pin in known.pins] == [OLD, f"{7:040x}"]
    assert [(one.old, one.new, len(one.cells)) for one in known.bridges] == [(OLD, f"{7:040x}", 1)]


def test_help_says_what_the_exit_statuses_mean() -> None:
    shown = CliRunner().invoke(cli, ["history", "check", "--help"]).output
    assert "Exit status: 1 on an alarm" in shown
