"""Traces: every published format, sorted from 0, cut and sped up, faults with file and line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmbench.base.errors import ConfigError
from lmbench.load.traces import NO_SESSION, read

MOONCAKE = """\
{"timestamp": 2000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 2000, "input_length": 7322, "output_length": 490, "hash_ids": [0, 14]}

{"timestamp": 5052, "input_length": 2287, "output_length": 316, "hash_ids": [0, 42]}
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
50,GPT-4,417,0,417,API log
118,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_3 = """\
Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440161.0,bbb,2,ChatGPT,36,29,65,Conversation log
19440110.0,aaa,43,GPT-4,906,446,1352,Conversation log
19440192.5,,4,ChatGPT,100,20,120,API log
19440200.0,bbb,4,ChatGPT,90,25,115,Conversation log
"""
AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:17:03.9799600,879,55
"""
AZURE_2024 = AZURE.replace("00,", "00+00:00,").replace("690,", "690+00:00,")


def file(folder: Path, text: str) -> Path:
    path = folder / "trace"
    path.write_text(text, encoding="utf-8")
    return path


def test_mooncake_keeps_prefixes_and_simultaneous_requests(tmp_path: Path) -> None:
    trace = read(file(tmp_path, MOONCAKE))
    assert trace.format == "mooncake"
    np.testing.assert_allclose(trace.offsets_s, [0, 0, 3.052])
    assert trace.prompt_tokens.tolist() == [6758, 7322, 2287]
    assert trace.output_tokens.tolist() == [500, 490, 316]
    assert trace.hash_ids == ((0, 1, 2), (0, 14), (0, 42))
    assert trace.sessions is None
    assert len(trace.digest) == 16


def test_burstgpt_leaves_failures_out_and_counts_them(tmp_path: Path) -> None:
    trace = read(file(tmp_path, BURSTGPT))
    assert trace.format == "burstgpt"
    assert trace.offsets_s.tolist() == [0, 40, 113]
    assert trace.prompt_tokens.tolist() == [472, 1087, 417]
    assert (trace.left_out, trace.sessions, trace.hash_ids) == (1, None, None)


def test_burstgpt_sessions_are_numbered_as_they_appear(tmp_path: Path) -> None:
    trace = read(file(tmp_path, BURSTGPT_3))
    assert trace.offsets_s.tolist() == [0, 51, 82.5, 90]
    assert trace.prompt_tokens.tolist() == [906, 36, 100, 90]
    assert trace.sessions is not None
    assert trace.sessions.tolist() == [0, 1, NO_SESSION, 1]


@pytest.mark.parametrize("text", [AZURE, AZURE_2024, "\ufeff" + AZURE, AZURE.replace("\n", "\r\n")])
def test_azure_dates_are_kept_to_100_ns(tmp_path: Path, text: str) -> None:
    trace = read(file(tmp_path, text))
    assert trace.format == "azure"
    np.testing.assert_allclose(trace.offsets_s, [0, 4.3145790, 77.2993700], atol=5e-8, rtol=0)
    assert trace.output_tokens.tolist() == [44, 109, 55]


def test_speed_comes_before_the_cuts(tmp_path: Path) -> None:
    path = file(tmp_path, BURSTGPT)
    assert read(path, speed=10).offsets_s.tolist() == [0, 4, 11.3]
    assert read(path, speed=10, limit_s=11.3).offsets_s.tolist() == [0, 4]
    assert read(path, limit=1).prompt_tokens.tolist() == [472]


def test_the_mean_rate_of_a_trace_is_that_of_its_gaps(tmp_path: Path) -> None:
    trace = read(file(tmp_path, BURSTGPT))
    assert trace.duration_s == pytest.approx(113 * 3 / 2)
    assert read(file(tmp_path, BURSTGPT), limit=1).duration_s == 1.0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 9))
def test_windows_of_a_trace_join_to_the_whole(tmp_path: Path, moments: list[float], pieces: int) -> None:
    rows = "".join(f"{moment!r},m,1,1,2,x\n" for moment in moments)
    trace = read(file(tmp_path, BURSTGPT.splitlines(keepends=True)[0] + rows))
    assert trace.offsets_s[0] == 0
    assert (np.diff(trace.offsets_s) >= 0).all()
    assert trace.offsets_s[-1] < trace.duration_s
    edges = np.linspace(0, trace.duration_s, pieces + 1)
    parts = [trace.between(start, end) for start, end in pairwise(edges)]
    assert sum(len(part) for part in parts) == len(trace) == len(moments)
    assert all(part[0] >= 0 and part[-1] < trace.duration_s / pieces * (1 + 1e-9) for part in parts if len(part))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (AZURE.replace("396", "many"), ":3", "ContextTokens: found 'many'; expected a whole number"),
        (AZURE.replace("396", "3.5"), ":3", "found '3.5'; expected a whole number"),
        (AZURE.replace("2023-11-16 18:17:03.9799600", "now"), ":4", "TIMESTAMP: found 'now'; expected a date"),
        (AZURE.replace("00,8", "00+02:00,8"), ":4", "expected a date in UTC"),
        (BURSTGPT.replace("1087,230,1317", "-1,230,229"), ":3", "Request tokens: found '-1'"),
        (BURSTGPT.replace("45,ChatGPT,", "45,"), ":3", "found 5 fields; expected 6"),
        ("a,b\n1,2\n", ":1", "header: found 'a,b'; expected Mooncake's JSONL or a CSV"),
        ("", ":1", "header: found ''"),
        (BURSTGPT.splitlines()[0] + "\n", "", "found 0 requests; expected at least one"),
        (MOONCAKE.replace("7322", '"long"'), ":2", "input_length: found 'long'"),
        (MOONCAKE.replace("[0, 42]", "[0, null]"), ":4", "hash_ids: found"),
        (MOONCAKE.replace("}\n", "\n"), ":1", "not JSON"),
        (MOONCAKE + "[1]\n", ":5", "found '[1]'; expected one JSON object"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, text: str, place: str, message: str) -> None:
    path = file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}{place}: ")
    assert message in str(caught.value)


def test_a_fault_in_a_later_chunk_is_found(tmp_path: Path) -> None:
    lines = [json.dumps({"timestamp": k, "input_length": 1, "output_length": 1}) for k in range(10)]
    assert len(read(file(tmp_path, "\n".join(lines)))) == 10
    rows = ["0,m,1,1,2,x\n"] * 70_000
    rows[69_000] = "0,m,?,1,2,x\n"
    with pytest.raises(ConfigError, match=":69002: Request tokens"):
        read(file(tmp_path, BURSTGPT.splitlines(keepends=True)[0] + "".join(rows)))


def test_missing_files_and_impossible_speeds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="speed: found 0"):
        read(file(tmp_path, AZURE), speed=0)
