"""Levels and alarms of many kinds of series; what one night, the order of lines and the unit cannot change."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmbench.compare.history import ALARM, findings
from lmbench.compare.levels import LASTING, RECURRENCE, Sample, alarm, improved, levels_of, watched
from lmbench.store.history import Bridge, CellRatio, History, Night, Pin

SE = 0.006


def samples(values: Sequence[float], *, noise: float = 0.0, seed: int = 0, heavy: bool = False) -> list[Sample]:
    """Nights at the given ratios with Gaussian or heavy-tailed noise; their own intervals know of `noise`."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_t(3, len(values)) / math.sqrt(3) if heavy else rng.normal(size=len(values))
    return [
        Sample(slowness=math.log(value) + noise * float(draw), se=max(noise, SE))
        for value, draw in zip(values, draws, strict=True)
    ]


KINDS: dict[str, tuple[list[float], bool]] = {
    "level": ([1.0] * 40, False),
    "step up": ([1.0] * 20 + [1.05] * 5, True),
    "step down": ([1.0] * 20 + [0.95] * 5, False),
    "stairs of 1 %": ([1.0] * 8 + [1.01] * 8 + [1.02] * 8 + [1.03] * 8, True),
    "partly repaired": ([1.0] * 10 + [1.1] * 10 + [1.07] * 5, True),
    "repaired": ([1.0] * 10 + [1.1] * 10 + [1.0] * 5, False),
    "improved, then partly lost": ([1.0] * 20 + [0.8] * 10 + [0.95] * 10, True),
    "improved, then better still": ([1.0] * 20 + [0.9] * 10 + [0.8] * 10, False),
    "one bad night": ([1.0] * 10 + [1.3] + [1.0] * 10, False),
    "one lucky night": ([1.0] * 10 + [0.7] + [1.0] * 10, False),
    "slow from the first night on": ([1.05] * 6, True),
    "two nights only": ([1.06] * 2, True),
}


@pytest.mark.parametrize("heavy", [False, True], ids=["normal", "heavy tails"])
@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_series_is_seen_as_what_it_is(name: str, heavy: bool) -> None:
    values, worse = KINDS[name]
    found = [alarm(samples(values, noise=0.004, seed=seed, heavy=heavy)) is not None for seed in range(10)]
    assert sum(found) >= 9 if worse else sum(found) <= 1, found


def test_unchanged_series_seldom_alarm_and_steps_are_found() -> None:
    """False alarms over 40 nights of 60 series, each looked at every fifth night; a step of 5 % after 3 nights."""
    false = missed = 0
    for seed in range(60):
        nights = samples([1.0] * 40, noise=0.01, seed=seed, heavy=seed % 2 == 0)
        false += any(alarm(nights[:count]) is not None for count in range(5, 41, 5))
        missed += alarm(samples([1.0] * 20 + [1.05] * 3, noise=0.01, seed=seed, heavy=seed % 2 == 0)) is None
    assert false <= 1 and missed <= 6, (false, missed)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from([name for name, (_, worse) in KINDS.items() if worse]),
    stray=st.floats(-0.9, 0.9),
)
def test_one_night_more_never_ends_an_alarm(seed: int, kind: str, stray: float) -> None:
    nights = samples(KINDS[kind][0], noise=0.004, seed=seed)
    assume(alarm(nights) is not None)
    assert alarm([*nights, Sample(slowness=stray, se=SE)]) is not None


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from([name for name, (values, worse) in KINDS.items() if worse and len(values) > 6]),
    stray=st.floats(0.2, 0.9) | st.floats(-0.9, -0.2),
    data=st.data(),
)
def test_a_stray_night_anywhere_neither_ends_nor_raises_an_alarm(seed: int, kind: str, stray: float, data: st.DataObject) -> None:
    nights = samples(KINDS[kind][0], noise=0.003, seed=seed)
    assume(alarm(nights) is not None)
    place = data.draw(st.integers(0, len(nights)))
    assert alarm([*nights[:place], Sample(slowness=stray, se=SE), *nights[place:]]) is not None
    flat = samples([1.0] * 20, noise=0.003, seed=seed)
    assume(alarm(flat) is None)
    place = min(place, len(flat))
    assert alarm([*flat[:place], Sample(slowness=stray, se=SE), *flat[place:]]) is None


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
def test_levels_cover_all_nights_and_need_recurrence(values: list[float]) -> None:
    nights = [Sample(slowness=value, se=SE) for value in values]
    levels = levels_of(nights)
    assert levels[0].start == 0 and levels[-1].end == len(values)
    assert all(before.end == after.start for before, after in pairwise(levels))
    assert all(level.nights >= RECURRENCE for level in levels[1:])
    found = alarm(nights)
    assert found is None or (found.gap > 0 and len(nights) - found.start >= RECURRENCE)
    better = improved(nights)
    assert better is None or (better.gap < 0 and len(nights) - better.start >= RECURRENCE)


