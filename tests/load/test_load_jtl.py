"""JTL export, column by column, and read back the way JMeter reads it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.jtl import COLUMNS, JtlOptions, jtl, write_jtl
from lmbench.load.requests import COMPLETED, ENDS, FAILED, PENDING, REJECTED, TIMED_OUT, Request, RequestLog

EPOCH_S = 1_700_000_000.25
OPTIONS = JtlOptions(epoch_s=EPOCH_S, start_s=100.0, label="chat", url="http://127.0.0.1:8000/v1")


def request(index: int, scheduled: float, step: int = 0) -> Request:
    return Request(index=index, step=step, scheduled_s=100.0 + scheduled, sent_s=100.0 + scheduled + 0.001)


def done(index: int, scheduled: float, *, start: float, first: float, end: float, step: int = 0) -> RequestLog:
    return RequestLog(
        request=request(index, scheduled, step),
        status=COMPLETED,
        started_s=100.0 + start,
        first_byte_s=100.0 + first - 0.01,
        first_token_s=100.0 + first,
        finished_s=100.0 + end,
        tokens=3,
    )


def rows(logs: list[RequestLog], options: JtlOptions = OPTIONS) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(jtl(logs, options), newline="")))


def test_a_completed_request_fills_every_column() -> None:
    (row,) = rows([done(0, 1.0, start=1.2, first=1.5, end=2.0)])
    assert row == {
        "timeStamp": "1700000001250",
        "elapsed": "1000",
        "label": "chat",
        "responseCode": "200",
        "responseMessage": "OK",
        "threadName": "step 1 1-1",
        "dataType": "text",
        "success": "true",
        "failureMessage": "",
        "bytes": "0",
        "sentBytes": "0",
        "grpThreads": "1",
        "allThreads": "1",
        "URL": "http://127.0.0.1:8000/v1",
        "Latency": "500",
        "IdleTime": "0",
        "Connect": "0",
    }


def test_the_header_is_jmeters_default() -> None:
    header = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes"
    assert jtl([], OPTIONS) == header + ",grpThreads,allThreads,URL,Latency,IdleTime,Connect\n"


def test_service_time_starts_with_the_service() -> None:
    (row,) = rows([done(0, 1.0, start=1.2, first=1.5, end=2.0)], replace(OPTIONS, service=True))
    assert (row["timeStamp"], row["elapsed"], row["Latency"]) == ("1700000001450", "800", "300")


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (
            RequestLog(request=request(0, 0), status=FAILED, finished_s=100.5, error="HTTP 503: overloaded"),
            {"responseCode": "503", "responseMessage": "HTTP 503: overloaded", "elapsed": "500", "Latency": "0"},
        ),
        (
            RequestLog(request=request(0, 0), status=TIMED_OUT, first_byte_s=100.2, finished_s=101.0, error="not finished"),
            {"responseCode": "timed_out", "failureMessage": "not finished", "elapsed": "1000", "Latency": "200"},
        ),
        (
            RequestLog(request=request(0, 0), status=REJECTED),
            {"responseCode": "rejected", "responseMessage": "rejected", "failureMessage": "", "elapsed": "1"},
        ),
    ],
)
def test_requests_that_did_not_complete_say_how_they_ended(log: RequestLog, expected: dict[str, str]) -> None:
    (row,) = rows([log])
    assert row["success"] == "false"
    assert {name: row[name] for name in expected} == expected


def test_open_requests_are_counted_as_threads() -> None:
    found = rows(
        [
            done(0, 0.0, start=0.0, first=0.1, end=1.0),
            done(1, 0.5, start=0.5, first=0.6, end=2.0),
            done(2, 0.6, start=0.6, first=0.7, end=3.0, step=1),
        ]
    )
    assert [(row["threadName"], row["grpThreads"], row["allThreads"]) for row in found] == [
        ("step 1 1-1", "2", "3"),
        ("step 1 1-1", "1", "2"),
        ("step 2 1-1", "1", "1"),
    ]


def test_samples_are_in_order_of_their_ends_without_the_pending() -> None:
    late, early = done(0, 0.0, start=0.0, first=0.1, end=9.0), done(1, 1.0, start=1.0, first=1.1, end=2.0)
    found = rows([late, early, RequestLog(request=request(2, 0.0), status=PENDING)])
    assert [row["elapsed"] for row in found] == ["1000", "9000"]


def test_without_a_url_it_is_null_as_jmeter_writes_it() -> None:
    (row,) = rows([done(0, 0.0, start=0.0, first=0.1, end=1.0)], JtlOptions(epoch_s=0.0))
    assert row["URL"] == "null"


def jmeter_fields(text: str) -> list[list[str]]:
    """A second reader with JMeter's rules: quotes only around whole fields, doubled inside; CR, LF or CRLF end a plain line."""
    lines: list[list[str]] = []
    fields, field, place = [], "", 0
    while place < len(text):
        if text[place] == '"':
            end = place + 1
            while text[end] != '"' or text[end + 1 : end + 2] == '"':
                end += 2 if text[end] == '"' else 1
            field, place = text[place + 1 : end].replace('""', '"'), end + 1
        while place < len(text) and text[place] not in ',\r\n"':
            field, place = field + text[place], place + 1
        assert text[place] != '"', "JMeter refuses a quote inside a plain field"
        fields.append(field)
        field = ""
        if text[place] in "\r\n":
            lines.append(fields)
            fields = []
            place += text[place : place + 2] == "\r\n"
        place += 1
    return lines


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(alphabet=st.sampled_from("a,\"\r\n 'é"), max_size=8), st.sampled_from(ENDS), st.floats(0, 100)),
        max_size=5,
    )
)
def test_any_error_text_stays_in_its_column(entries: list[tuple[str, str, float]]) -> None:
    logs = [
        RequestLog(request=request(index, at), status=status, finished_s=100.0 + at + 1, error=text)
        for index, (text, status, at) in enumerate(entries)
    ]
    header, *found = jmeter_fields(jtl(logs, OPTIONS))
    assert header == list(COLUMNS)
    assert all(len(fields) == len(COLUMNS) for fields in found)
    assert sorted(fields[COLUMNS.index("failureMessage")] for fields in found) == sorted(text for text, _, _ in entries)
    assert all(
        int(fields[COLUMNS.index(name)]) >= 0 for fields in found for name in ("elapsed", "Latency", "allThreads", "bytes")
    )
    assert all(int(fields[COLUMNS.index("allThreads")]) >= int(fields[COLUMNS.index("grpThreads")]) >= 1 for fields in found)


def test_the_file_is_what_the_text_is(tmp_path: Path) -> None:
    logs = [done(0, 0.0, start=0.0, first=0.1, end=1.0)]
    write_jtl(tmp_path / "run.jtl", logs, OPTIONS)
    assert (tmp_path / "run.jtl").read_bytes().decode() == jtl(logs, OPTIONS)
