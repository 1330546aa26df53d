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


CASE, OTHER = "s::c[m-b-n]", "s::other[m-b-n]"


def add(
    path: Path,
    values: Sequence[float | None],
    *,
    pinned: str = OLD,
    metric: str = "ttft_p50_s",
    others: Sequence[str] = (),
    shard: bool = False,
) -> None:
    """A night per value; None for a night without CASE. Every night also measures `others`, unchanged; in a run of its own with `shard`."""
    for value in values:
        number = len({night.at for night in read_history(path).nights})
        cells = [_cell(CASE, value, metric)] if value is not None else []
        beside = [_cell(name, 1.0, metric) for name in others]
        for run_cells in (cells, beside) if shard else ([*cells, *beside],):
            night = Night(
                at=f"day {number:03}",
                commit=f"{number:040x}",
                pinned=pinned,
                run=f"{number}{len(run_cells)}",
                cells=tuple(run_cells),
            )
            append_night(path, night)


def _cell(node_id: str, value: float, metric: str) -> CellRatio:
    log = math.log(value)
    return CellRatio(node_id=node_id, metric=metric, log_ratio=log, low=log - 0.01, high=log + 0.01, pairs=8)


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


def test_nothing_pinned_is_an_error_and_no_night_yet_decides_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["lmbench", "history", "check", "--file", str(path)])
    with pytest.raises(SystemExit) as caught:
        entry.main()
    assert caught.value.code == entry.USAGE_ERROR
    assert "lmbench history pin COMMIT" in capsys.readouterr().err
    run("pin", path, OLD)
    result = run("check", path)
    assert (result.exit_code, "nothing is judged" in result.output) == (8, True)


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


@pytest.mark.parametrize("metric", ["ttft_p50_s", "output_tokens_per_s"])
@pytest.mark.parametrize(
    ("nights", "change"),
    [
        ([1.0] * 10 + [1.10] * 10 + [1.07] * 3, "7.0%"),  # still worse than the pin
        ([1.0] * 10 + [1.10] * 10 + [1.08], "10.0%"),  # one night is no level
        ([1.0] * 20 + [0.80] * 10 + [0.95] * 10, "18."),  # better than the pin, worse than what had lasted
        ([1.0] * 5 + [1.01] * 5 + [1.02] * 5 + [1.03] * 5, "3.0%"),  # creeping
    ],
)
def test_the_present_level_is_judged_and_not_the_newest_event(path: Path, nights: list[float], change: str, metric: str) -> None:
    run("pin", path, OLD)
    add(path, nights if metric == "ttft_p50_s" else [1 / one for one in nights], metric=metric)
    result = run("check", path)
    assert (result.exit_code, f"worse by {change}" in result.output) == (1, True), result.output


@pytest.mark.parametrize(
    ("nights", "status"),
    [
        ([1.0] * 10 + [0.8] + [1.0] * 10, 0),  # one lucky night is no level to be held to
        ([1.0] * 10 + [0.8] * 4 + [1.0] * 4, 0),  # nor is one that did not last
        ([1.0] * 10 + [1.1] * 5 + [1.0], 1),  # one good night ends nothing
        ([1.0] * 10 + [1.1] * 5 + [1.0] * 2, 0),
        ([1.0] * 10 + [1.1] * 5 + [0.5], 1),
        ([1.0] * 10 + [1.1, 1.0, 1.1], 0),  # two bad nights with a good one between
    ],
)
def test_nothing_is_decided_by_one_night(path: Path, nights: list[float], status: int) -> None:
    run("pin", path, OLD)
    add(path, nights)
    result = run("check", path)
    assert result.exit_code == status, result.output


