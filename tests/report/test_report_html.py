"""The HTML report: self-contained, escaped, complete, and rebuilt from stored files alone."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from lmbench.base.errors import StoreError
from lmbench.compare.judging import compare_case
from lmbench.compare.verdicts import Verdict
from lmbench.record.record import Record
from lmbench.report.figures import charts, tables
from lmbench.report.html import render_html
from lmbench.report.model import build_reports
from lmbench.report.write import rebuild
from lmbench.store.journal import Journal
from lmbench.store.runs import read_run
from tests.report.synthetic import WORKLOADS, case, failed, record, run_json, store

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags in order, balanced or not, and every attribute."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def render(tmp_path: Path, records: list[Record], verdicts: list[Verdict]) -> str:
    (made,) = build_reports(read_run(store(tmp_path, 1, records)), verdicts)
    return render_html(made)


def test_all_workloads_are_drawn_without_anything_from_outside(tmp_path: Path) -> None:
    records = [record(workload, case=case(workload, name=workload)) for workload in WORKLOADS]
    verdicts = [verdict for entry in records for verdict in compare_case(entry, [entry])]
    text = render(tmp_path, records, verdicts)
    outline = Outline(text)
    assert outline.open == []
    assert not {"script", "link", "img", "iframe"} & set(outline.tags)
    assert all(
        not (value or "").startswith(("http", "//", "data:")) for name, value in outline.attributes if name in ("src", "href")
    )
    assert "url(" not in text
    assert outline.tags.count("figure") >= 10
    words = " ".join(outline.words)
    for expected in (
        "latency by offered rate",
        "throughput over batch size",
        "memory: measured beside estimated",
        "Requests by step",
    ):
        assert expected in words
    for expected in ("needs an NVIDIA GPU", "cpu.model", "empty_call_s", "(n = 60)", "SLO latency 250 ms", "n = 600"):
        assert expected in words


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    odd = record(
        case=case(name=HOSTILE, model=HOSTILE), notes=(HOSTILE,), details={"phases": {HOSTILE: HOSTILE}, "bottleneck": HOSTILE}
    )
    bad = failed(message=HOSTILE, case=case(name="bad"))
    text = render(tmp_path, [odd, bad], [*compare_case(odd, []), *compare_case(bad, [])])
    outline = Outline(text)
    assert not {"script", "img"} & set(outline.tags)
    assert all(not name.startswith("on") for name, _ in outline.attributes)
    assert HOSTILE in "".join(outline.words)


def test_details_of_an_unexpected_shape_are_left_out() -> None:
    odd = record(
        details={"steps": "none", "sweep": [1, 2], "terms": [{"term": None}], "phases": [1], "slo": None, "bottleneck": 3}
    )
    assert [table.title for table in tables(odd)] == ["Memory terms", "Resources while measuring", "Subject", "Parameters"]
    assert len(charts(odd)) == 3
    assert charts(record(series={}, primary=None, details={})) == ()


def test_rebuild_from_stored_json_alone_gives_the_same_files(tmp_path: Path) -> None:
    records = [record(), record(case=case(suite="suites/other.suite.yaml"))]
    verdicts = [verdict.to_json() for entry in records for verdict in compare_case(entry, [record(seed=3)])]
    path = store(tmp_path / "stored", 1, records, verdicts=verdicts)
    written = rebuild([path], tmp_path / "one")
    assert sorted(file.name for file in written) == sorted(
        [*(f"{name}{end}" for name in ("inference", "other") for end in (".md", ".html", ".csv")), "verdicts.json"]
    )
    again = rebuild([path], tmp_path / "two")
    assert [file.read_bytes() for file in written] == [file.read_bytes() for file in again]
    assert "ok" in (tmp_path / "one" / "inference.md").read_text()


def test_rebuild_from_the_journal_of_a_killed_session(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "r.jsonl")
    head = {key: value for key, value in run_json([record()])["lmbench"].items() if key not in ("failed", "skipped", "verdicts")}
    journal.open(head)
    journal.record(record())
    written = rebuild([journal.path], tmp_path / "out")
    assert "interrupted" in written[0].read_text()


def test_rebuild_of_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0001_x.json"
    path.write_text("{")
    with pytest.raises(StoreError):
        rebuild([path], tmp_path / "out")
