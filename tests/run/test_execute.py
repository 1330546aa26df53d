"""What is added to a workload's measurement when it becomes a record."""

from __future__ import annotations

import pytest

from lmbench.run.execute import CONTENDED, contention


@pytest.mark.parametrize("share", [CONTENDED, 0.897])
def test_a_contended_cpu_is_a_note(share: float) -> None:
    (note,) = contention({"quantities": {"psi_cpu_some_share": {"n": 9, "mean": share}}})
    assert f"{share:.0%} of the measured time" in note
    assert "measure again" in note


@pytest.mark.parametrize("resources", [{}, {"quantities": {}}, {"quantities": {"psi_cpu_some_share": {"n": 9, "mean": 0.05}}}])
def test_a_quiet_or_unknown_one_is_not(resources: dict[str, object]) -> None:
    assert contention(resources) == ()
