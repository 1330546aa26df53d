"""Charts: scales, bins and escaping; markup that parses whatever the numbers and names."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmbench.report.charts import Line, ecdf, histogram, line_chart, paired_bars
from lmbench.report.scale import MOST_BINS, MOST_POINTS, Axis, bins, cumulative, linear_ticks, log_ticks, scale

HOSTILE = "<script>alert(1)</script>\" onload='x' & </svg>"
POSITIVE = st.floats(1e-9, 1e9)
VALUES = st.lists(POSITIVE, min_size=1, max_size=60)


def parsed(markup: str) -> ET.Element:
    return ET.fromstring(f"<root>{markup}</root>")  # noqa: S314


@given(VALUES, st.booleans(), st.booleans())
def test_a_scale_keeps_order_and_stays_inside(values: list[float], log: bool, zero: bool) -> None:
    made = scale(Axis(title="x", unit="s", log=log, zero=zero and not log), values, 10.0, 110.0)
    placed = [made.place(value) for value in sorted(values)]
    assert placed == sorted(placed)
    assert all(10 <= place <= 110 for place in placed)


@given(POSITIVE, st.floats(1.001, 1e6))
def test_ticks_are_few_sorted_and_cover(low: float, factor: float) -> None:
    high = low * factor
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert list(ticks) == sorted(ticks)
    assert ticks[0] <= low * (1 + 1e-9)
    assert ticks[-1] >= high * (1 - 1e-9)
    assert all(low <= tick <= high for tick in log_ticks(low, high))


@given(VALUES)
def test_every_logarithmic_axis_has_a_tick(values: list[float]) -> None:
    assert scale(Axis(title="x", unit="s", log=True), values, 0.0, 1.0).ticks


@given(VALUES)
def test_bins_hold_every_value(values: list[float]) -> None:
    edges, counts = bins(values)
    assert sum(counts) == len(values)
    assert len(edges) == len(counts) + 1 <= MOST_BINS + 1
    assert edges[0] <= min(values)
    assert edges[-1] >= max(values) * (1 - 1e-9)


@given(st.lists(POSITIVE, min_size=1, max_size=2000))
@settings(max_examples=30)
def test_cumulative_shares_rise_to_one(values: list[float]) -> None:
    points = cumulative(values)
    assert points == sorted(points)
    assert points[-1] == (max(values), 1.0)
    assert len(points) <= 2 * MOST_POINTS + 1


@given(VALUES)
@settings(max_examples=40, deadline=None)
def test_any_positive_numbers_give_well_formed_markup_without_nan(values: list[float]) -> None:
    pairs = list(zip(values, reversed(values), strict=True))
    x, y = Axis(title="x", unit="requests/s", log=True), Axis(title="y", unit="s", zero=True)
    for markup in (
        histogram("h", values, "s"),
        ecdf("e", [("a", values)], "s"),
        line_chart("l", [Line(name="a", points=pairs)], x, y, rule=("limit", 1.0)),
        paired_bars("b", [("row", values[0], None)], "bytes", ("m", "e")),
    ):
        parsed(markup)
        assert "nan" not in markup.replace("nanos", "")
        assert "inf" not in markup


def test_hostile_names_stay_text() -> None:
    axis = Axis(title=HOSTILE, unit="s")
    markup = line_chart(HOSTILE, [Line(name=HOSTILE, points=[(1.0, 2.0), (2.0, 3.0)])], axis, axis, rule=(HOSTILE, 2.0))
    markup += ecdf(HOSTILE, [(HOSTILE, [1.0, 2.0])], "s") + histogram(HOSTILE, [1.0, 2.0], "s")
    markup += paired_bars(HOSTILE, [(HOSTILE, 1.0, 2.0)], "bytes", (HOSTILE, HOSTILE))
    root = parsed(markup)
    assert not list(root.iter("script"))
    assert "<script" not in markup
    assert HOSTILE in {element.text for element in root.iter("figcaption")}
    assert all(not name.startswith("on") for element in root.iter() for name in element.attrib)


def test_nothing_to_draw_draws_nothing() -> None:
    axis = Axis(title="x", unit="s", log=True)
    assert line_chart("t", [Line(name="a", points=[(None, 1.0), (0.0, 1.0)])], axis, axis) == ""
    assert histogram("t", [1.0], "s") == ""
    assert ecdf("t", [("a", [])], "s") == ""
    assert paired_bars("t", [("a", None, None)], "s", ("m", "e")) == ""


def test_ticks_say_their_unit_once_and_counts_are_whole() -> None:
    points = [(1.0, 0.0), (4.0, 1.0)]
    x, y = Axis(title="offered", unit="requests/s"), Axis(title="share", unit="1", zero=True)
    texts = [element.text for element in parsed(line_chart("t", [Line(name="a", points=points)], x, y)).iter("text")]
    assert "offered (requests/s)" in texts
    assert "1" in texts
    assert "4" in texts
    counts = scale(Axis(title="n", unit="count", zero=True), [0.0, 2.0], 0, 1).ticks
    assert all(tick == round(tick) for tick in counts)


def test_a_constant_series_still_has_an_axis() -> None:
    made = scale(Axis(title="x", unit="s"), [3.0, 3.0], 0.0, 100.0)
    assert made.low < 3.0 < made.high
    assert math.isclose(made.place(3.0), 50.0, abs_tol=15)
    with pytest.raises(ValueError, match="empty"):
        scale(Axis(title="x", unit="s"), [], 0.0, 1.0)
