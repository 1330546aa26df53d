"""Load on real servers of this machine: known latencies, faults of every kind, a server that is killed, one that is started here."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from lmbench.base.errors import Unavailable
from lmbench.load.null_server import null_server
from lmbench.load.ports import free_port, is_open, listener_pid
from lmbench.load.request_log import read_request_log
from lmbench.load.requests import ENDS
from lmbench.measure.clock import CLOCK
from lmbench.plan.case import Case, Choice
from lmbench.record.codec import from_json, to_json
from lmbench.record.record import ERROR, OK, Record
from lmbench.run.execute import Setting, execute
from lmbench.suite.options import EndpointOptions
from lmbench.suite.params import StressParams
from tests.load.http.modes import Options
from tests.load.http.serving import Server, serving

KEY = "sk-this-is-told-to-nobody"
NULL_SERVER = [sys.executable, "-P", "-m", "lmbench.load.null_server", "--port", "{port}"]
TTFT_S, TPOT_S, TOKENS = 0.02, 0.002, 4
SERVICE_S = TTFT_S + (TOKENS - 1) * TPOT_S
EARLY_S = 1e-3
"""A sleep may end this much early, and moments in a log are rounded."""
Say = Callable[[str], None]


def case(options: Mapping[str, Any], **params: Any) -> Case:
    asked = {"prompt_tokens": 16, "output_tokens": TOKENS} | params
    return Case(
        suite="suites/endpoint.suite.yaml",
        name="load",
        workload="stress",
        params=StressParams.model_validate(asked).model_dump(),
        model=Choice(name="m", kind="endpoint", options=EndpointOptions.model_validate(options).model_dump(exclude_none=True)),
        backend=Choice(name="http", kind="http"),
        compression=Choice(name="none", kind="none"),
        corpus={"source": "python-reference"},
        seed=5,
    )


def run(of: Case, folder: Path | None = None, *, say: Say = lambda _: None, once: bool = False, partial: bool = False) -> Record:
    artifacts = None if folder is None else str(folder / "requests")
    setting = Setting(environment="e", machine_class="m", once=once, artifacts=artifacts, partial=partial)
    record = execute(of, setting, say)
    check_plain(record)
    return record


def check_plain(record: Record) -> None:
    """The whole record is plain JSON without NaN, survives it, and its accounts add up."""
    text = json.dumps(to_json(record), allow_nan=False)
    assert to_json(from_json(json.loads(text))) == json.loads(text)
    if record.status == OK:
        counts = record.details["accounts"]
        assert counts["sent"] == sum(counts[end] for end in ENDS) == len(record.details["requests"]["status"])
        assert counts["sent"] == sum(step["sent"] for step in record.details["steps"])
        assert Counter(record.details["requests"]["status"]) == {end: counts[end] for end in ENDS if counts[end]}


def check_log(record: Record) -> None:
    """The request log holds every request once, and nothing else."""
    stored = read_request_log(Path(record.details["request_log"]))
    assert not stored.torn
    assert stored.header["case"] == record.case.node_id
    assert sorted(log.request.index for log in stored.logs) == list(range(record.details["accounts"]["sent"]))
    assert Counter(log.status for log in stored.logs) == Counter(record.details["requests"]["status"])


def turned(server: Server, mode: str) -> Say:
    """Says nothing, and makes the server answer in another mode once the unloaded requests are over."""

    def say(text: str) -> None:
        if "unloaded request" in text:
            server.host.options.mode = mode

    return say


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Record, Server, list[str]]]:
    """Two rates against a server of known latency, which runs in this process."""
    said: list[str] = []
    with serving(Options(ttft_s=TTFT_S, tpot_s=TPOT_S, tokens=TOKENS)) as (port, server):
        of = case({"url": f"http://127.0.0.1:{port}/v1"}, shape="steps 20, 40 for 500ms each", slo={"latency_s": 5.0})
        yield run(of, tmp_path_factory.mktemp("plain"), say=said.append), server, said


def test_every_request_is_answered_and_none_before_its_time(plain: tuple[Record, Server, list[str]]) -> None:
    record, server, _ = plain
    assert record.status == OK, record.failure
    counts = record.details["accounts"]
    assert counts["completed"] == counts["sent"] > 5
    check_log(record)
    logs = read_request_log(Path(record.details["request_log"])).logs
    assert all(log.tokens == len(log.token_times_s) == TOKENS for log in logs)
    assert all((log.latency_s or 0.0) >= SERVICE_S - EARLY_S and (log.ttft_s or 0.0) >= TTFT_S - EARLY_S for log in logs)
    assert all(log.request.scheduled_s <= log.request.sent_s + EARLY_S for log in logs)
    assert min(record.series["latency"]) >= SERVICE_S - EARLY_S
    # The server saw the run's requests and those before it, none of them with the prompt of another.
    prompts = [call.prompt for call in server.calls]
    assert len(set(prompts)) == len(prompts) >= counts["sent"] + 5
    assert record.details["unloaded_latency_s"] >= SERVICE_S - EARLY_S


def test_what_the_client_can_do_and_did_is_kept(plain: tuple[Record, Server, list[str]]) -> None:
    record, _, _ = plain
    client = record.details["client"]
    assert client["headroom"]["reached_rate"] > 0
    assert client["headroom"]["processes"] == 1
    assert "against a server that answers at once" in client["headroom"]["verdict"]
    assert [step["step"] for step in client["steps"]] == [0, 1]
    assert all(step["verdict"] and step["cpu_share"] > 0 and step["sender_lag_p99_s"] is not None for step in client["steps"])
    assert (client["retried"], client["retries"]) == (0, 0)


def test_the_service_is_seen_from_outside(plain: tuple[Record, Server, list[str]]) -> None:
    record, _, _ = plain
    assert (record.metrics["peak_rss_bytes"].value or 0) > 0
    assert record.details["server"]["processes"]["quantities"]["rss_bytes"]["max"] > 0
    assert record.details["memory"]
    assert all(row["rss_bytes"] > 0 for row in record.details["memory"])
    # It has no metrics of its own, which is said once.
    (change,) = record.details["server"]["metrics"]
    assert change["reason"]
    assert record.details["timeline"]


def test_progress_says_where_the_run_is(plain: tuple[Record, Server, list[str]]) -> None:
    _, _, said = plain
    assert all("\n" not in text for text in said)
    for words in ("one after the other", "unloaded request", "what the client itself can do", "SLO "):
        assert any(words in text for text in said)


@pytest.mark.parametrize(
    ("mode", "end", "words"),
    [("500", "failed", "the model fell over"), ("429", "rejected", "429"), ("hang", "timed_out", "0 tokens had come")],
)
def test_faults_under_load_are_counted_and_named(mode: str, end: str, words: str, tmp_path: Path) -> None:
    with serving(Options(ttft_s=0.005)) as (port, server):
        of = case({"url": f"http://127.0.0.1:{port}"}, shape="hold 20 for 500ms", request_timeout_s=5.0, processes=1)
        record = run(of, tmp_path, say=turned(server, mode))
    assert record.status == OK, record.failure
    counts = record.details["accounts"]
    assert counts[end] == counts["sent"] > 0
    (step,) = record.details["steps"]
    assert any(words in error for error in step["errors"])
    assert step["state"] == "broke"
    assert record.metrics["availability"].value == 0
    assert record.metrics["slo_attainment"].value == 0
    assert any("no request of the shown step completed" in note for note in record.notes)
    check_log(record)


def test_a_server_killed_in_the_middle_leaves_a_record_of_both_halves(tmp_path: Path) -> None:
    with null_server(TOKENS, CLOCK) as url:
        pid = listener_pid(url)
        assert pid is not None

        def say(text: str) -> None:
            if " in flight" in text and psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)

        record = run(case({"url": url}, shape="hold 40 for 1500ms", processes=1), tmp_path, say=say)
    assert record.status == OK, record.failure
    counts = record.details["accounts"]
    assert counts["completed"] > 0
    assert counts["failed"] > 0
    assert any("refused the connection" in error for error in record.details["steps"][0]["errors"])
    assert record.details["memory"]
    assert 0 < (record.metrics["availability"].value or 0) < 1
    check_log(record)


def test_a_server_is_started_sampled_and_ended(tmp_path: Path) -> None:
    server = {"command": NULL_SERVER, "env": {"HOLIDAY": "sunny"}}
    of = case({"url": "http://127.0.0.1:{port}", "server": server}, shape="closed 1, 2 for 300ms each", processes=1)
    said: list[str] = []
    record = run(of, tmp_path, say=said.append)
    assert record.status == OK, record.failure
    steps = record.details["steps"]
    assert [step["streams"] for step in steps] == [1, 2]
    assert all(step["completed"] == step["sent"] > 0 for step in steps)
    logs = [path.name for path in (tmp_path / "requests").iterdir() if path.name.endswith(".server.log")]
    assert len(logs) == 1 and logs[0].endswith(f".{of.id}.server.log"), logs
    assert record.details["server"]["processes"]["quantities"]["rss_bytes"]["max"] > 0
    assert (record.metrics["peak_rss_bytes"].value or 0) > 0
    check_log(record)
    (url,) = {word.rstrip(",") for text in said for word in text.split() if word.startswith("http://127")}
    assert not is_open("127.0.0.1", int(url.rsplit(":", 1)[1]))


def test_nobody_listening_is_a_fault_of_the_workload() -> None:
    record = run(case({"url": f"http://127.0.0.1:{free_port()}"}, shape="hold 5 for 1s"))
    assert record.status == ERROR
    assert record.failure is not None
    assert (record.failure.kind, record.failure.traceback) == ("WorkloadError", "")
    assert record.failure.message.startswith("found no answer from http://127.0.0.1:")
    assert (
        "; expected completions to be served there for model 'default'; correct url, name, api or the key"
        in record.failure.message
    )


def test_a_server_that_refuses_everything_is_told_before_any_load() -> None:
    with serving(Options(mode="500")) as (port, server):
        record = run(case({"url": f"http://127.0.0.1:{port}"}, shape="hold 5 for 100s", request_timeout_s=60.0), once=True)
        assert len(server.calls) > 0
    assert record.failure is not None
    assert record.failure.kind == "WorkloadError"
    assert "the model fell over" in record.failure.message


def test_the_key_is_sent_and_is_in_nothing_that_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LMBENCH_TEST_KEY", KEY)
    with serving(Options()) as (port, server):
        of = case({"url": f"http://127.0.0.1:{port}", "api_key_env": "LMBENCH_TEST_KEY"}, shape="hold 20 for 500ms", processes=1)
        said: list[str] = []

        def say(text: str) -> None:
            said.append(text)
            turned(server, "echo")(text)

        record = run(of, tmp_path, say=say)
        assert all(f"Authorization: Bearer {KEY}".encode() in call.head for call in server.calls)
    assert record.details["accounts"]["failed"] == record.details["accounts"]["sent"] > 0
    kept = [json.dumps(to_json(record)), repr(record), repr(of), *said]
    kept += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("***" in text for text in kept)
    assert not any(KEY in text for text in kept)


def test_a_missing_key_is_missed_before_a_server_is_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    server = {"command": ["touch", str(started)], "ready": "tcp"}
    of = case({"url": "http://127.0.0.1:{port}", "server": server, "api_key_env": "LMBENCH_NO_SUCH_KEY"}, shape="hold 5 for 1s")
    with pytest.raises(Unavailable, match="LMBENCH_NO_SUCH_KEY"):
        run(of)
    assert not started.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "127.0.0.1:8000"}, "expected http(s)://host"),
        ({"url": "http://127.0.0.1:{port}"}, "no server to start; expected a number in place of {port}"),
        ({"url": "http://me:secret@127.0.0.1"}, "found a user or password"),
        ({"url": "http://127.0.0.1", "api": "chat", "token_ids": True}, "expected api: completions"),
    ],
)
def test_options_that_no_request_can_be_made_of(options: dict[str, Any], words: str) -> None:
    failure = run(case(options, shape="hold 5 for 1s")).failure
    assert failure is not None
    assert (failure.kind, failure.traceback) == ("WorkloadError", "")
    assert words in failure.message
    assert "secret" not in failure.message


def test_once_sends_a_handful_and_measures_nothing_else(tmp_path: Path) -> None:
    with serving(Options(ttft_s=TTFT_S)) as (port, server):
        of = case({"url": f"http://127.0.0.1:{port}"}, shape="hold 5000 for 1h")
        record = run(of, tmp_path, once=True)
        assert len(server.calls) < 100
    assert record.status == OK, record.failure
    assert record.details["client"]["headroom"] is None
    assert record.details["request_log"] is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"api": "chat"}, {"stream": False}, {"api": "chat", "stream": False}, {"token_ids": True}], ids=str
)
def test_every_way_to_ask(options: dict[str, Any]) -> None:
    with serving(Options(ttft_s=0.005, tokens=TOKENS)) as (port, server):
        record = run(case({"url": f"http://127.0.0.1:{port}", **options}, shape="hold 20 for 1s"), once=True)
        assert all(call.chat == (options.get("api") == "chat") for call in server.calls)
        assert all(call.prompt.startswith("[") == bool(options.get("token_ids")) for call in server.calls)
    assert record.status == OK, record.failure
    assert record.details["accounts"]["completed"] == record.details["accounts"]["sent"] > 0
    streamed = options.get("stream", True)
    assert ("ttft" in record.series) == streamed
    assert streamed or record.metrics["ttft_mean_s"].reason


def test_a_trace_is_replayed_as_it_was_recorded(tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    rows: list[dict[str, Any]] = [
        {"timestamp": 40 * k, "input_length": 8 + k, "output_length": 1 + k % 3, "hash_ids": [k]} for k in range(20)
    ]
    trace.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serving(Options(tokens=8)) as (port, server):
        record = run(case({"url": f"http://127.0.0.1:{port}"}, trace=str(trace), processes=1), tmp_path)
        asked = Counter((len(call.prompt), call.max_tokens) for call in server.calls)
    assert record.status == OK, record.failure
    assert record.details["accounts"]["completed"] == len(rows)
    assert not Counter((row["input_length"], row["output_length"]) for row in rows) - asked
    first, *_ = scheduled = record.details["requests"]["scheduled"]
    assert [moment - first for moment in scheduled] == pytest.approx([0.04 * k for k in range(20)], abs=1e-5)


def test_an_interrupted_run_is_reported_as_far_as_it_went(tmp_path: Path) -> None:
    def say(text: str) -> None:
        if " in flight" in text:
            raise KeyboardInterrupt

    with serving(Options(ttft_s=0.005)) as (port, _):
        of = case({"url": f"http://127.0.0.1:{port}"}, shape="hold 20 for 1m", processes=1)
        record = run(of, tmp_path, say=say, partial=True)
    assert record.details["interrupted"]
    (step,) = record.details["steps"]
    assert (step["state"], step["cut"]) == ("interrupted", "interrupted")
    assert 0 < record.details["accounts"]["completed"] <= record.details["accounts"]["sent"] < 60 * 20
    assert any("the run was interrupted" in note for note in record.notes)
    check_log(record)
