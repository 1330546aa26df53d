"""The gate on pairs recorded while the CPUs were starved: planted factors, load averages of 6 to 19 on two CPUs.

Five kernels of two sizes, each with 5 %, 100 % or 200 % more counted calls in the head, or none; 24 and 16 pairs of processes.
A line is one case of one recording: ln(head / base) of each pair as measured and without the waiting, and the load average.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from lmbench.compare.paired import LOOKS, Cell, judge
from lmbench.compare.verdicts import IMPROVED, OK, REGRESSED, Verdict

RECORDED = Path(__file__).parent / "data" / "starved-pairs.jsonl"


def blocks(*, with_running: bool = True) -> Iterator[tuple[float, Verdict]]:
    """The planted factor and the verdict of every first look: eight pairs that followed one another."""
    for line in map(json.loads, RECORDED.read_text().splitlines()):
        for start in range(0, len(line["measured"]) - LOOKS[0] + 1, LOOKS[0]):
            pairs = slice(start, start + LOOKS[0])
            cell = Cell(
                node_id=line["case"],
                metric="round_p50_s",
                unit="s",
                better="lower",
                tolerance=0.05,
                log_ratios=tuple(line["measured"][pairs]),
                running=tuple(line["running"][pairs]) if with_running else (),
            )
            yield line["factor"], judge(cell, cells=10)


def held(verdicts: list[tuple[float, Verdict]]) -> int:
    """In how many intervals the planted factor lies."""
    evidence = [(factor, one.evidence) for factor, one in verdicts]
    return sum(
        one is not None and one.low is not None and one.high is not None and one.low <= factor <= one.high
        for factor, one in evidence
    )


def test_nine_of_ten_intervals_hold_the_planted_factor() -> None:
    found = list(blocks())
    assert len(found) == 50 and {factor for factor, _ in found} == {1.0, 1.05, 2.0, 3.0}
    assert held(found) >= 45


def test_as_measured_a_third_of_them_miss_it() -> None:
    """The negative control: the scatter of the pairs does not show what all of them are off by."""
    assert held(list(blocks(with_running=False))) <= 36


def test_no_verdict_is_wrong() -> None:
    for factor, verdict in blocks():
        assert verdict.outcome != IMPROVED
        assert factor > 1.0 or verdict.outcome != REGRESSED
        assert factor < 2.0 or verdict.outcome != OK
