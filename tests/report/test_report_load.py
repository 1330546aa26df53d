"""The charts and the table of a load run: what is on them, what is left out, and that texts stay texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lmbench.base.catalogue import METRICS
from lmbench.cli.load_answer import SHOWN, print_record
from lmbench.load.requests import COMPLETED, ENDS, Request, RequestLog
from lmbench.load.timeline import as_rows, timeline
from lmbench.record.record import Record
from lmbench.report.figures import charts, tables
from lmbench.report.load_figures import STEP_HEAD, load_charts, step_table
from tests.report.synthetic import WORKLOADS, failed, record

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>"
BY_RATE = ["latency by offered rate", "requests that met every SLO", "rates: offered, achieved, good"]
OVER_TIME = ["latency over time, by when requests were due", "load over time", "requests in flight", "memory of the service"]


def step(index: int, rate: float, **changes: Any) -> dict[str, Any]:
    middle = {"p50": 0.05, "p90": 0.08, "p95": 0.1, "p99": None}
    base: dict[str, Any] = {
        "index": index,
        "kind": "ramp",
        "state": "held",
        "cut": "",
        "rate": rate,
        "streams": None,
        "offered_rate": rate * 1.03,
        "achieved_rate": rate,
        "goodput_requests_per_s": rate * 0.9,
        "sent": 100,
        "completed": 90,
        "failed": 4,
        "timed_out": 3,
        "rejected": 2,
        "cancelled": 1,
        "attainment": 0.9,
        "queue_depth_max": None,
        "cpu_utilization": 0.25,
        "percentiles": {"latency": middle, "ttft": middle, "service": middle},
    }
    return base | changes


def of_load(*steps: Mapping[str, Any], **details: Any) -> Record:
    logs = [
        RequestLog(
            request=Request(index=k, step=0, scheduled_s=k / 10, sent_s=k / 10),
            status=COMPLETED,
            first_token_s=k / 10 + 0.02,
            finished_s=k / 10 + 0.05,
        )
        for k in range(50)
    ]
    found = {
        "steps": list(steps),
        "slo": {"ttft_s": None, "tpot_s": None, "latency_s": 0.25, "attainment": 0.95},
        "timeline": as_rows(timeline(logs, start_s=0.0)),
        "memory": [{"t_s": k / 4, "rss_bytes": 3e8 + k} for k in range(20)],
    }
    return record("stress", details=found | details)


def titles(found: list[Any]) -> list[str | None]:
    root = ET.fromstring(f"<root>{''.join(found)}</root>")  # noqa: S314
    return [element.text for element in root.iter("figcaption")]


def keys(chart: Any) -> list[str]:
    """The names of a chart's lines."""
    root = ET.fromstring(str(chart))  # noqa: S314
    return ["".join(element.itertext()) for element in root.iter("span") if element.get("class") == "key"]


def test_a_run_is_drawn_by_rate_and_over_time() -> None:
    found = load_charts(of_load(step(0, 4.0), step(1, 8.0), step(2, 16.0)))
    assert titles(found) == BY_RATE + OVER_TIME
    assert keys(found[0]) == ["response p50", "response p95", "first token p95", "service p50"]
    assert "SLO latency 250 ms" in found[0]
    assert "target 0.95" in found[1]
    assert keys(found[3]) == ["median", "largest", "first token, median"]
    assert charts(of_load(step(0, 4.0), step(1, 8.0)))[:7]


def test_an_objective_on_first_tokens_is_drawn_where_there_is_no_other() -> None:
    slo = {"ttft_s": 0.5, "latency_s": None, "attainment": 0.99}
    found = load_charts(of_load(step(0, 4.0), step(1, 8.0), slo=slo))
    assert "SLO first token 500 ms" in found[0]
    assert "target 0.99" in found[1]


def test_one_rate_is_no_curve() -> None:
    assert titles(load_charts(of_load(step(0, 4.0)))) == OVER_TIME


def test_closed_loops_and_recovery_are_not_on_the_rate_curve_but_in_the_table() -> None:
    """A closed loop has no offered rate: its clients wait for the service."""
    closed = [step(k, 0.0, kind="hold", streams=4**k, offered_rate=100.0 * 4**k) for k in range(3)]
    found = of_load(*closed, step(3, 2.0, kind="recovery"))
    assert titles(load_charts(found)) == OVER_TIME
    table = step_table(found)
    assert table is not None
    assert [row[0] for row in table.rows] == ["hold of 1 streams", "hold of 4 streams", "hold of 16 streams", "recovery"]
    mixed = load_charts(of_load(step(0, 4.0), step(1, 8.0), *closed))
    # The widest axis ends where the open steps do.
    assert titles(mixed) == BY_RATE + OVER_TIME
    assert str(mixed[0]) == str(load_charts(of_load(step(0, 4.0), step(1, 8.0)))[0])


