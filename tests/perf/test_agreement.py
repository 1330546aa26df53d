"""The comparison with a bare loop: its estimate on streams with a known truth, when it stops, what it says, one real pair."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lmbench.measure.clock import CLOCK
from tests.perf.agreement import OutOfTime, Pair, agree, run_pair, summary
from tests.perf.agreement_estimate import enough, is_look, log_ratio, pairs_left, ratio_of

ROOT = Path(__file__).parents[2]
SIX = [0.86, 0.95, 0.99, 1.02, 1.08, 1.20]
"""The ratios of six pairs of whole runs of a prefill."""


def stream(truth: float, spread: float, seed: int, *, tail: float = 0.0) -> list[float]:
    """64 pairs' logarithms around a known ratio; with probability `tail` a pair is disturbed ten times as much."""
    rng = np.random.default_rng(seed)
    wide = np.where(rng.random(64) < tail, 10.0, 1.0)
    return [float(value) for value in math.log(truth) + spread * wide * rng.standard_normal(64)]


def stopped(values: list[float]) -> list[float]:
    """The pairs after which an adaptive comparison ends."""
    count = next((count for count in range(1, len(values)) if enough({"x": values[:count]})), len(values))
    return values[:count]


def test_the_median_over_rounds_is_a_pair_s_number() -> None:
    assert log_ratio(ours=[1.0, 2.2, 9.0], plain=[1.0, 2.0, 3.0]) == pytest.approx(math.log(1.1))


def test_six_pairs_of_whole_runs_are_far_from_one_percent() -> None:
    found = ratio_of([math.log(ratio) for ratio in SIX])
    assert found.reach is not None and found.reach > 0.05
    assert "known within" in found.verdict(0.01) and "was the aim" in found.verdict(0.01)
    assert not enough({"prefill": [math.log(ratio) for ratio in SIX]}), "six pairs are no look"


def test_few_pairs_have_no_interval_and_say_so() -> None:
    found = ratio_of([0.0, 0.01, 0.02])
    assert (found.low, found.reach) == (None, None)
    assert "too few" in found.words and "not known" in found.verdict(0.01)


def test_equal_pairs_are_known_exactly() -> None:
    found = ratio_of([math.log(1.25)] * 8)
    assert found.reach == pytest.approx(0.0) and found.estimate == pytest.approx(1.25)
    assert "differ by 25.0%" in found.verdict(0.01)


@pytest.mark.parametrize("truth", [1.0, 1.03, 0.97])
@pytest.mark.parametrize(("spread", "tail"), [(0.01, 0.0), (0.02, 0.0), (0.015, 0.1)])
def test_the_interval_at_the_stop_is_narrow_and_holds_the_truth(truth: float, spread: float, tail: float) -> None:
    """90 % is promised of a fixed number of pairs; stopping when the interval is narrow may cost some of it."""
    ends = [stopped(stream(truth, spread, seed, tail=tail)) for seed in range(300)]
    found = [ratio_of(values) for values in ends]
    narrow = [one for one in found if one.reach is not None and one.reach <= 0.01]
    assert len(narrow) >= 0.9 * len(found), "64 pairs suffice here"
    held = sum(one.low <= truth <= one.high for one in found if one.low is not None and one.high is not None)
    assert held >= 0.84 * len(found)


def test_a_difference_of_three_percent_is_seen_and_none_is_not() -> None:
    said = {
        truth: sum("they differ" in ratio_of(stopped(stream(truth, 0.015, seed))).verdict(0.01) for seed in range(200))
        for truth in (1.0, 1.03)
    }
    assert said[1.03] >= 190
    assert said[1.0] <= 32, "a 90 % interval misses the truth in a tenth of all cases, and a little more where it stops early"


def test_pairs_are_added_until_each_ratio_is_known_and_no_longer() -> None:
    found = agree(given(prefill=stream(1.0, 0.03, 1), decode=stream(1.0, 0.001, 2)), budget_s=1e9, within=0.01, say=ignore)
    counts = {len(values) for values in found.values()}
    assert len(counts) == 1 and counts.pop() > 8
    assert all((ratio_of(values).reach or 1.0) <= 0.01 for values in found.values())
    assert is_look(len(found["prefill"]))
    quick = agree(given(prefill=stream(1.0, 0.001, 1), decode=stream(1.0, 0.001, 2)), budget_s=1e9, within=0.01, say=ignore)
    assert len(quick["prefill"]) == 8, "the first look is the gate's"


def test_what_is_left_is_estimated_from_the_spread() -> None:
    few = {"prefill": stream(1.0, 0.04, 3)[:8]}
    left = pairs_left(few)
    assert left is not None and left > 8
    assert pairs_left({"prefill": [0.0, 0.01]}) is None
    assert pairs_left({"prefill": [0.0] * 8}) == 0


def test_the_end_of_the_time_and_ctrl_c_give_what_was_reached() -> None:
    for error, word in ((OutOfTime(), "is over"), (KeyboardInterrupt(), "interrupted")):
        said: list[str] = []
        found = agree(given(prefill=stream(1.0, 0.05, 4)[:5], end=error), budget_s=600.0, within=0.01, say=said.append)
        assert len(found["prefill"]) == 5
        assert word in said[-1]
        assert said[0].startswith("pair 1: prefill")
        assert "was the aim" in next(iter(summary(found, 0.01)))
    nothing = agree(given(prefill=[], end=OutOfTime()), budget_s=1.0, within=0.01, say=ignore)
    assert list(summary(nothing, 0.01)) == ["not a single pair was run"]


def test_a_pair_of_real_processes_times_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.perf.agreement.smollm2_folder", lambda: None)
    monkeypatch.setattr("tests.perf.agreement.SMALL", {"size": "nano"})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = run_pair(np.random.default_rng(0), 0, CLOCK.now() + 500.0, 2)
    assert set(found) == {"prefill", "decode"}
    assert all(math.isfinite(value) for value in found.values())
    with pytest.raises(OutOfTime):
        run_pair(np.random.default_rng(0), 0, CLOCK.now(), 2)


def test_the_command_ends_with_what_it_has_when_it_is_interrupted() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.perf.agreement", "--minutes", "5"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "lmbench / bare loop" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=120)
    assert "not a single pair was run" in rest
    assert process.returncode == 0


def ignore(_: str) -> None:
    pass


def given(*, end: BaseException | None = None, **phases: list[float]) -> Pair:
    """Pairs that were recorded or simulated, in order; after the last one `end` is raised."""

    def pair(_: np.random.Generator, number: int, __: float) -> dict[str, float]:
        if number >= min(len(values) for values in phases.values()):
            raise end or OutOfTime
        return {phase: values[number] for phase, values in phases.items()}

    return pair
