"""Profiles: what each step offers, that they join, and that they run as any shape does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.load.profiles import Closed, Geometric, Hold, Profile, Replay, Slope, Soak, Spike, Steps, Wave
from lmbench.load.shapes import HOLD, RAMP, RECOVERY, SPIKE, Passed, Shape, Step
from lmbench.load.slo import Verdict
from lmbench.load.traces import read

BROKEN = Verdict(requests=9, good=0, attainment=0.0, low=0.0, high=0.1, met=False, target=0.95)
RATES = st.floats(0.1, 1000)
SECONDS = st.floats(0.1, 1e4)


def run(shape: Shape) -> list[Step]:
    """The steps of a shape under which everything breaks."""
    past: list[Passed] = []
    start_s = 100.0
    while (step := shape.next_step(past, start_s)) is not None:
        past.append(Passed(step=step, verdict=BROKEN))
        start_s = step.end_s
    return [one.step for one in past]


PROFILES = st.one_of(
    st.builds(Hold, rate=RATES, duration_s=SECONDS),
    st.builds(Soak, rate=RATES, duration_s=SECONDS),
    st.builds(Steps, rates=st.lists(RATES, min_size=1, max_size=9).map(tuple), each_s=SECONDS),
    st.builds(
        lambda low, factor, duration_s, pieces: Slope(start=low, end=low * factor, duration_s=duration_s, pieces=pieces),
        RATES, st.sampled_from([0.0, 0.5, 3.0]), SECONDS, st.integers(1, 30),
    ),
    st.builds(
        lambda low, factor, growth, each_s: Geometric(start=low, end=low * factor, growth=growth, each_s=each_s),
        RATES, st.floats(1, 100), st.floats(1.1, 9), SECONDS,
    ),
    st.builds(
        lambda base, factor, peak_s, around_s: Spike(base=base, peak=base * factor, peak_s=peak_s, around_s=around_s),
        RATES, st.floats(1.1, 20), SECONDS, SECONDS,
    ),
    st.builds(
        lambda low, high, duration_s, pieces: Wave(low=low, high=low + high, duration_s=duration_s, pieces=4 * pieces),
        st.floats(0, 100), RATES, SECONDS, st.integers(2, 12),
    ),
    st.builds(Closed, streams=st.lists(st.integers(1, 64), min_size=1, max_size=5).map(tuple), each_s=SECONDS, think_s=SECONDS),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(PROFILES)
def test_every_profile_is_carried_out_step_by_step_to_its_end(profile: Profile) -> None:
    steps = run(profile)
    assert [step.index for step in steps] == list(range(len(profile.segments)))
    assert all(before.end_s == after.start_s for before, after in pairwise(steps))
    assert sum(step.duration_s for step in steps) == pytest.approx(profile.duration_s)
    assert all((step.mean_rate > 0) != (step.streams is not None) for step in steps)


def test_steps_that_rise_are_a_ramp_and_others_are_not() -> None:
    assert [(step.kind, step.rate) for step in run(Steps(rates=(5.0, 10.0), each_s=30.0))] == [(RAMP, 5.0), (RAMP, 10.0)]
    assert {step.kind for step in run(Steps(rates=(5.0, 20.0, 10.0), each_s=30.0))} == {HOLD}
    assert {step.kind for step in run(Steps(rates=(5.0,), each_s=30.0))} == {HOLD}


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 100), st.floats(0.1, 100), st.integers(1, 30))
def test_a_slope_is_one_straight_line(start: float, end: float, pieces: int) -> None:
    if start == end:
        return
    steps = run(Slope(start=start, end=end, duration_s=60.0, pieces=pieces))
    assert (steps[0].rate, steps[-1].end_rate) == (start, end)
    assert all(before.end_rate == after.rate for before, after in pairwise(steps))
    assert sum(step.mean_rate * step.duration_s for step in steps) == pytest.approx(60 * (start + end) / 2)
    assert {step.kind for step in steps} == {RAMP if end > start else HOLD}


def test_geometric_steps_end_at_or_below_the_end() -> None:
    assert [step.rate for step in run(Geometric(start=1.0, end=8.0, growth=2.0, each_s=1.0))] == [1, 2, 4, 8]
    assert [step.rate for step in run(Geometric(start=1.0, end=7.9, growth=2.0, each_s=1.0))] == [1, 2, 4]
    assert len(run(Geometric(start=0.1, end=0.1 * 1.1**20, growth=1.1, each_s=1.0))) == 21


def test_a_spike_recovers() -> None:
    steps = run(Spike(base=5.0, peak=50.0, peak_s=10.0, around_s=30.0))
    assert [(step.kind, step.rate, step.duration_s) for step in steps] == [
        (HOLD, 5.0, 30.0),
        (SPIKE, 50.0, 10.0),
        (RECOVERY, 5.0, 30.0),
    ]


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 100), RATES, st.integers(2, 12))
def test_a_wave_has_two_peaks_and_the_mean_of_its_ends(low: float, rise: float, quarter: int) -> None:
    high = low + rise
    steps = run(Wave(low=low, high=high, duration_s=600.0, pieces=4 * quarter))
    rates = [step.rate for step in steps] + [steps[-1].end_rate or 0.0]
    peaks = [k for k in range(1, len(rates) - 1) if rates[k - 1] < rates[k] > rates[k + 1]]
    assert peaks == [quarter, 3 * quarter]
    assert max(rates) == pytest.approx(high)
    assert rates[0] == low
    assert rates[-1] == pytest.approx(low, abs=1e-9 * high)
    assert sum(step.mean_rate * step.duration_s for step in steps) == pytest.approx(300 * (low + high))


def test_closed_loops_have_streams_and_no_rate() -> None:
    steps = run(Closed(streams=(1, 4), each_s=30.0, think_s=0.5))
    assert [(step.streams, step.think_s, step.rate) for step in steps] == [(1, 0.5, 0.0), (4, 0.5, 0.0)]


def test_a_recording_is_sent_as_it_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    moments = [1.0, 2.0, 2.5, 40.0, 41.0]
    rows = "".join(f"2023-11-16 18:15:{moment:09.6f},9,1\n" for moment in moments)
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    shape = Replay(trace=read(path), pieces=5)
    steps = run(shape)
    assert [step.rate for step in steps] == [0.3, 0.0, 0.0, 0.1, 0.1]
    offsets = np.concatenate([shape.schedule(step) + step.start_s for step in steps]) - 100.0
    np.testing.assert_allclose(offsets, np.array(moments) - 1.0, atol=1e-6)


def test_only_open_loops_without_decisions_run_on_without_a_break() -> None:
    assert Hold.continuous and Slope.continuous and Spike.continuous and Wave.continuous
    assert not (Steps.continuous or Geometric.continuous or Closed.continuous)


def test_impossible_profiles_are_refused() -> None:
    with pytest.raises(ValueError, match="two different ones"):
        Slope(start=1.0, end=1.0, duration_s=1.0)
    with pytest.raises(ValueError, match="spike above"):
        Spike(base=5.0, peak=4.0, peak_s=1.0, around_s=1.0)
    with pytest.raises(ValueError, match="8, 12, 16"):
        Wave(low=1.0, high=2.0, duration_s=1.0, pieces=9)
    with pytest.raises(ValueError, match="rising ones"):
        Geometric(start=2.0, end=1.0, growth=2.0, each_s=1.0)