def test_every_outcome_has_a_column() -> None:
    table = step_table(of_load(step(0, 4.0)))
    assert table is not None
    assert table.head == STEP_HEAD
    assert all(len(row) == len(STEP_HEAD) for row in table.rows)
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert {row[end.replace("_", " ")] for end in ENDS if end != COMPLETED} == {"4", "3", "2", "1"}
    assert row["sent"] == "100"
    assert (row["latency p50"], row["p99"], row["queue max"], row["attainment"], row["CPU"]) == ("50 ms", "-", "-", "90%", "25%")


@pytest.mark.parametrize(
    ("state", "cut", "shown"),
    [
        ("held", "", "held"),
        ("aborted", "the service fell behind", "aborted: the service fell behind"),
        ("interrupted", "interrupted", "interrupted"),
    ],
)
def test_a_step_says_how_it_ended(state: str, cut: str, shown: str) -> None:
    table = step_table(of_load(step(0, 4.0, state=state, cut=cut)))
    assert table is not None
    assert table.rows[0][1] == shown


def test_hostile_texts_stay_texts() -> None:
    steps = (step(0, 4.0, kind=HOSTILE, state=HOSTILE), step(1, 8.0, cut=HOSTILE), step(2, 16.0, streams=HOSTILE))
    odd = of_load(*steps, memory=[{"t_s": HOSTILE, "rss_bytes": HOSTILE}])
    for chart in charts(odd):
        root = ET.fromstring(str(chart))  # noqa: S314
        assert not list(root.iter("script"))
        assert not list(root.iter("img"))
        assert "<script" not in chart
    table = step_table(odd)
    assert table is not None
    assert [row[0] for row in table.rows] == [HOSTILE, "ramp", "ramp"]


@pytest.mark.parametrize(
    "value", [None, "none", 3, [1, "x", None], {"a": 1}, [{}], [{"percentiles": "none", "offered_rate": "4"}]]
)
def test_details_of_an_unexpected_shape_are_left_out(value: object) -> None:
    odd = of_load(steps=value, slo=value, timeline=value, memory=value)
    assert load_charts(odd) == [] or titles([chart for chart in load_charts(odd) if chart]) == []
    assert step_table(odd) is None or isinstance(value, list)


@pytest.mark.parametrize("workload", [name for name in WORKLOADS if name != "stress"])
def test_other_workloads_have_none_of_it(workload: str) -> None:
    other = record(workload)
    assert not any(load_charts(other))
    assert step_table(other) is None
    assert "Requests by step" not in {table.title for table in tables(other)}


def printed(of: Record, width: int = 1000) -> str:
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as capture:
        print_record(of, console)
    return capture.get()


def test_the_answer_shows_steps_metrics_and_notes_line_by_line() -> None:
    note = "a sentence that goes on " * 30 + "and ends"
    run = of_load(step(0, 4.0), step(1, 8.0, state="aborted", cut="the service fell behind"))
    text = printed(Record(**{name: getattr(run, name) for name in Record.__dataclass_fields__} | {"notes": (note,)}), width=60)
    assert f"note: {note}" in text.splitlines()
    wide = printed(run).splitlines()
    assert all(name in METRICS for name in (line.split(" ")[0] for line in wide) if name.endswith(("_s", "_rate")))
    (head,) = (line for line in wide if line.startswith("step "))
    assert all(name in head for name in SHOWN)
    assert sum(line.startswith("ramp ") for line in wide) == 2
    assert any("aborted: the service fell behind" in line for line in wide)


def test_the_answer_to_a_failed_run_is_its_reason_on_one_line() -> None:
    message = "found nothing; " * 20 + "expected something"
    assert printed(failed("WorkloadError", message), width=40) == f"WorkloadError: {message}\n"


def test_markup_in_an_answer_is_not_obeyed() -> None:
    assert printed(failed("WorkloadError", "[bold]found[/bold] [/nothing]")) == "WorkloadError: [bold]found[/bold] [/nothing]\n"
    table = of_load(step(0, 4.0, kind="[red]x[/red]", state="[/nothing]"))
    assert "[red]x[/red]" in printed(table)
