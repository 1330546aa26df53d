"""The gate on recorded noise, without a clock: false alarms, power, and what a fixed threshold does on the same data."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lmbench.compare.paired import LOOKS, Cell, decided, judge
from lmbench.compare.verdicts import OK, REGRESSED
from tests.compare.recorded import KERNELS, pair_numbers, run_medians

CELLS = 50
DRAWS = 2000
POWER_DRAWS = 400


def adjudicated(numbers: np.ndarray) -> tuple[str, int]:
    """The outcome after as many looks as it takes, and the pairs used."""
    for look in LOOKS:
        ratios = tuple(float(value) for value in numbers[:look])
        cell = Cell(node_id="a", metric="round_p50_s", unit="s", better="lower", tolerance=0.05, log_ratios=ratios)
        verdict = judge(cell, cells=CELLS)
        if decided(verdict):
            return verdict.outcome, look
    return verdict.outcome, LOOKS[-1]


def outcomes(kernel: str, slowdown: float, draws: int) -> list[tuple[str, int]]:
    rng = np.random.default_rng(20240 + KERNELS.index(kernel))
    recorded = pair_numbers(kernel)
    picks = rng.integers(0, len(recorded), size=(draws, LOOKS[-1]))
    signs = rng.choice([-1.0, 1.0], size=picks.shape)
    return [adjudicated(numbers) for numbers in recorded[picks] * signs + math.log1p(slowdown)]


def test_unchanged_code_raises_at_most_one_alarm_in_a_thousand_verdicts() -> None:
    found = [outcome for kernel in KERNELS for outcome, _ in outcomes(kernel, 0.0, DRAWS)]
    assert len(found) == DRAWS * len(KERNELS)
    assert found.count(REGRESSED) <= len(found) / 1000
    assert found.count(OK) >= 0.95 * len(found)


def test_five_percent_is_found_and_ten_nearly_always() -> None:
    five = [outcome for kernel in KERNELS for outcome, _ in outcomes(kernel, 0.05, POWER_DRAWS)]
    assert five.count(REGRESSED) >= 0.85 * len(five)
    ten = [outcome for kernel in KERNELS for outcome, _ in outcomes(kernel, 0.10, POWER_DRAWS)]
    assert ten.count(REGRESSED) >= 0.99 * len(ten)
    assert ten.count(OK) == 0


def test_two_percent_within_a_tolerance_of_five_is_not_failed() -> None:
    found = [outcome for kernel in KERNELS for outcome, _ in outcomes(kernel, 0.02, POWER_DRAWS)]
    assert found.count(REGRESSED) <= 0.05 * len(found)


def test_unchanged_cases_are_mostly_done_at_the_first_look() -> None:
    used = [pairs for kernel in KERNELS for _, pairs in outcomes(kernel, 0.0, POWER_DRAWS)]
    assert np.mean(used) < 1.6 * LOOKS[0]


@pytest.mark.parametrize("slowdown", [0.0, 0.10])
def test_stretches_of_the_trace_as_it_was_recorded_agree(slowdown: float) -> None:
    found = [
        adjudicated(sign * pair_numbers(kernel)[start : start + LOOKS[-1]] + math.log1p(slowdown))[0]
        for kernel in KERNELS
        for sign in (1.0, -1.0)
        for start in range(0, 90 - LOOKS[-1], 2)
    ]
    assert found.count(REGRESSED) == (0 if slowdown == 0 else len(found))


def test_a_threshold_on_two_unpaired_runs_of_the_same_data_cries_wolf() -> None:
    """The negative control: `median:5%`, one process now against one of another moment."""
    rng = np.random.default_rng(0)
    for kernel in KERNELS:
        medians = run_medians(kernel)
        old, new = rng.integers(0, len(medians), size=(2, 4000))
        apart = old != new
        alarms = medians[new[apart], 1] > 1.05 * medians[old[apart], 0]
        assert alarms.mean() > 0.2, kernel
