"""Fronts, grades and recommendations: what must hold for any candidates, and the cases that decided the rules."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.base.catalogue import METRICS
from lmbench.compare.frontier import (
    ALIKE,
    DISK,
    MEMORY,
    RISES,
    SPEED,
    WEIGHTS,
    Best,
    Candidate,
    Span,
    best,
    droppable,
    front,
    grades,
    span,
)

relaxed = settings(deadline=None)
TOLERANCE = METRICS["perplexity"].tolerance or 0.0
PERPLEXITIES = st.one_of(st.floats(5, 50), st.sampled_from([10.0, 10.0 * (1 + 1e-8), 10.005, 10.02, 11.0]))
VALUES = st.one_of(st.floats(1, 1000), st.sampled_from([100.0, 103.0, 106.0, 110.0]))


@st.composite
def spans(draw: st.DrawFn) -> Span:
    value = draw(VALUES)
    return Span(value=value, low=value * draw(st.floats(0.3, 1)), high=value * draw(st.floats(1, 3)))


@st.composite
def candidates(draw: st.DrawFn, *, whole: bool = False) -> list[Candidate]:
    """Up to a dozen cells; unless `whole`, some were not measured in every objective."""
    parent = draw(PERPLEXITIES)
    measured = st.fixed_dictionaries({name: spans() for name in RISES})
    some = st.dictionaries(st.sampled_from(list(RISES)), spans())
    made = []
    for perplexity in draw(st.lists(PERPLEXITIES, min_size=1, max_size=12)):
        made.append(Candidate(perplexity=perplexity, loss=perplexity / parent - 1, spans=draw(measured if whole else some)))
    return made


def exactly(perplexity: float, **values: float) -> Candidate:
    return Candidate(
        perplexity=perplexity,
        loss=perplexity / 10 - 1,
        spans={name: Span(value=value, low=value, high=value) for name, value in values.items()},
    )


def better(a: Span, b: Span, objective: str) -> bool:
    return a.low > b.high if RISES[objective] else a.high < b.low


def dominates(cells: list[Candidate], measured: list[int], objective: str, a: int, b: int) -> bool:
    """The rule written out once more, so that the code is not its own judge."""
    ranks = dict(zip(measured, grades([cells[index].perplexity for index in measured]), strict=True))
    one, other = cells[a].spans[objective], cells[b].spans[objective]
    no_worse = ranks[a] <= ranks[b] and not better(other, one, objective)
    return no_worse and (ranks[a] < ranks[b] or better(one, other, objective))


@relaxed
@given(candidates(), st.sampled_from(list(RISES)))
def test_no_member_is_dominated_by_a_member_and_every_other_is_by_one(cells: list[Candidate], objective: str) -> None:
    found = front(cells, objective)
    measured = [index for index, cell in enumerate(cells) if objective in cell.spans]
    assert list(found) == measured
    members = [index for index, dominator in found.items() if dominator is None]
    assert bool(members) == bool(measured)
    for member in members:
        assert not any(dominates(cells, measured, objective, other, member) for other in members)
    for index, dominator in found.items():
        if dominator is not None:
            assert dominator in members
            assert dominates(cells, measured, objective, dominator, index)


@relaxed
@given(candidates(), st.randoms(use_true_random=False))
def test_the_front_does_not_depend_on_the_order_of_the_cells(cells: list[Candidate], random: Random) -> None:
    order = list(range(len(cells)))
    random.shuffle(order)
    members = {index for index, dominator in front(cells, SPEED).items() if dominator is None}
    again = front([cells[index] for index in order], SPEED)
    assert {order[place] for place, dominator in again.items() if dominator is None} == members


@relaxed
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=15))
def test_without_noise_it_is_the_classical_pareto_front(points: list[tuple[int, int]]) -> None:
    cells = [exactly(float(quality), speed=float(speed)) for quality, speed in points]
    members = {index for index, dominator in front(cells, SPEED).items() if dominator is None}
    classical = {
        index
        for index, (quality, speed) in enumerate(points)
        if not any(a <= quality and b >= speed and (a < quality or b > speed) for a, b in points)
    }
    assert members == classical


def test_noise_makes_no_front() -> None:
    """Equal quality, speeds that differ by less than another process of the same code would."""
    speeds = (100.0, 101.0, 99.0, 102.5)
    cells = [Candidate(perplexity=10.0, loss=0.0, spans={SPEED: span("output_tokens_per_s", value)}) for value in speeds]
    assert set(front(cells, SPEED).values()) == {None}
    worse = [Candidate(perplexity=10.5, loss=0.05, spans={SPEED: span("output_tokens_per_s", 104.0)})]
    assert front(cells + worse, SPEED)[4] is not None, "4 % faster is no reason to be 5 % worse"
    faster = [Candidate(perplexity=10.5, loss=0.05, spans={SPEED: span("output_tokens_per_s", 120.0)})]
    assert front(cells + faster, SPEED)[4] is None


def test_rounding_of_another_engine_makes_no_front() -> None:
    cells = [exactly(9.750415286021827, speed=100.0), exactly(9.750415193544873, speed=50.0)]
    assert front(cells, SPEED) == {0: None, 1: 0}


def test_what_is_dominated_only_by_a_non_member_stays() -> None:
    """Each step is within the noise, both together are not: the slow end must not take the fast one away."""
    steps = ((10.0, 92.0), (10.1, 96.0), (10.2, 100.0))
    cells = [Candidate(perplexity=q, loss=0.0, spans={SPEED: span("output_tokens_per_s", speed)}) for q, speed in steps]
    assert front(cells, SPEED) == {0: None, 1: 0, 2: None}


@relaxed
@given(st.lists(PERPLEXITIES, min_size=1, max_size=20))
def test_grades_follow_quality_and_hold_what_is_alike(perplexities: list[float]) -> None:
    found = grades(perplexities)
    ranked = sorted(zip(perplexities, found, strict=True))
    assert ranked[0][1] == 0
    for (low, a), (high, b) in pairwise(ranked):
        assert b - a in (0, 1)
        assert low != high or a == b
    for rank in set(found):
        members = [value for value, one in ranked if one == rank]
        assert max(members) <= min(members) * (1 + TOLERANCE)


@relaxed
@given(candidates(), st.sampled_from(list(RISES)), st.floats(0, 0.5))
def test_the_best_is_within_the_loss_and_nobody_is_clearly_better(cells: list[Candidate], objective: str, within: float) -> None:
    fit = [index for index, cell in enumerate(cells) if cell.loss <= within and objective in cell.spans]
    found = best(cells, objective, within)
    assert (found is None) == (not fit)
    if found is None:
        return
    values = [cells[index].spans[objective].value for index in fit]
    assert cells[found.index].spans[objective].value == (max(values) if RISES[objective] else min(values))
    alike = {index for index in fit if not better(cells[found.index].spans[objective], cells[index].spans[objective], objective)}
    assert {found.index, *found.ties} == alike


def test_within_the_loss_means_within() -> None:
    cells = [exactly(10.0, speed=100.0), exactly(10.1, speed=200.0), exactly(10.2, speed=300.0)]
    assert best(cells, SPEED, 0.011) == Best(index=1, ties=())
    assert best(cells, SPEED, 0.0) == Best(index=0, ties=())
    assert best([], SPEED) is None


@relaxed
@given(candidates(whole=True))
def test_what_is_dropped_costs_nobody_anything(cells: list[Candidate]) -> None:
    ranks = grades([cell.perplexity for cell in cells])
    found = droppable(cells)
    assert len(found) < len(cells), "something is always kept"
    for index, kept in found.items():
        assert kept not in found
        assert ranks[kept] <= ranks[index]
        for name, rises in RISES.items():
            had, has = cells[index].spans[name].value, cells[kept].spans[name].value
            assert has >= had * (1 - ALIKE) if rises else has <= had * (1 + ALIKE)
        clearly = [name for name in RISES if better(cells[kept].spans[name], cells[index].spans[name], name)]
        assert clearly or ranks[kept] < ranks[index]


@relaxed
@given(candidates())
def test_what_was_not_measured_in_everything_is_kept(cells: list[Candidate]) -> None:
    counts = {name for cell in cells for name in cell.spans}
    assert all(counts <= cells[index].spans.keys() for index in droppable(cells))


def test_noise_is_no_reason_to_drop() -> None:
    """Half as fast within wide spans, and half the size: a choice, not a replacement."""
    wide = Span(value=100.0, low=20.0, high=500.0)
    fast = Candidate(perplexity=10.0, loss=0.0, spans={SPEED: wide, WEIGHTS: Span(value=8.0, low=8.0, high=8.0)})
    small = Candidate(
        perplexity=10.0,
        loss=0.0,
        spans={SPEED: Span(value=50.0, low=10.0, high=250.0), WEIGHTS: Span(value=4.0, low=4.0, high=4.0)},
    )
    assert droppable([fast, small]) == {}
    same = Candidate(perplexity=10.0, loss=0.0, spans={SPEED: wide, WEIGHTS: Span(value=4.0, low=4.0, high=4.0)})
    assert droppable([fast, same]) == {0: 1}


def test_a_cell_on_no_front_of_two_may_still_be_the_best_compromise() -> None:
    cells = [
        exactly(9.0, speed=110.0, weights=10.0),
        exactly(9.0, speed=50.0, weights=1.0),
        exactly(10.0, speed=100.0, weights=4.0),
    ]
    assert front(cells, SPEED)[2] == 0
    assert front(cells, WEIGHTS)[2] == 1
    assert 2 not in droppable(cells)


def test_a_span_is_the_catalogue_s_tolerance_and_what_was_seen() -> None:
    mebibyte = 1 << 20
    assert span("disk_bytes", 1000.0) == Span(value=1000.0, low=999.5, high=1000.5)
    peak = span("peak_rss_bytes", 100.0 * mebibyte)
    assert (peak.low, peak.high) == (96.0 * mebibyte, 104.0 * mebibyte), "8 MiB weigh more than 5 % of 100 MiB"
    assert span("output_tokens_per_s", 100.0) == Span(value=100.0, low=97.5, high=102.5)
    assert span("output_tokens_per_s", 100.0, [80.0, 101.0]) == Span(value=100.0, low=80.0, high=102.5)


@pytest.mark.parametrize("objective", [SPEED, MEMORY, WEIGHTS, DISK])
def test_directions(objective: str) -> None:
    cells = [exactly(10.0, **{objective: 10.0}), exactly(10.0, **{objective: 20.0})]
    assert front(cells, objective) == ({0: 1, 1: None} if objective == SPEED else {0: None, 1: 0})
    assert best(cells, objective) == Best(index=1 if objective == SPEED else 0, ties=())
