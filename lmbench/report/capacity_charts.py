"""The charts of a plan as SVG: replicas through the day, latency by rate, what the number hangs on; the tables repeat them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from markupsafe import Markup

from lmbench.base.units import pretty
from lmbench.capacity.nouns import OTHER_RATES, BackTest, Replica
from lmbench.capacity.plan import Sized
from lmbench.report.capacity import CapacityReport, at_peak
from lmbench.report.charts import (
    BOTTOM,
    COLOURS,
    DASHES,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    axes,
    figure,
    rounded,
    text_at,
)
from lmbench.report.scale import Axis, Scale, scale

P95 = "p95"
HOURS = tuple(float(hour) for hour in range(0, 25, 4))
NAMES, ENDS, ROW, THICK = 100, 80, 34, 16
"""Of a tornado: room for the names and for the ends' texts, height of a row and of its bar."""
_KEY = Markup(
    '<span class="key"><svg width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">'
    '<path class="line c{}" stroke-dasharray="{}" d="M0 5H26"/></svg>{}</span>'
)
_LINE = Markup('<path class="line c{}" stroke-dasharray="{}" d="{}"/>')
_DOT = Markup('<circle class="fill c{}" cx="{}" cy="{}" r="3.5"/>')
_BAR = Markup('<rect class="fill c{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>')


def capacity_charts(report: CapacityReport) -> list[Markup]:
    """Of the day, of every option's latency, and of what the recommended number hangs on; empty where nothing was sized."""
    if not report.sized:
        return []
    best = report.sized[0]
    return [chart for chart in (*_day(report), *(_curve(report, one) for one in report.sized), _tornado(best)) if chart]


def _day(report: CapacityReport) -> Iterator[Markup]:
    """Replicas of every option, and the traffic they follow."""
    rates = report.plan.demand.per_minute
    fleets = [(one.name, [float(count) for count in one.fleet.ready]) for one in report.sized if one.fleet]
    yield _stairs("Replicas through the day", "replicas", "count", fleets)
    yield _stairs("Requests through the day, without bursts", "requests", "requests/s", [("requests/s", list(rates))])


