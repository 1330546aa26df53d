"""changes.yaml: read with places, written without touching what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

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
