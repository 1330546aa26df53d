"""What a reply says, whatever way its bytes are cut: tokens, usage, ends and faults."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.http.answers import Piece, parse
from lmbench.load.http.reply import MAX_BODY_BYTES, MAX_EVENT_BYTES, Reply
from lmbench.load.http.skeleton import learn
from lmbench.load.requests import COMPLETED, FAILED, REJECTED

TEXTS = st.lists(st.text(max_size=6), min_size=1, max_size=8)
STYLES = st.sampled_from(["completions", "chat"])
ENDINGS = st.sampled_from(["\n", "\r\n"])


def payload(text: str, style: str = "completions", finish: str | None = None, *, ascii_only: bool = True) -> str:
    said: dict[str, Any] = {"text": text} if style == "completions" else {"delta": {"content": text}}
    return json.dumps(
        {"id": "r", "choices": [{"index": 0, **said, "finish_reason": finish}], "usage": None}, ensure_ascii=ascii_only
    )


def stream(texts: list[str], style: str, *, newline: str = "\n", ascii_only: bool = True, done: bool = True) -> bytes:
    events = [f"data: {payload(text, style, ascii_only=ascii_only)}" for text in texts]
    events.append(f"data: {payload('', style, 'stop')}")
    usage = {"prompt_tokens": 7, "completion_tokens": max(len(texts), 1), "total_tokens": 7 + len(texts)}
    events += [": a comment", "data: " + json.dumps({"choices": [], "usage": usage})]
    if done:
        events.append("data: [DONE]")
    return "".join(event + "\n\n" for event in events).replace("\n", newline).encode()


def read(pieces: list[bytes], *, status: int = 200, streamed: bool = True) -> Reply:
    reply = Reply(stream=streamed)
    reply.http_status = status
    for moment, piece in enumerate(pieces):
        reply.add(piece, float(moment))
    return reply


@settings(max_examples=200, deadline=None)
@given(TEXTS, STYLES, ENDINGS, st.booleans(), st.data())
def test_any_cut_of_the_bytes_gives_the_same_tokens(
    texts: list[str], style: str, newline: str, ascii_only: bool, data: st.DataObject
) -> None:
    whole = stream(texts, style, newline=newline, ascii_only=ascii_only)
    places = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    pieces = [whole[begin:end] for begin, end in zip([0, *places], [*places, len(whole)], strict=True)]
    reply = read(pieces)
    assert reply.end() == (COMPLETED, "")
    assert len(reply.token_times_s) == sum(text != "" for text in texts)
    assert reply.token_times_s == sorted(reply.token_times_s)
    assert (reply.tokens, reply.count("prompt_tokens"), reply.done) == (len(texts), 7, True)


def test_each_token_has_the_moment_of_the_packet_that_completed_it() -> None:
    whole = stream(["a", "b", "c"], "completions")
    for cut in range(1, len(whole)):
        reply = read([whole[:cut], whole[cut:]])
        complete = whole[:cut].count(b"\n\n")
        assert reply.token_times_s == [0.0 if token < complete else 1.0 for token in range(3)]
        assert reply.end() == (COMPLETED, "")


def test_byte_by_byte() -> None:
    for newline in ("\n", "\r\n"):
        whole = stream(["a", "b"], "chat", newline=newline)
        reply = read([bytes((value,)) for value in whole])
        assert reply.end() == (COMPLETED, "")
        assert len(set(reply.token_times_s)) == 2


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=8), st.text(max_size=8), STYLES, st.booleans())
def test_a_skeleton_never_says_anything_but_the_parser(first: str, second: str, style: str, ascii_only: bool) -> None:
    learned_from = payload(first, style, ascii_only=ascii_only).encode()
    skeleton = learn(b"", learned_from, parse(learned_from))
    for finish in (None, "stop"):
        other = payload(second, style, finish, ascii_only=ascii_only).encode()
        if skeleton is not None and skeleton.fits(other):
            assert parse(other) == Piece(has_token=True, text=second)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 40))
def test_a_skeleton_fits_nothing_that_the_parser_would_refuse(noise: bytes, place: int, length: int) -> None:
    sample = payload("abc").encode()
    skeleton = learn(b"", sample, parse(sample))
    assert skeleton is not None
    damaged = sample[:place] + noise + sample[place + length :]
    if skeleton.fits(damaged):
        assert parse(damaged)._replace(text="") == Piece(has_token=True)


def test_a_text_that_looks_like_a_key_is_not_taken_for_one() -> None:
    for text in ("text", "index", "choices", "id"):
        sample = payload(text).encode()
        skeleton = learn(b"", sample, parse(sample))
        assert skeleton is None or parse(skeleton.before + b"other" + skeleton.after) == Piece(has_token=True, text="other")


def test_half_a_surrogate_is_a_token_like_any_other() -> None:
    reply = read([b'data: {"choices":[{"text":"\\ud83d"}]}\n\ndata: {"choices":[{"text":"","finish_reason":"stop"}]}\n\n'])
    assert reply.end() == (COMPLETED, "")
    assert reply.tokens == 1


def test_what_the_skeleton_spares_is_the_parser_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def watched(content: bytes) -> Piece:
        seen.append(content)
        return parse(content)

    monkeypatch.setattr("lmbench.load.http.reply.parse", watched)
    texts = [f"t{number}" for number in range(50)] + ['"', "\n", "\u00e9", ""] + ["x"] * 50
    reply = read([stream(texts, "chat")])
    assert reply.end() == (COMPLETED, "")
    assert len(reply.token_times_s) == 103
    assert len(seen) == 1 + 4 + 2  # the first, those that are not plain, and the two at the end


def test_what_carries_a_token() -> None:
    def delta(**members: Any) -> bool:
        return parse(json.dumps({"choices": [{"delta": members}]}).encode()).has_token

    assert not delta(role="assistant")
    assert not delta(role="assistant", content="")
    assert not delta(content=None)
    assert delta(content="x")
    assert delta(reasoning_content="hm")
    assert delta(tool_calls=[{"index": 0}])
    assert not parse(b'{"choices": []}').has_token


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "before it was finished"),
        (b'data: {"choices": [{"text": "a"}]}\n\n', "before it was finished"),
        (b'data: {"choi\n\n', "bad JSON"),
        (b"data: 5\n\n", "bad JSON"),
        (b'data: {"choices": [7]}\n\n', "bad JSON"),
        (b'data: {"choices": [{"text": 7}]}\n\n', "bad JSON"),
        (b'data: {"choices": {"a": 1}}\n\n', "bad JSON"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "bad JSON"),
        (b'data: \xff{"a": 1}\n\n', "bad JSON"),
        (b'data: {"error": {"message": "no memory"}}\n\n', "no memory"),
        (b'data: {"error": "no memory"}\n\n', "no memory"),
        (b"event: error\ndata: no memory\n\n", "no memory"),
        (b"data: [DONE]\n\n", "without a token"),
        (b"data: " + b"x" * (MAX_EVENT_BYTES + 1), "longer than"),
    ],
)
def test_streams_that_fail_say_why(content: bytes, words: str) -> None:
    status, error = read([content]).end()
    assert status == FAILED
    assert words in error


def test_a_reply_that_never_stops_is_stopped() -> None:
    reply = Reply(stream=True)
    reply.http_status = 200
    for _ in range(MAX_BODY_BYTES // (1 << 16) + 1):
        reply.add(b":" * 65534 + b"\n\n", 0.0)
        if reply.problem:
            break
    assert "longer than" in reply.problem


def test_the_end_may_lack_its_empty_line_and_data_may_span_lines() -> None:
    whole = stream(["a"], "completions").removesuffix(b"\n\n")
    assert read([whole]).end() == (COMPLETED, "")
    apart = b'data: {"choices":\ndata: [{"text": "a", "finish_reason": "stop"}]}\n\n'
    assert read([apart]).end() == (COMPLETED, "")
    assert read([b'data:{"choices":[{"text":"a","finish_reason":"stop"}]}\n\n']).end() == (COMPLETED, "")


def test_a_finish_reason_is_enough_without_done() -> None:
    assert read([stream(["a"], "chat", done=False)]).end() == (COMPLETED, "")


def test_usage_outranks_the_count_of_events() -> None:
    reply = read([b'data: {"choices":[{"text":"abc","finish_reason":"stop"}],"usage":{"completion_tokens":3}}\n\n'])
    assert reply.end() == (COMPLETED, "")
    assert (reply.tokens, len(reply.token_times_s)) == (3, 1)


def test_status_codes() -> None:
    assert read([b"queue", b" full"], status=429).end() == (REJECTED, "HTTP 429: queue full")
    assert read([b"no"], status=503).end()[0] == REJECTED
    assert read([], status=500).end() == (FAILED, "HTTP 500: (empty)")
    assert read([b"x" * 5000] * 50, status=500).end()[1].startswith("HTTP 500: xxx")
    assert read([b"elsewhere"], status=302).end()[0] == FAILED


def test_bodies_that_are_not_streamed() -> None:
    good = b'{"choices":[{"message":{"content":"a b"},"finish_reason":"stop"}],"usage":{"completion_tokens":2,"prompt_tokens":3}}'
    reply = read([good[:10], good[10:]], streamed=False)
    assert reply.end() == (COMPLETED, "")
    assert (reply.tokens, reply.token_times_s, reply.finished_s) == (2, [], 1.0)
    assert "bad JSON" in read([good[:20]], streamed=False).end()[1]
    assert "no memory" in read([b'{"error": "no memory"}'], streamed=False).end()[1]
    assert "no token" in read([b'{"choices": []}'], streamed=False).end()[1]