def test_a_case_that_alarmed_and_went_silent_keeps_its_alarm_until_it_is_retired(path: Path) -> None:
    run("pin", path, OLD)
    add(path, [*WOBBLE, 1.1, 1.1, 1.1, None, None, None], others=[OTHER])
    gone = run("check", path)
    assert gone.exit_code == 1, gone.output
    assert "alarm: s::c[m-b-n] ttft_p50_s: worse by 10.0%" in gone.output
    assert "not measured in the last 3 nights" in gone.output and "1 silent" in gone.output
    assert "s::other" not in gone.output
    assert run("retire", path, OTHER, "--reason", "x").exit_code == 2, "it is measured: nothing to retire"
    assert run("retire", path, "s::c[*", "--reason", "the model was dropped").exit_code == 0
    assert run("check", path).exit_code == 0
    add(path, [1.1], others=[OTHER])
    assert run("check", path).exit_code == 1, "measured again, and still slow"


def test_a_silent_case_is_not_green_and_missing_nights_are_shown(path: Path) -> None:
    run("pin", path, OLD)
    add(path, [*WOBBLE, None, 1.0, None, None], others=[OTHER])
    assert run("check", path).exit_code == 0, "two nights are no silence"
    add(path, [None], others=[OTHER])
    quiet = run("check", path)
    assert (quiet.exit_code, "silent: s::c[m-b-n] ttft_p50_s: not measured since day 009" in quiet.output) == (8, True)
    found = json.loads(run("show", path, "--json").output)
    assert {one["node_id"]: one["missing"] for one in found["series"]} == {
        CASE: ["day 008", "day 010", "day 011", "day 012"],
        OTHER: [],
    }
    assert "missing in 4 nights, the last day 012" in run("show", path).output


def test_a_night_of_several_runs_is_one_night(path: Path) -> None:
    """Suites that are measured in jobs of their own append a line each; no case is silent for that."""
    run("pin", path, OLD)
    add(path, WOBBLE, others=[OTHER], shard=True)
    result = run("check", path)
    assert (result.exit_code, result.output.startswith("8 nights against")) == (0, True), result.output


def test_show_lists_every_level_with_its_first_night_and_interval(path: Path) -> None:
    run("pin", path, OLD)
    add(path, [1.0] * 10 + [1.1] * 10 + [1.07] * 3 + [1.5])
    (series,) = json.loads(run("show", path, "--json").output)["series"]
    levels = [(one["since"], one["nights"], round(one["ratio"], 3), one["lasting"]) for one in series["levels"]]
    assert levels == [("day 000", 10, 1.0, True), ("day 010", 10, 1.1, True), ("day 020", 3, 1.07, False)]
    assert all(one["low"] < one["ratio"] < one["high"] for one in series["levels"])
    shown = run("show", path).output
    assert all(text in shown for text in ("day 010", "+10.0 %", "day 020", "+7.0 %", "alarm: s::c[m-b-n]"))


def test_a_repin_says_what_it_settles(path: Path) -> None:
    run("pin", path, OLD)
    add(path, [*WOBBLE, 1.1, 1.1, 1.1])
    done = run("repin", path, f"{10:040x}")
    assert "settled by the new pin: s::c[m-b-n] ttft_p50_s: worse by 10.0%" in done.output
    assert run("check", path).exit_code == 8, "no night against the new pin yet"
    add(path, [1.0, 1.0, 1.0], pinned=f"{10:040x}")
    assert run("check", path).exit_code == 0
    add(path, [1.05, 1.05], pinned=f"{10:040x}")
    assert run("check", path).exit_code == 1


def test_the_check_does_not_depend_on_what_else_is_installed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package named apache-otava that would find nothing changes nothing."""
    folder = path.parent / "site"
    (folder / "otava").mkdir(parents=True)
    (folder / "otava" / "__init__.py").write_text("")
    (folder / "otava" / "analysis.py").write_text("def compute_change_points(*a, **k):\n    return [], []\n")
    (folder / "apache_otava-0.8.0.dist-info").mkdir()
    (folder / "apache_otava-0.8.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: apache-otava\nVersion: 0.8.0\n"
    )
    run("pin", path, OLD)
    add(path, [*WOBBLE, *WOBBLE, *(value * 0.95 for value in WOBBLE), *WOBBLE])
    before = run("show", path, "--json").output
    monkeypatch.syspath_prepend(str(folder))
    assert run("show", path, "--json").output == before
