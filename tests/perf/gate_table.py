"""Sessions of the experiment as one table; arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tests.perf.gate_nightly import nightly

OUTCOMES = ("regressed", "inconclusive", "ok", "improved", "error")
Session = Mapping[str, Any]


def table_of(sessions: Sequence[Session]) -> str:
    """Verdicts by injected slowdown, interval coverage, pairs used, and what a fixed threshold says of the same data."""
    rows = [
        "| injected | verdicts | regressed | inconclusive | ok or improved | interval holds it | pairs (mean) |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [_row(factor, [one for one, found in _verdicts(sessions) if found == factor]) for factor in (1.0, 1.02, 1.05, 1.10)]
    rows += ["", *_threshold(sessions), nightly(sessions), *_conditions(sessions)]
    return "\n".join(rows)


def _verdicts(sessions: Iterable[Session]) -> Iterator[tuple[dict[str, Any], float]]:
    for session in sessions:
        for verdict in session["verdicts"]:
            yield verdict, session["factors"][verdict["node_id"]]


def _row(factor: float, verdicts: Sequence[dict[str, Any]]) -> str:
    count = len(verdicts)
    if not count:
        return f"| {factor - 1:+.0%} | 0 | - | - | - | - | - |"
    tally = {outcome: sum(one["outcome"] == outcome for one in verdicts) for outcome in OUTCOMES}
    held = [one["low"] <= factor <= one["high"] for one in verdicts if one["low"] is not None]
    pairs = [one["pairs"] for one in verdicts if one["pairs"] is not None]
    name = "none" if factor == 1 else f"{factor - 1:+.0%}"
    passed = tally["ok"] + tally["improved"]
    shares = [
        f"{tally['regressed']} ({tally['regressed'] / count:.1%})",
        f"{tally['inconclusive']} ({tally['inconclusive'] / count:.1%})",
    ]
    shares += [f"{passed} ({passed / count:.1%})", f"{sum(held)} of {len(held)}", f"{np.mean(pairs):.1f}"]
    return f"| {name} | {count} | " + " | ".join(shares) + " |"


def _threshold(sessions: Sequence[Session]) -> Iterator[str]:
    """One process now against one process of the session before: what a stored run and `median:5%` would have said."""
    alarms, cases, found, slowed = 0, 0, 0, 0
    for before, after in pairwise(sessions):
        for node_id, (_, head) in after["first"].items():
            if node_id not in before["first"]:
                continue
            beyond = head > 1.05 * before["first"][node_id][0]
            factor = after["factors"][node_id]
            if factor == 1.0:
                cases, alarms = cases + 1, alarms + beyond
            elif factor == 1.05:
                slowed, found = slowed + 1, found + beyond
    if cases:
        yield f"median:5% against the session before, on the same data: {alarms} false alarms of {cases} ({50 * alarms / cases:.1f} per 50 cases)"
    if slowed:
        yield f"and it finds {found} of {slowed} slowdowns of 5 % ({found / slowed:.0%})"


def _conditions(sessions: Sequence[Session]) -> Iterator[str]:
    wall = sum(session["wall_s"] for session in sessions)
    loads = [session["loadavg"][0] for session in sessions]
    steals = [session["steal"] for session in sessions]
    kinds = "/".join(sorted({session["load"] for session in sessions}))
    yield (
        f"{len(sessions)} sessions of 50 cases, {wall / 60:.0f} min, added load: {kinds}; "
        f"load average {min(loads):.1f} to {max(loads):.1f}, stolen time {min(steals):.1%} to {max(steals):.1%}"
    )
