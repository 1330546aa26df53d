"""Cells of one table that computed with different numbers of threads: a note in every form of the report."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lmbench.plan.case import Choice
from lmbench.report.html import render_html
from lmbench.report.markdown import render_markdown
from lmbench.report.model import build_reports
from lmbench.report.terminal import render
from lmbench.store.runs import StoredRun
from tests.report.synthetic import case, record


def run(*threads: int, names: str = "ab", question: str = "") -> StoredRun:
    """Cells of one case, or of a case each where `question` is empty and `names` are given."""
    made = [
        replace(
            record(case=case(name=question or name, backend=Choice(name=f"engine-{name}", kind="torch"))),
            subject={"engine": {"threads": one}},
        )
        for name, one in zip(names, threads, strict=True)
    ]
    return StoredRun(path=Path("run.json"), number=1, id="r", complete=True, records=tuple(made), machine_class="m")


def terminal(found: StoredRun) -> str:
    stream = io.StringIO()
    render([], found.records, Console(file=stream, width=200))
    return stream.getvalue()


def test_a_note_names_them_in_every_form() -> None:
    (report,) = build_reports(run(1, 2, question="first"), [])
    (note,) = [note for note in report.notes if note.startswith("threads differ")]
    assert "1 thread: " in note and "2 threads: " in note and "do not show which engine is faster" in note
    for text in (terminal(run(1, 2, question="first")), render_markdown(report), render_html(report)):
        assert "threads differ" in text


def test_alike_there_is_none() -> None:
    (report,) = build_reports(run(2, 2, question="first"), [])
    assert not any("threads" in note for note in report.notes)
    assert "threads differ" not in terminal(run(2, 2, question="first"))


def test_different_cases_may_differ() -> None:
    (report,) = build_reports(run(1, 2), [])
    assert not any("threads" in note for note in report.notes)
