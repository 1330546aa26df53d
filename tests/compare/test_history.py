"""Nights into series, over re-pins; what alarms, what is only watched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from lmbench.compare.history import ALARM, IMPROVEMENT, SILENT, WATCH, cell_ratio, findings
from lmbench.compare.nightly import bridge, series_of
from lmbench.compare.paired import Cell, judge
from lmbench.store.history import Bridge, CellRatio, History, Night, Pin
from tests.compare.recorded import KERNELS, pair_numbers

METRIC = "round_p50_s"


def ratio(value: float, *, node_id: str = "a", outcome: str = "ok", metric: str = METRIC, width: float = 0.01) -> CellRatio:
    log = math.log(value)
    return CellRatio(node_id=node_id, metric=metric, log_ratio=log, low=log - width, high=log + width, pairs=8, outcome=outcome)


def night(number: int, *cells: CellRatio, pinned: str = "p0") -> Night:
    return Night(at=f"night {number:03}", commit=f"c{number}", pinned=pinned, run=str(number), cells=cells)


def nights(values: Sequence[float], metric: str = METRIC) -> History:
    return History(
        pins=(Pin(commit="p0", at=""),),
        nights=tuple(night(number, ratio(value, metric=metric)) for number, value in enumerate(values)),
    )


WOBBLE = [1 + 0.002 * step for step in (0, 1, -1, 0.5, -0.5, 1, -1, 0)]


def test_a_lasting_step_is_an_alarm_with_its_first_commit() -> None:
    (found,) = findings(nights([*WOBBLE, *(1.05 * value for value in WOBBLE[:3])]))
    assert (found.kind, found.commit, found.nights) == (ALARM, "c8", 3)
    assert found.change == pytest.approx(1.05, abs=0.005)


def test_one_bad_night_is_watched_and_two_in_a_row_alarm() -> None:
    (found,) = findings(nights([*WOBBLE, 1.06]))
    assert found.kind == WATCH
    flagged = History(pins=(Pin(commit="p0", at=""),), nights=(night(0, ratio(1.06, outcome="regressed")),))
    assert [one.kind for one in findings(flagged)] == [WATCH]
    twice = History(pins=flagged.pins, nights=(*flagged.nights, night(1, ratio(1.06, outcome="regressed"))))
    assert [one.kind for one in findings(twice)] == [ALARM]


def test_what_was_repaired_and_what_got_faster_alarm_nobody() -> None:
    back = findings(nights([*WOBBLE, *WOBBLE, *WOBBLE, *(1.08 * value for value in WOBBLE), *WOBBLE, *WOBBLE, *WOBBLE]))
    assert [one.kind for one in back] == [IMPROVEMENT]
    (rate,) = findings(nights([*WOBBLE, *(0.94 * value for value in WOBBLE)], metric="output_tokens_per_s"))
    assert rate.kind == ALARM, "a rate that falls is slower"
    assert findings(nights(WOBBLE)) == [] and findings(History()) == []


def test_a_repin_joins_both_series_by_its_bridge() -> None:
    before = [night(number, ratio(value)) for number, value in enumerate([*WOBBLE, *(1.05 * value for value in WOBBLE)])]
    known = History(pins=(Pin(commit="p0", at=""),), nights=tuple(before))
    joining = bridge(known, "c15")
    assert joining is not None and joining.old == "p0" and joining.cells[0].log_ratio == pytest.approx(math.log(1.05), abs=1e-9)
    after = [night(16 + number, ratio(value), pinned="c15") for number, value in enumerate(WOBBLE)]
    moved = History(pins=(*known.pins, Pin(commit="c15", at="")), nights=(*known.nights, *after), bridges=(joining,))
    (points,) = series_of(moved).values()
    assert len(points) == 24
    assert [point.log_ratio for point in points[16:]] == pytest.approx([math.log(1.05 * value) for value in WOBBLE], abs=1e-9)
    assert [one.kind for one in findings(known)] == [ALARM]
    assert findings(moved) == [], "whoever moves the pin has taken the level as it is"
    assert bridge(known, "unknown") is None and bridge(History(), "c1") is None


def test_a_case_that_a_bridge_lacks_starts_again() -> None:
    joining = Bridge(old="p0", new="p1", cells=(ratio(1.1, node_id="a"),))
    known = History(
        pins=(Pin(commit="p0", at=""), Pin(commit="p1", at="")),
        nights=(
            night(0, ratio(1.0), ratio(1.0, node_id="b")),
            night(1, ratio(1.0, node_id="b"), ratio(1.0), pinned="p1"),
            night(2, ratio(1.0, node_id="b"), pinned="p1"),
        ),
        bridges=(joining,),
    )
    found = series_of(known)
    assert [point.log_ratio for point in found["a", METRIC]] == pytest.approx([0.0, math.log(1.1)])
    assert [point.commit for point in found["b", METRIC]] == ["c1", "c2"], "its nights against the new pin, all of them"


def test_a_case_that_came_after_a_repin_can_alarm() -> None:
    late = [night(number, ratio(value, node_id="late"), pinned="p1") for number, value in enumerate([*WOBBLE, 1.05, 1.05, 1.05])]
    pins = (Pin(commit="p0", at=""), Pin(commit="p1", at=""))
    joining = Bridge(old="p0", new="p1", cells=(ratio(1.0, node_id="early"),))
    found, gone = findings(History(pins=pins, nights=tuple(late), bridges=(joining,)))
    assert (found.node_id, found.kind, found.commit) == ("late", ALARM, "c8")
    assert (gone.node_id, gone.kind) == ("early", SILENT), "it was there when the pin was set, and not since"


def test_pins_that_no_bridge_joins_are_not_mixed() -> None:
    pins = (Pin(commit="p0", at=""), Pin(commit="p1", at=""))
    known = History(
        pins=pins, nights=(night(0, ratio(1.0)), night(1, ratio(1.2), pinned="p1"), night(2, ratio(1.2), pinned="p1"))
    )
    assert [point.commit for point in series_of(known)["a", METRIC]] == ["c1", "c2"]


def repinned(bridge_ratio: float, after: float, width: float) -> History:
    """16 nights around 1, a bridge measured at `bridge_ratio`, then 8 nights around `after` against the new pin."""
    before = [night(number, ratio(value)) for number, value in enumerate([*WOBBLE, *WOBBLE])]
    later = [night(16 + number, ratio(after * value), pinned="p1") for number, value in enumerate(WOBBLE)]
    joining = Bridge(old="p0", new="p1", cells=(ratio(bridge_ratio, width=width),))
    return History(pins=(Pin(commit="p0", at=""), Pin(commit="p1", at="")), nights=(*before, *later), bridges=(joining,))


def test_the_error_of_a_bridge_is_no_change_of_level() -> None:
    assert findings(repinned(1.025, 1.0, width=0.025)) == []
    assert findings(repinned(1.025, 1.0, width=0.001)) == [], "whoever moves the pin has taken its level"
    (found,) = findings(repinned(1.0, 1.08, width=0.025))
    assert (found.kind, found.commit) == (ALARM, "c16"), "a change beyond the bridge's error is seen"


def test_unchanged_code_does_not_alarm_over_a_repin() -> None:
    """The bridge of 50 unchanged cases is one night of 8 recorded pairs each; its errors last for all nights after."""
    for seed in range(3):
        unchanged = simulated(seed, nights=40, slower_from=40)
        bridged = unchanged.nights[19]
        nights = [replace(one, pinned=bridged.commit) if number > 19 else one for number, one in enumerate(unchanged.nights)]
        joining = Bridge(old="p0", new=bridged.commit, cells=bridged.cells)
        pins = (*unchanged.pins, Pin(commit=bridged.commit, at=""))
        found = findings(History(pins=pins, nights=tuple(nights), bridges=(joining,)))
        assert [one.node_id for one in found if one.kind == ALARM] == [], seed


def simulated(seed: int, nights: int = 10, slower_from: int = 7) -> History:
    """Nights of 50 cases, 8 recorded pairs each with random signs; from `slower_from` on 10 cases are 5 % slower."""
    rng = np.random.default_rng(seed)
    history = []
    for number in range(nights):
        cells = []
        for index in range(50):
            numbers = rng.choice(pair_numbers(KERNELS[index % len(KERNELS)]), 8) * rng.choice([-1.0, 1.0], 8)
            numbers += math.log(1.05) if number >= slower_from and index < 10 else 0.0
            ratios = tuple(float(one) for one in numbers)
            cell = Cell(node_id=str(index), metric=METRIC, unit="s", better="lower", tolerance=0.05, log_ratios=ratios)
            cells.append(cell_ratio(judge(cell, cells=50)))
        history.append(night(number, *cells))
    return History(pins=(Pin(commit="p0", at=""),), nights=tuple(history))


def test_five_percent_from_the_eighth_night_on_is_found_within_three_nights() -> None:
    for seed in range(3):
        alarmed = [int(one.node_id) for one in findings(simulated(seed)) if one.kind == ALARM]
        assert len([index for index in alarmed if index < 10]) >= 9, seed
        assert len([index for index in alarmed if index >= 10]) <= 1, seed
