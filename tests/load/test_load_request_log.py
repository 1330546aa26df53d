"""The per-request log: what is written comes back, a kill leaves every earlier line, damage is named with its line."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmbench.base.errors import StoreError, Unavailable
from lmbench.load import request_log
from lmbench.load.request_log import COLUMNS, RequestLogWriter, read_request_log, to_parquet
from lmbench.load.requests import COMPLETED, ENDS, FAILED, PENDING, Request, RequestLog

START_S = 1000.0
AT = "2026-01-01T00:00:00+00:00"
MOMENT = st.integers(0, 10**10).map(lambda micros: START_S + micros / 1e6)
MAYBE = st.none() | MOMENT


def log(index: int = 0, **values: object) -> RequestLog:
    request = Request(index=index, step=0, scheduled_s=START_S + index, sent_s=START_S + index)
    return RequestLog(request=request, **values)  # type: ignore[arg-type]


LOGS = st.lists(
    st.builds(
        RequestLog,
        request=st.builds(Request, index=st.integers(0, 2**53), step=st.integers(0, 99), scheduled_s=MOMENT, sent_s=MOMENT),
        status=st.sampled_from([PENDING, *ENDS]),
        started_s=MAYBE,
        first_byte_s=MAYBE,
        first_token_s=MAYBE,
        token_times_s=st.lists(MOMENT, max_size=4).map(tuple),
        finished_s=MAYBE,
        tokens=st.integers(0, 10**6),
        prompt_tokens=st.none() | st.integers(0, 10**6),
        loop_lag_s=st.none() | st.floats(0, 10),
        error=st.text(max_size=20),
    ),
    max_size=6,
)


def rounded(value: float | None, base: float = START_S) -> object:
    return None if value is None else pytest.approx(value - base, abs=6e-7)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGS, LOGS)
def test_what_is_written_comes_back_to_the_microsecond(tmp_path: Path, first: list[RequestLog], second: list[RequestLog]) -> None:
    path = tmp_path / "requests.jsonl"
    path.unlink(missing_ok=True)
    with RequestLogWriter(path, start_s=START_S, started_at=AT, facts={"case": "c"}) as writer:
        writer.write(first)
        writer.write(second)
    found = read_request_log(path)
    assert found.header == {"schema": "lmbench.requests", "version": 1, "started_at": AT, "case": "c"}
    assert not found.torn
    assert len(found.logs) == len(first) + len(second)
    for before, after in zip([*first, *second], found.logs, strict=True):
        assert (before.request.index, before.request.step) == (after.request.index, after.request.step)
        assert after.request.scheduled_s == rounded(before.request.scheduled_s)
        assert after.request.sent_s == rounded(before.request.sent_s)
        for name in ("started_s", "first_byte_s", "first_token_s", "finished_s"):
            assert getattr(after, name) == rounded(getattr(before, name))
        assert after.token_times_s == tuple(rounded(moment) for moment in before.token_times_s)
        assert after.loop_lag_s == rounded(before.loop_lag_s, 0.0)
        for name in ("status", "tokens", "prompt_tokens", "error"):
            assert getattr(after, name) == getattr(before, name)


def test_lines_are_on_disk_before_the_writer_closes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "requests.jsonl"
    writer = RequestLogWriter(path, start_s=START_S, started_at=AT)
    writer.write([log(0), log(1)])
    assert [one.request.index for one in read_request_log(path).logs] == [0, 1]
    writer.write([log(2, status=FAILED, error="line one\nline two")])
    assert read_request_log(path).logs[2].error == "line one\nline two"
    writer.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_kill_at_any_byte_leaves_every_earlier_line(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "requests.jsonl"
    path.unlink(missing_ok=True)
    with RequestLogWriter(path, start_s=START_S, started_at=AT) as writer:
        writer.write(log(index, status=COMPLETED, token_times_s=(START_S + 2.0,)) for index in range(5))
    whole = path.read_bytes()
    header = whole.index(b"\n") + 1
    cut = data.draw(st.integers(header, len(whole)))
    path.write_bytes(whole[:cut])
    found = read_request_log(path)
    assert len(found.logs) == whole[:cut].count(b"\n") - 1
    assert found.torn is not whole[:cut].endswith(b"\n")


def test_the_table_of_the_docstring_is_what_is_written() -> None:
    documented = re.findall(r"^\| (\w+) +\|", request_log.__doc__ or "", re.MULTILINE)[1:]
    assert documented == list(COLUMNS) == list(request_log.line(log(), START_S))


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("precious")
    with pytest.raises(StoreError, match="already there"):
        RequestLogWriter(path, start_s=0.0, started_at=AT)
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no complete line"),
        ("[]\n", ":1: found b'\\[\\]'; expected a JSON object"),
        ('{"schema": "lmbench.requests", "version": 9}\n', "version 9; expected 'lmbench.requests' version 1"),
        ('{"schema": "lmbench.requests", "version": 1}\n{"index":\n{}\n', ":2: found b'{\"index\":'"),
        ('{"schema": "lmbench.requests", "version": 1}\n{"index": 1}\n', ":2: found other keys: error, finished_s"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(text)
    with pytest.raises(StoreError, match=message):
        read_request_log(path)


def test_an_unknown_status_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    entry = request_log.line(log(), START_S) | {"status": "lost"}
    path.write_text('{"schema": "lmbench.requests", "version": 1}\n' + json.dumps(entry) + "\n")
    with pytest.raises(StoreError, match="found status 'lost'"):
        read_request_log(path)
    with pytest.raises(StoreError, match="No such file"):
        read_request_log(tmp_path / "none.jsonl")


@pytest.mark.skipif(find_spec("duckdb") is not None, reason="DuckDB is installed")
def test_parquet_without_duckdb_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"needs DuckDB.*pip install"):
        to_parquet(tmp_path / "requests.jsonl", tmp_path / "requests.parquet")


def test_parquet_holds_every_whole_line(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    source, target = tmp_path / "it's.jsonl", tmp_path / "it's.parquet"
    with RequestLogWriter(source, start_s=START_S, started_at=AT) as writer:
        writer.write([log(0, status=COMPLETED, token_times_s=(START_S + 1.5,)), log(1, status=FAILED, error="no")])
    with source.open("ab") as stream:
        stream.write(b'{"index": 2, "st')
    to_parquet(source, target)
    rows = duckdb.read_parquet(str(target)).project("index, token_times_s, error").order("index").fetchall()
    assert rows == [(0, [1.5], ""), (1, [], "no")]
