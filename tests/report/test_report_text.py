"""Terminal, Markdown and CSV: what a reader must see, at every width and in every encoding."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lmbench.base.units import pretty
from lmbench.compare.judging import compare_case, compare_missing
from lmbench.compare.verdicts import Verdict
from lmbench.record.record import Record
from lmbench.report.csv_rows import COLUMNS, render_csv
from lmbench.report.flatten import leaves
from lmbench.report.layout import MAIN, ordered
from lmbench.report.markdown import escape, render_markdown
from lmbench.report.model import Report, build_reports
from lmbench.report.terminal import render, render_harness, render_skipped
from lmbench.store.runs import Skip, StoredRun, read_run
from tests.report.synthetic import HARNESS, WORKLOADS, case, failed, record, store, with_values


def session() -> tuple[list[Record], list[Verdict]]:
    """One record per workload: a slow one, a fat one, a failed and a new one, and a missing case."""
    records, verdicts = [], []
    for workload in WORKLOADS:
        one = case(workload, name=workload)
        now = record(workload, case=one, scale=3.0 if workload == "latency" else 1.0, seed=1)
        now = with_values(now, peak_rss_bytes=500e6) if workload == "memory" else now
        records.append(now)
        verdicts += compare_case(now, [record(workload, case=one, seed=seed) for seed in range(5)])
    bad, fresh = failed(case=case(name="wrong")), record(case=case(name="fresh"))
    records += [bad, fresh]
    verdicts += [*compare_case(bad, []), *compare_case(fresh, [])]
    verdicts += compare_missing(["suites/inference.suite.yaml::gone[m-torch-none]"], [])
    return records, verdicts


def shown(
    width: int, *, encoding: str = "utf-8", records: list[Record] | None = None, verdicts: list[Verdict] | None = None
) -> str:
    made_records, made_verdicts = session()
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    console = Console(file=stream, width=width, force_terminal=False)
    render(made_verdicts if verdicts is None else verdicts, made_records if records is None else records, console)
    return raw.getvalue().decode(encoding)


def report(tmp_path: Path, records: list[Record], verdicts: list[Verdict]) -> Report:
    run = read_run(store(tmp_path, 7, records, verdicts=[verdict.to_json() for verdict in verdicts]))
    (made,) = build_reports(run, verdicts)
    return made


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_important_is_missing(width: int) -> None:
    text = shown(width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    for expected in (
        "regressed",
        "error",
        "missing",
        "new",
        "ttft_p50_s",
        "+",
        "FidelityError: KL divergence",
        "no stored run has",
    ):
        assert expected in text
    assert text.rstrip().endswith("13 cases: 1 error, 2 regressed, 1 missing, 1 new, 8 ok")
    assert ("limit" in text.splitlines()[2]) == (width >= 96)


def test_every_failing_metric_has_its_own_row_and_reason() -> None:
    _, verdicts = session()
    text = shown(100)
    for verdict in verdicts:
        if verdict.outcome == "regressed":
            assert f"\n  {verdict.metric} " in text
            assert verdict.why in text


def test_secondary_inconclusive_metrics_share_a_line() -> None:
    text = shown(200)
    assert "also inconclusive: ttft_mean_s +" in text


def test_an_ascii_terminal_gets_question_marks_not_a_crash() -> None:
    odd = record(case=case(name="größe\x1b[31m→"))
    text = shown(80, encoding="ascii", records=[odd], verdicts=compare_case(odd, []))
    assert "gr??e?[31m?[gpt-mini-torch-none]" in text


def test_long_names_are_clipped_in_the_middle() -> None:
    odd = record(case=case(name="x" * 300))
    text = shown(80, records=[odd], verdicts=compare_case(odd, []))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "..." in text


def test_nothing_compared_is_said() -> None:
    assert "no case was compared" in shown(80, records=[], verdicts=[])


def test_harness_and_skips_are_one_line_each() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100)
    render_harness(HARNESS, console)
    render_harness(None, console)
    render_skipped(
        [Skip(node_id="a", reason="no GPU"), Skip(node_id="b", reason="no GPU"), Skip(node_id="c", reason="no onnx")], console
    )
    lines = stream.getvalue().splitlines()
    assert lines[0] == ("harness cost: clock 61 ns, empty call 1.2 us, between rounds 9 us, sampled work +0.4 % (0.6% of a core)")
    assert lines[1:] == ["skipped 2 cases: no GPU", "skipped 1 case: no onnx"]


def test_markdown_tells_everything(tmp_path: Path) -> None:
    text = render_markdown(report(tmp_path, *session()))
    assert text.startswith("# suites/inference.suite.yaml\n")
    for expected in (
        "**1 error**",
        "needs an NVIDIA GPU; run on a machine with one",
        "first-token",
        "cpu.model",
        "empty_call_s",
        "missing",
    ):
        assert expected in text


def test_markdown_names_cannot_break_the_table(tmp_path: Path) -> None:
    hostile = "a|b`c<img src=x>\n# head [l](u)"
    odd = record(case=case(name=hostile), notes=(hostile,))
    text = render_markdown(report(tmp_path, [odd], compare_case(odd, [])))
    assert "<img" not in text
    assert "a|b" not in text
    assert "\n# head" not in text


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    escaped = escape(text)
    assert not set("<>`\n\r") & set(escaped)
    bare = escaped.replace("\\\\", "")
    assert all(bare[index - 1] == "\\" for index, char in enumerate(bare) if char in "|*")


def test_only_underscores_that_would_be_markup_are_escaped() -> None:
    assert escape("ttft_p50_s _em_ __b__") == "ttft_p50_s \\_em\\_ \\_\\_b\\_\\_"


def test_markdown_stays_below_its_limit_and_says_what_it_left_out(tmp_path: Path) -> None:
    records = [record(case=case(name=f"case-{index}"), seed=index) for index in range(40)]
    whole = report(tmp_path, records, [])
    full = render_markdown(whole)
    for limit in (len(full) // 2, len(full) // 8, 6000):
        text = render_markdown(whole, limit_bytes=limit)
        assert len(text.encode()) <= limit
        assert "stay below the size limit" in text
    assert "stay below" not in full


def test_csv_has_one_row_per_case_and_metric(tmp_path: Path) -> None:
    records, verdicts = session()
    rows = list(csv.DictReader(io.StringIO(render_csv(report(tmp_path, records, verdicts)))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(len(entry.metrics) for entry in records) + 3
    regressed = {row["metric"] for row in rows if row["verdict"] == "regressed"}
    assert {"ttft_p50_s", "peak_rss_bytes"} <= regressed
    one = next(row for row in rows if row["metric"] == "mbu")
    assert (one["value"], one["reason"]) == ("", "memory bandwidth was not measured on this machine")
    by_hand = next(row for row in rows if row["metric"] == "perplexity")
    assert float(by_hand["value"]) == 12.5


def test_csv_cells_are_no_formulas(tmp_path: Path) -> None:
    odd = failed(message="x", kind="=cmd()", case=case(name="n"))
    text = render_csv(report(tmp_path, [odd], compare_case(odd, [])))
    assert "'=cmd()" in text


def test_main_metrics_come_first_and_are_known() -> None:
    assert set(MAIN) == set(WORKLOADS)
    assert ordered("memory", ["zzz", "first_call_s", "peak_rss_bytes"]) == ["peak_rss_bytes", "first_call_s", "zzz"]


def test_flattened_leaves_carry_units() -> None:
    content = {"a": {"load_s": 0.5, "size_bytes": 1024, "on": True, "none": None, "list": [1, 2]}, "rate_bytes_per_s": 2e9}
    assert dict(leaves(content)) == {
        "a.load_s": "500 ms",
        "a.size_bytes": "1 KiB",
        "a.on": "yes",
        "a.none": "-",
        "a.list": "1, 2",
        "rate_bytes_per_s": pretty(2e9, "bytes/s"),
    }


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    run = read_run(store(tmp_path, 1, [record()], complete=False))
    (made,) = build_reports(run, [])
    assert "interrupted" in made.notes[0]
    assert isinstance(replace(run, complete=True), StoredRun)