def _stairs(title: str, name: str, unit: str, series: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """A value per minute of the day, each held for its minute."""
    hours = Scale(low=0, high=HOURS[-1], start=LEFT, end=WIDTH - RIGHT, log=False, ticks=HOURS)
    y = Axis(title=name, unit=unit, zero=True)
    up = scale(y, [value for _, values in series for value in values], HEIGHT - BOTTOM, TOP)
    parts = [axes(Axis(title="hour of the day", unit="h"), y, hours, up)]
    keys = []
    for index, (label, values) in enumerate(series):
        path = f"M{LEFT} {rounded(up.place(values[0]))}"
        for minute, (before, now) in enumerate(pairwise(values), start=1):
            if now != before:
                path += f"H{rounded(hours.place(minute / 60))}V{rounded(up.place(now))}"
        look = (index % COLOURS, DASHES[index % len(DASHES)])
        parts.append(_LINE.format(*look, f"{path}H{WIDTH - RIGHT}"))
        keys.append(_KEY.format(*look, label))
    return figure(title, parts, Markup("").join(keys) if len(series) > 1 else Markup(""))


def _curve(report: CapacityReport, one: Sized) -> Markup:
    """Latency p95 by rate: simulated among the plan's replicas with its interval, measured alone, predicted alone."""
    surface, replica = one.surface, report.measured.get(one.name)
    if surface is None:
        return Markup("")
    tests, peak = (_left_out(replica) if replica else []), at_peak(report.plan, one)
    limit = report.plan.request.slo.limits.get(("latency", P95))
    low, middle, high = (table[P95] for table in (surface.latency_low_s, surface.latency_s, surface.latency_high_s))
    x, y = Axis(title="rate of one replica", unit="requests/s", zero=True), Axis(title="latency p95", unit="s", zero=True)
    across = scale(x, [*surface.rates, peak, *(test.rate for test in tests)], LEFT, WIDTH - RIGHT)
    times = [time for test in tests for time in (test.measured_p95_s, test.predicted_p95_s)]
    up = scale(y, [*high, *times, *([limit] if limit else [])], HEIGHT - BOTTOM, TOP)
    parts = [axes(x, y, across, up), _rules(limit, peak, across, up)]
    around = [*zip(surface.rates, low, strict=True), *reversed([*zip(surface.rates, high, strict=True)])]
    parts.append(Markup('<path class="fill c2" fill-opacity="0.25" d="{}Z"/>').format(_path(around, across, up)))
    shown = (
        (2, f"simulated with its interval, behind a {surface.policy} router", [*zip(surface.rates, middle, strict=True)]),
        (
            0,
            f"measured alone (n = {sum(test.requests for test in tests):,})",
            [(test.rate, test.measured_p95_s) for test in tests],
        ),
        (1, "predicted alone, that rate left out", [(test.rate, test.predicted_p95_s) for test in tests]),
    )
    keys = []
    for colour, name, points in shown:
        parts.append(_LINE.format(colour, DASHES[colour] if colour < 2 else "", _path(points, across, up)))
        parts += [_DOT.format(colour, rounded(across.place(a)), rounded(up.place(b))) for a, b in points if colour < 2]
        keys.append(_KEY.format(colour, DASHES[colour] if colour < 2 else "", name))
    return figure(f"{one.name}: latency p95 by the rate of one replica", parts, Markup("").join(keys))


def _left_out(replica: Replica) -> list[BackTest]:
    """One prediction per measured rate: those from older runs are in the table."""
    return [test for test in replica.backtests if test.source == OTHER_RATES]


def _path(points: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    return "M" + "L".join(f"{rounded(across.place(a))} {rounded(up.place(b))}" for a, b in points) if points else ""


def _rules(limit: float | None, peak: float, across: Scale, up: Scale) -> Markup:
    """The promised time across, the rate of the busiest minute upright."""
    place = rounded(across.place(peak))
    upright = Markup('<path class="rule" d="M{} {}V{}"/>').format(place, HEIGHT - BOTTOM, TOP)
    words = text_at(across.place(peak) + 4, HEIGHT - BOTTOM - 6, "busiest minute")
    if limit is None:
        return upright + words
    level = up.place(limit)
    drawn = Markup('<path class="rule" d="M{} {}H{}"/>').format(LEFT, rounded(level), WIDTH - RIGHT)
    return (
        upright
        + words
        + drawn
        + text_at(LEFT + 6, level - 5 if level > TOP + 24 else level + 14, f"promised: {pretty(limit, 's')}")
    )


def _tornado(one: Sized) -> Markup:
    """Bars from the replicas with an input low to those with it high, around the plan's number."""
    swings = [
        (swing, swing.replicas_low, swing.replicas_high)
        for swing in one.tornado
        if swing.replicas_low is not None and swing.replicas_high is not None
    ]
    if not swings or one.fleet is None:
        return Markup("")
    counts = [float(count) for _, low, high in swings for count in (low, high)] + [float(one.fleet.peak)]
    across = scale(Axis(title="replicas", unit="count"), counts, NAMES + ENDS, WIDTH - ENDS)
    middle, parts = across.place(one.fleet.peak), []
    for index, (swing, low, high) in enumerate(swings):
        top = TOP + index * ROW
        parts.append(text_at(NAMES - 8, top + THICK - 3, swing.what, anchor="end"))
        for colour, factor, count in ((0, swing.low, low), (1, swing.high, high)):
            end = across.place(count)
            words = f"{swing.what} {factor}: {count:,} replicas"
            width = max(abs(end - middle), 0.5)
            parts.append(_BAR.format(colour, rounded(min(end, middle)), rounded(top), rounded(width), THICK, words))
        ends = sorted([(across.place(low), f"{low:,} at {swing.low}"), (across.place(high), f"{high:,} at {swing.high}")])
        parts.append(text_at(min(ends[0][0], middle) - 4, top + THICK - 3, ends[0][1], anchor="end"))
        parts.append(text_at(max(ends[1][0], middle) + 4, top + THICK - 3, ends[1][1]))
    height = TOP + len(swings) * ROW
    parts.append(Markup('<path class="axis" d="M{} {}V{}"/>').format(rounded(middle), TOP - 6, height - 8))
    parts.append(text_at(middle, height + 6, f"{one.fleet.peak:,} as planned", anchor="middle"))
    return figure(f"{one.name}: replicas with one input moved at a time", parts, Markup(""), height=height + 12)
