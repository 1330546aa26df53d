"""Every reader of something that others wrote: valid examples of what it reads, and how it is called on other bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lmbench.base import json_text
from lmbench.capacity import plan_file, training_file
from lmbench.cli.load import SloType
from lmbench.compare.verdicts import Verdict
from lmbench.load import asks, grammar, lengths, request_log, scrape, traces
from lmbench.load.http.reply import Reply
from lmbench.measure.machine import machine_class
from lmbench.models.weights import check_folder
from lmbench.record.codec import dumps, from_json
from lmbench.site.gather import gather
from lmbench.store import history, latest, ledger, plain, plain_runs, renames
from lmbench.store.journal import journal_text
from lmbench.store.pytest_settings import _load as read_settings
from lmbench.store.runs import read_run
from lmbench.suite import load as suite
from tests.report.synthetic import ENVIRONMENT, MACHINE, failed, record, run_json

ROOT = Path(__file__).parents[2]
HEAD = {"schema_version": 1, "run": {"id": "r1", "started_at": "t0", "suites": ["suites/a.suite.yaml"]}}
VERDICT = {"node_id": "suites/a.suite.yaml::x[m]", "metric": "ttft_p50_s", "outcome": "ok", "why": "within", "now": 1.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader."""

    examples: tuple[bytes, ...]
    read: Callable[[bytes, Path], object]
    """Reads bytes, in a folder of its own for the file; may raise an LmbenchError and nothing else."""
    kind: str
    """How its input is made: json, lines (of JSON), yaml, or text."""


def _text(read: Callable[[str], object]) -> Callable[[bytes, Path], object]:
    return lambda data, _: read(data.decode(errors="surrogateescape"))


