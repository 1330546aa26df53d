"""The worker's part of a case: how many calls make a round, what is made before it, what is counted."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest

from lmbench.paired.protocol import INJECT, Ready
from lmbench.paired.visit import Dialogue, SourceWork, loops_for, primers_for, serve
from lmbench.workloads.rounds import RoundSource


class Counted:
    """Work that notes which calls were made."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []

    def run(self, index: int, calls: int) -> Mapping[str, float]:
        self.made.append((index, calls))
        return {"round": 0.5 * calls}

    def values(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return dict(means)


def served(work: Counted, ready: Ready, *commands: dict[str, object]) -> list[dict[str, object]]:
    events = io.StringIO()
    lines = "".join(json.dumps(command) + "\n" for command in (*commands, {"do": "leave"}))
    serve(Dialogue(io.StringIO(lines), events), "suite::case", work, ready)
    return [json.loads(line) for line in events.getvalue().splitlines()]


def test_short_calls_are_repeated_and_primed_and_long_ones_are_not() -> None:
    assert [loops_for(seconds) for seconds in (0.0, 3e-6, 1e-4, 1e-3, 1.0)] == [1000, 334, 10, 1, 1]
    assert [primers_for(seconds) for seconds in (0.0, 1e-4, 1e-3, 0.01)] == [0, 3, 1, 0]


def test_a_round_makes_the_asked_calls_and_untimed_ones_before() -> None:
    work = Counted()
    ready, first, second = served(
        work,
        Ready(loops=10, call_s=1e-4, setup_s=0.0),
        {"do": "round", "index": 0, "loops": 10},
        {"do": "round", "index": 1, "loops": 10},
    )
    assert work.made == [(0, 3), (0, 10), (10, 3), (10, 10)]
    assert ready["event"] == "ready" and first["calls"] == second["calls"] == 10
    assert first["values"] == {"round": 0.5}, "values are per call"


def test_iterations_a_test_has_fixed_are_left_alone() -> None:
    work = Counted()
    served(work, Ready(loops=4, call_s=1e-5, setup_s=0.0, fixed_loops=True), {"do": "round", "index": 0, "loops": 4})
    assert work.made == [(0, 4)]


def test_injected_calls_are_made_and_do_not_count_as_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INJECT, "case:1.05")
    work = Counted()
    _, found = served(work, Ready(loops=20, call_s=1.0, setup_s=0.0), {"do": "round", "index": 0, "loops": 20})
    assert work.made == [(0, 21)] and found["calls"] == 21
    assert found["values"] == {"round": 0.5 * 21 / 20}


def test_a_source_s_calls_are_numbered_on_and_their_parts_added_up() -> None:
    seen: list[int] = []

    def call(index: int) -> dict[str, float]:
        seen.append(index)
        return {"ttft": 1.0, "latency": 2.0}

    work = SourceWork(RoundSource(call=call, values=dict, close=lambda: None))
    assert work.run(6, 3) == {"ttft": 3.0, "latency": 6.0}
    assert seen == [6, 7, 8]