def test_a_night_without_interval_is_sure_only_when_it_was_called_regressed() -> None:
    unknown = [Sample(slowness=0.2, se=math.inf)] * 4
    assert alarm(unknown) is None
    assert alarm([Sample(slowness=0.2, se=0.0)] * 2) is not None


def test_an_improvement_has_to_last_before_later_nights_are_held_to_it() -> None:
    short = samples([1.0] * 10 + [0.9] * (LASTING - 1) + [1.0] * 3)
    assert alarm(short) is None
    held = watched(short)
    assert held is not None and held.reference.start == 10, "it is watched, and says against which level"
    assert alarm(samples([1.0] * 10 + [0.9] * LASTING + [1.0] * 3)) is not None


def history(values: Sequence[float], metric: str) -> History:
    cells = [
        CellRatio(node_id="a", metric=metric, log_ratio=math.log(one), low=math.log(one) - 0.01, high=math.log(one) + 0.01)
        for one in values
    ]
    nights = tuple(
        Night(at=f"{place:03}", commit=f"c{place}", pinned="p0", run=str(place), cells=(cell,))
        for place, cell in enumerate(cells)
    )
    return History(pins=(Pin(commit="p0", at=""),), nights=nights)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.8, 1.25), min_size=1, max_size=30), st.integers(0, 1000))
def test_neither_the_order_of_lines_nor_the_unit_matters(values: list[float], seed: int) -> None:
    known = history(values, "ttft_p50_s")
    found = findings(known)
    shuffled = list(known.nights)
    random.Random(seed).shuffle(shuffled)
    assert findings(replace(known, nights=tuple(shuffled))) == found
    rates = findings(history([1 / value for value in values], "output_tokens_per_s"))
    assert [(one.kind, one.commit) for one in rates] == [(one.kind, one.commit) for one in found]
    assert [one.change for one in rates] == pytest.approx([one.change for one in found])
    assert findings(known) == found, "the same state, the same answer"


def test_several_repins_settle_what_was_before_each_of_them() -> None:
    """Each release is 4 % slower than the one before and becomes the pin; only what comes after the last one alarms."""
    nights: list[Night] = []
    bridges: list[Bridge] = []
    pins, place = [Pin(commit="p0", at="")], 0
    for release in range(3):
        for value in (1.0, 1.0, 1.0, 1.0, 1.04, 1.04, 1.04):
            (one,) = history([value], "ttft_p50_s").nights
            nights.append(replace(one, at=f"{place:03}", commit=f"c{place}", run=str(place), pinned=pins[-1].commit))
            place += 1
        if release < 2:
            assert [one.kind for one in findings(History(pins=tuple(pins), nights=tuple(nights), bridges=tuple(bridges)))] == [
                ALARM
            ]
            bridges.append(Bridge(old=pins[-1].commit, new=f"c{place - 1}", cells=nights[-1].cells))
            pins.append(Pin(commit=f"c{place - 1}", at=""))
    (found,) = findings(History(pins=tuple(pins), nights=tuple(nights), bridges=tuple(bridges)))
    assert (found.kind, found.commit) == (ALARM, "c18")
    assert found.change == pytest.approx(1.04)