def _file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def run(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return run


def _slo(text: str) -> object:
    import click

    try:
        return SloType().convert(text, None, None)
    except click.UsageError as error:  # click's own way to refuse an option
        return error


def _lengths(text: str) -> object:
    law = lengths.parse(text)
    return law.quantile(lengths.ENDS), lengths.line_of(law)


def _shape(text: str) -> object:
    shape = grammar.parse(text)
    steps = [shape.next_step((), 0.0)]
    return steps, grammar.line_of(shape)


def _run(path: Path) -> object:
    run = read_run(path)
    # What pages and tables do first with a run.
    return [from_json(json_text.loads(dumps(one))) for one in run.records], gather([run])


def _reply(*, stream: bool) -> Callable[[bytes, Path], object]:
    def run(data: bytes, _: Path) -> object:
        reply = Reply(stream=stream)
        reply.http_status = 200
        for first in range(0, len(data), 7):
            reply.add(data[first : first + 7], float(first))
        return reply.end(), reply.tokens, reply.count("prompt_tokens")

    return run


class _Owner:
    """Stands for the client that holds a connection."""

    def now(self) -> float:
        return 0.0

    def arrived(self, connection: object, data: bytes) -> None: ...
    def drain(self) -> None: ...
    def ended(self, connection: object, status: str, error: str, *, reusable: bool) -> None: ...
    def stale(self, connection: object) -> bool:  # noqa: ARG002
        return False


def _http(data: bytes, _: Path) -> object:
    from lmbench.load.http.connection import Connection

    connection = Connection(_Owner())
    connection.reply = Reply(stream=True)
    half = len(data) // 2
    for part in (data[:half], data[half:]):
        if connection.reply is not None and part:
            connection.feed(part, 0.0)
    connection.connection_lost(None)
    return connection.uses


def _model_folder(data: bytes, folder: Path) -> object:
    (folder / "config.json").write_text("{}")
    (folder / "a.safetensors").write_bytes(b"")
    (folder / "model.safetensors.index.json").write_bytes(data)
    check_folder(folder)
    return folder


def _lines(*entries: Mapping[str, object]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _journal() -> bytes:
    head = {**HEAD, "environment": dict(ENVIRONMENT), "machine_class": MACHINE, "verdicts": [VERDICT]}
    return journal_text(head, [record("memory"), failed(workload="latency")]).encode()


CELL = {"node_id": "a::b[c]", "metric": "ttft_p50_s", "log_ratio": 0.1, "low": 0.0, "high": 0.2, "pairs": 8, "outcome": "ok"}
NIGHTS = _lines(
    {"kind": "pin", "schema_version": 1, "commit": "0123", "at": "t0"},
    {"kind": "night", "schema_version": 1, "at": "t1", "commit": "1", "pinned": "0123", "run": "r", "cells": [CELL]},
    {"kind": "bridge", "schema_version": 1, "old": "0123", "new": "4567", "cells": [CELL]},
    {"kind": "retire", "schema_version": 2, "node_id": "a::b[c]", "at": "t2", "last": "t1", "reason": "gone"},
)
REQUESTS = _lines(
    {"schema": "lmbench.requests", "version": 1, "started_at": "t0"},
    {
        "index": 0,
        "step": 0,
        "scheduled_s": 0.0,
        "sent_s": 0.1,
        "started_s": 0.1,
        "first_byte_s": 0.2,
        "first_token_s": 0.3,
        "token_times_s": [0.3, 0.4],
        "finished_s": 0.4,
        "status": "completed",
        "tokens": 2,
        "prompt_tokens": 8,
        "loop_lag_s": 0.001,
        "error": "",
    },
)
EVENT = {"choices": [{"text": "a", "index": 0, "finish_reason": None}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
SSE = b"".join(b"data: %b\n\n" % _json(one) for one in (EVENT, EVENT)) + b"data: [DONE]\n\n"
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b" % (len(SSE), SSE)
METRICS = b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model="m"} 3.0\n# TYPE x_total counter\nx_total 5\n'
PLAIN = {
    "machine_info": {"cpu": {"count": 2}, "machine": "x86_64"},
    "benchmarks": [
        {"fullname": "t.py::test_a", "name": "test_a", "extra_info": {}, "stats": dict.fromkeys(plain_runs.STATISTICS, 1.0)}
    ],
}
SUITE = b"""description: a suite
models: {fake: {model: fake, max_tokens: 64}}
base: &base {budget: {max_time_s: 1.5, max_rounds: 40}}
cases:
  first:
    workload: latency
    prompt_tokens: 8
    budget: {max_time_s: 1.5}
    matrix: {model: fake, backend: [fake], exclude: [{backend: torch}]}
    gate: {ttft_p50_s: 5%}
  ramp: {workload: stress, shape: 'ramp 1..64 x2 for 10s each', output_tokens: uniform 2..8, slo: {latency_s: 1.0}}
seed: 3
tags: [quick]
"""
CHANGES = b"- {case: a::b, metric: ttft_p50_s, change: +12%, reason: meant, commit: '0123', date: 2026-01-01}\n"
TRACES = (
    b'{"timestamp": 0, "input_length": 8, "output_length": 4, "hash_ids": [1, 2]}\n{"timestamp": 9, "input_length": 8, "output_length": 4}\n',
    b"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n",
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n",
)
SHAPES = (
    *(b"hold 20 for 60s", b"steps 5, 10, 20 for 30s each", b"ramp 1..64 in 60s, pieces 20", b"climb 1..64 x2 for 10s each"),
    *(b"ramp 1..64 x1.5 for 10s each, recovery 30s", b"spike 5..50 for 10s, 30s around", b"wave 5..40 for 10m, pieces 48"),
    *(b"closed 1, 4, 16 for 30s each, think 500ms", b"search 1.. for 20s each, within 5%, total 2h", b"soak 10 for 2h"),
)
LENGTHS = (b"64", b"uniform 32..128", b"lognormal 64 0.5, max 512, min 2", b"empirical lengths.txt")
PROMPTS = (b"unique", b"shared-prefix 512", b"shared-prefix 50%", b"sessions 2..8 turns, 16 at once")
INDEX = _json({"metadata": {"total_size": 1}, "weight_map": {"a": "a.safetensors", "b": "a.safetensors"}})
KEPT = {"node_id": "a::b", "run": "r", "at": "t0", "record": None, "verdicts": [VERDICT]}


def _plan(name: str) -> bytes:
    return (ROOT / "plans" / name).read_bytes()


TARGETS: Mapping[str, Target] = {
    "suite": Target(examples=(SUITE,), kind="yaml", read=_file("a.suite.yaml", lambda path: suite.load(path, path.parent))),
    "plan": Target(examples=(_plan("example.plan.yaml"),), kind="yaml", read=_file("plan.yaml", plan_file.load)),
    "training": Target(
        examples=(_plan("example.training.yaml"),), kind="yaml", read=_file("training.yaml", training_file.load_training)
    ),
    "changes": Target(examples=(CHANGES,), kind="yaml", read=_file("changes.yaml", ledger.read_ledger)),
    "renames": Target(examples=(b"a::b: a::c\na/b: a/c\n",), kind="yaml", read=_file("renames.yaml", renames.read_renames)),
    "trace": Target(examples=TRACES, kind="text", read=_file("trace", traces.read)),
    "lengths": Target(examples=LENGTHS, kind="text", read=_text(_lengths)),
    "lengths file": Target(
        examples=(b"3\n5\n8\n", b"[3, 4]\n[5, 6]\n"),
        kind="lines",
        read=_file("l", lambda path: lengths.parse(f"empirical {path}")),
    ),
    "prompts": Target(examples=PROMPTS, kind="text", read=_text(asks.parse)),
    "shape": Target(examples=SHAPES, kind="text", read=_text(_shape)),
    "slo": Target(examples=(b"ttft_p95=500ms,tpot_p95=50ms", b"latency=2s"), kind="text", read=_text(_slo)),
    "record": Target(
        examples=(dumps(record("stress")).encode(), dumps(failed(workload="latency")).encode()),
        kind="json",
        read=lambda data, _: dumps(from_json(json_text.loads(data))),
    ),
    "verdict": Target(examples=(_json(VERDICT),), kind="json", read=lambda data, _: Verdict.from_json(json_text.loads(data))),
    "journal": Target(examples=(_journal(),), kind="lines", read=_file("r.jsonl", _run)),
    "stored run": Target(examples=(_json(run_json([record("memory")])),), kind="json", read=_file("0001_x.json", _run)),
    "newest values": Target(
        examples=(_json({"schema_version": 1, "suite": "a", "cases": [KEPT]}),),
        kind="json",
        read=_file("a.json", latest.read_latest),
    ),
    "nights": Target(examples=(NIGHTS,), kind="lines", read=_file("m.jsonl", history.read_history)),
    "request log": Target(examples=(REQUESTS,), kind="lines", read=_file("requests.jsonl", request_log.read_request_log)),
    "pytest-benchmark": Target(
        examples=(_json(PLAIN),),
        kind="json",
        read=_file("0001_x.json", lambda path: (plain.read_tests(path), plain_runs.plain_runs([path]))),
    ),
    "pytest settings": Target(
        examples=(b'[tool.pytest.ini_options]\naddopts = "-q"\n',), kind="text", read=_file("pyproject.toml", read_settings)
    ),
    "index of weights": Target(examples=(INDEX,), kind="json", read=_model_folder),
    "metrics": Target(examples=(METRICS,), kind="text", read=_text(lambda text: scrape.parse(text, 0.0))),
    "SSE reply": Target(examples=(SSE,), kind="text", read=_reply(stream=True)),
    "reply": Target(examples=(_json(EVENT),), kind="json", read=_reply(stream=False)),
    "HTTP reply": Target(examples=(HTTP,), kind="text", read=_http),
}
WARM = (machine_class,)
