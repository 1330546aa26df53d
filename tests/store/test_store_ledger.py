"""changes.yaml: read with places, written without touching what is there."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.store.ledger import Change, append_change, read_ledger

CHANGE = Change(
    case="a.suite.yaml::c[x-y-z]",
    metric="ttft_p50_s",
    change=0.12,
    reason='quotes " and: colons',
    commit="abc",
    date="2026-01-02",
)


def test_what_is_appended_is_read_back_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "baselines" / "changes.yaml"
    assert read_ledger(path) == ()
    append_change(path, CHANGE)
    path.write_text(path.read_text() + "# a note of mine\n- {case: '*', change: -5%, reason: by hand}")
    append_change(path, CHANGE)
    assert read_ledger(path) == (CHANGE, Change(case="*", metric="*", change=-0.05, reason="by hand"), CHANGE)
    assert "# a note of mine" in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case: x\n", "expected a list of changes"),
        ("- {case: x, change: lots, reason: y}\n", r"changes.yaml:1: 0.change: found 'lots'"),
        ("\n- {case: x, change: 5%, reason: ' '}\n", r"changes.yaml:2: 0.reason"),
        ("- {case: x, change: 5%}\n", r"0.reason: .*expected Field required"),
        ("- {case: x, change: 5%, reason: y, wrong: 1}\n", "0.wrong"),
        ("- {case: [\n", "not YAML"),
        ("- {case: x, metric: tftt_p50_s, change: 5%, reason: y}\n", r"0.metric: .*Did you mean 'ttft_p50_s'"),
        ("- {case: x, change: 5%, reason: y, commit: 0123456}\n", r"0.commit: .*valid string"),
    ],
)
def test_faults_name_their_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_ledger(path)
    with pytest.raises(ConfigError):
        append_change(path, CHANGE)
    assert path.read_text() == text, "a file that is not valid is left alone"


def test_an_entry_is_written_as_deep_as_those_before_it(tmp_path: Path) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text("# ours\n  - {case: '*', change: 5%, reason: y}\n")
    append_change(path, CHANGE)
    assert [one.case for one in read_ledger(path)] == ["*", CHANGE.case]
    assert path.read_text().startswith("# ours\n  - {case: '*', change: 5%, reason: y}\n")


@pytest.mark.parametrize(
    "text", ["[]\n", "[{case: '*', change: 5%, reason: y}]\n", "- {case: '*', change: 5%, reason: y}\n...\n"]
)
def test_a_list_that_nothing_can_be_added_to_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="expected a list with one '- case"):
        append_change(path, CHANGE)
    assert path.read_text() == text


@given(st.floats(-1, 1e6), st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip())))
def test_any_change_and_reason_come_back(change: float, reason: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changes.yaml"
        append_change(path, replace(CHANGE, change=change, reason=reason))
        (read,) = read_ledger(path)
    assert read.reason == reason
    assert 1 + read.change == pytest.approx(1 + change, rel=1e-3, abs=1e-4)
