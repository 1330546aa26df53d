"""A short campaign of kills, and that a campaign sees what it is there to see."""

from __future__ import annotations

from pathlib import Path
from signal import SIGKILL

import pytest

from lmbench.measure.clock import CLOCK
from tests.chaos.campaign import Campaign, Findings, show
from tests.chaos.repository import differences, foreign_worktrees, git, make, picture
from tests.chaos.trials import STARTS, Kill, Outcome, draw

LIMIT_S = 600.0
SESSION = Kill(number=1, kind="session", signal=SIGKILL, group=True, start=r"(?s)(PASSED.*){2}", delay_s=0.3)
GATE = Kill(number=2, kind="gate", signal=SIGKILL, group=False, start="gate against", delay_s=0.5)


def outcome(folder: Path, *finished: str, output: str = "", status: int | None = -9) -> Outcome:
    return Outcome(kill=SESSION, folder=folder, phase="between cases", output=output, status=status, finished=frozenset(finished))


def test_a_session_and_a_gate_that_are_killed_lose_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = Campaign(tmp_path / "top")
    campaign.run((SESSION, GATE), CLOCK.now() + LIMIT_S)
    found = campaign.found
    assert show(found, 2, 0, 0.0), capsys.readouterr().out
    said = capsys.readouterr().out
    assert found.finished >= 5 and found.readable == found.finished and found.unchanged == 2
    assert f"finished cases readable: {found.finished} of {found.finished}" in said
    assert "left after the next run: 0 worktrees, 0 processes, 0 temporary folders" in said
    assert "user's git state and files byte-identical: 2 of 2" in said
    assert [one.status for one in found.kills] == [-9, -9]


def test_the_same_seed_draws_the_same_kills_of_every_kind_and_signal() -> None:
    kills = draw(7, 40)
    assert kills == draw(7, 40) != draw(8, 40)
    assert len({(kill.kind, kill.signal) for kill in kills}) == 16
    assert {kill.start for kill in kills if kill.kind == "gate"} <= set(STARTS["gate"])


def test_every_change_of_the_users_files_is_seen(tmp_path: Path) -> None:
    folder = make(tmp_path / "project")
    before = picture(folder)
    assert len(before) > 20 and picture(folder) == before and foreign_worktrees(folder) == []
    for change in (("add", "untracked.txt"), ("stash", "drop"), ("config", "chaos.kept", "no"), ("tag", "v2")):
        git(folder, *change)
        assert differences(before, picture(folder)), change
        before = picture(folder)
    git(folder, "worktree", "add", "-q", "--detach", str(tmp_path / "left"))
    assert len(foreign_worktrees(folder)) == 1


def test_a_lost_case_a_damaged_file_and_a_process_that_stays_are_faults(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "top")
    folder = tmp_path / "trial"
    (folder / "reports" / "journal").mkdir(parents=True)
    (folder / "reports" / "journal" / "r.jsonl").write_text("no journal\nat all\n")
    campaign._kept(outcome(folder, "kill.suite.yaml::first[a]", output="INTERNALERROR", status=None))
    words = ("did not end", "internal error", "not readable", "had passed, and no journal")
    assert [word in fault for word, fault in zip(words, campaign.found.faults, strict=True)] == [True] * 4
    assert (campaign.found.finished, campaign.found.readable) == (1, 0)


def test_a_campaign_that_found_nothing_out_or_was_cut_short_is_not_good(tmp_path: Path) -> None:
    nothing = Findings(kills=[outcome(tmp_path)], unchanged=1)
    assert not show(nothing, 1, 0, 0.0)
    some = Findings(kills=[outcome(tmp_path)], unchanged=1, finished=1, readable=1)
    assert show(some, 1, 0, 0.0) and not show(some, 2, 0, 0.0)
