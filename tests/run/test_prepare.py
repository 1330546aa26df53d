"""Preparation happens once per subject, and never for what is not kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lmbench.plan.case import Case, Choice
from lmbench.record.record import ERROR, OK, Failure, Record
from lmbench.run import prepare
from lmbench.run.execute import Setting

SETTING = Setting(environment="e", machine_class="m")


def case(kind: str = "decoder", backend: str = "torch", **changes: str) -> Case:
    return Case(
        suite="s",
        name=changes.get("name", "n"),
        workload=changes.get("workload", "latency"),
        params={},
        model=Choice(name=changes.get("model", "m"), kind=kind),
        backend=Choice(name=backend, kind=backend),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
    )


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Setting]:
    monkeypatch.setenv("LMBENCH_CACHE", str(tmp_path))
    settings: list[Setting] = []

    def run(cell: Case, setting: Setting, progress: Callable[[str], None], root: Path) -> Record:
        settings.append(setting)
        progress(f"in {root}")
        failed = cell.name == "fails"
        failure = Failure(kind="SubjectError", message="no") if failed else None
        status = ERROR if failed else OK
        return Record(case=cell, status=status, started_at="", wall_s=0, environment="", machine_class="", failure=failure)

    monkeypatch.setattr(prepare, "run_isolated", run)
    return settings


def first(cell: Case) -> bool:
    return prepare.artifacts_first(cell, SETTING, print, Path())


def test_a_subject_is_prepared_once_whatever_the_case_and_workload(ran: list[Setting]) -> None:
    assert first(case())
    assert not first(case(name="other", workload="memory", model="alias"))
    assert first(case(backend="onnxruntime"))
    assert [setting.once for setting in ran] == [True, True]


def test_what_failed_is_tried_again(ran: list[Setting]) -> None:
    assert first(case(name="fails"))
    assert first(case())
    assert len(ran) == 2


@pytest.mark.parametrize("cell", [case(kind="imported"), case(kind="fake", backend="fake")])
def test_nothing_is_prepared_for_what_is_not_kept(ran: list[Setting], cell: Case) -> None:
    assert not first(cell)
    assert ran == []
