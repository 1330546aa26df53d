"""Charts as SVG markup: pure functions from numbers to text, coloured by CSS classes, without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from lmbench.base.units import pretty
from lmbench.report.scale import Axis, Scale, bins, cumulative, scale

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 76, 34, 14, 46
UNITS_AT_TICKS = ("s", "bytes", "1", "count")
LABEL, VALUE, BAR = 176, 90, 13
COLOURS = 6
"""The style sheet has classes c0 .. c5 (the palette of Okabe and Ito, safe for colour-blind readers)."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4")
"""Lines also differ by dashes, so that no reader depends on colour."""

_FIGURE = Markup('<figure><figcaption>{}</figcaption><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>{}</figure>')
_KEY = Markup(
    '<span class="key"><svg width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">'
    '<path class="line c{}" stroke-dasharray="{}" d="M0 5H26"/></svg>{}</span>'
)
_SWATCH = Markup(
    '<span class="key"><svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">'
    '<rect class="fill c{}" width="12" height="12"/></svg>{}</span>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named curve through (x, y) points in the axes' units; points with a None are left out."""

    name: str
    points: Sequence[tuple[float | None, float | None]]
    stairs: bool = False
    """Horizontal then vertical between points, without markers: for cumulative shares."""
    dots: bool = True
    """A marker at each point; without, for lines of many points."""


def line_chart(title: str, lines: Sequence[Line], x: Axis, y: Axis, *, rule: tuple[str, float] | None = None) -> Markup:
    """Curves over one pair of axes, with an optional horizontal rule (name, y); empty when there is nothing to draw."""
    known = [(line, _known(line, x, y)) for line in lines]
    shown = [(line, points) for line, points in known if points]
    if not shown:
        return Markup("")
    everything = [point for _, points in shown for point in points]
    heights = [height for _, height in everything] + ([rule[1]] if rule else [])
    across = scale(x, [along for along, _ in everything], LEFT, WIDTH - RIGHT)
    up = scale(y, heights, HEIGHT - BOTTOM, TOP)
    parts = [axes(x, y, across, up), _rule(rule, up) if rule else Markup("")]
    parts += [_curve(line, points, index, across, up) for index, (line, points) in enumerate(shown)]
    keys = Markup("").join(_KEY.format(index % COLOURS, _dash(index), line.name) for index, (line, _) in enumerate(shown))
    return figure(title, parts, keys)


def ecdf(title: str, series: Sequence[tuple[str, Sequence[float]]], unit: str) -> Markup:
    """The share of samples at or below each value, one staircase per series, with n in its name."""
    lines = [
        Line(name=f"{name} (n = {len(values)})", points=cumulative(values), stairs=True) for name, values in series if values
    ]
    positive = [value for _, values in series for value in values if value > 0]
    log = bool(positive) and max(positive) > 20 * min(positive)
    return line_chart(title, lines, Axis(title="", unit=unit, log=log), Axis(title="share of samples", unit="1", zero=True))


def histogram(title: str, values: Sequence[float], unit: str) -> Markup:
    """Counts of `values` in equal bins, with n in the caption; empty with fewer than 2 values."""
    if len(values) < 2:
        return Markup("")
    edges, counts = bins(values)
    x, y = Axis(title="", unit=unit), Axis(title="samples", unit="count", zero=True)
    across = scale(x, edges, LEFT, WIDTH - RIGHT)
    up = scale(y, [0.0, *(float(count) for count in counts)], HEIGHT - BOTTOM, TOP)
    bars = []
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        left, right, top = across.place(low), across.place(high), up.place(count)
        words = f"{pretty(low, unit)} to {pretty(high, unit)}: {count} samples"
        bars.append(_rect(0, (left, top, max(right - left - 1, 0.5), HEIGHT - BOTTOM - top), words))
    return figure(f"{title} (n = {len(values)})", [axes(x, y, across, up), *bars], Markup(""))


def paired_bars(title: str, rows: Sequence[tuple[str, float | None, float | None]], unit: str, names: tuple[str, str]) -> Markup:
    """Two horizontal bars per row (name, first, second), each with its value; a None is written out, not drawn."""
    known = [value for row in rows for value in row[1:] if value is not None]
    if not known:
        return Markup("")
    longest = max(known) or 1.0
    parts, pitch = [], 2 * BAR + 18
    for index, (name, *pair) in enumerate(rows):
        top = index * pitch + 10
        parts.append(text_at(LABEL - 8, top + BAR + 5, name, anchor="end"))
        for which, value in enumerate(pair):
            y = top + which * (BAR + 1)
            length = max((value or 0.0) / longest, 0.0) * (WIDTH - LABEL - VALUE)
            parts.append(_rect(which, (LABEL, y, length, BAR), ""))
            parts.append(text_at(LABEL + length + 6, y + BAR - 2, pretty(value, unit) if value is not None else "not known"))
    keys = Markup("").join(_SWATCH.format(which, name) for which, name in enumerate(names))
    return figure(title, parts, keys, height=len(rows) * pitch + 12)


def figure(title: str, parts: Sequence[Markup], keys: Markup, *, height: float = HEIGHT) -> Markup:
    """Parts under a caption, with the keys of their colours and shapes below."""
    legend = Markup('<div class="keys">{}</div>').format(keys) if keys else Markup("")
    return _FIGURE.format(title, WIDTH, rounded(height), title, Markup("").join(parts), legend)


def axes(x: Axis, y: Axis, across: Scale, up: Scale) -> Markup:
    """Both axes with ticks, grid and titles."""
    floor = HEIGHT - BOTTOM
    parts = [Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(LEFT, TOP, floor, WIDTH - RIGHT)]
    for tick in up.ticks:
        place = up.place(tick)
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, rounded(place), WIDTH - RIGHT))
        parts.append(text_at(LEFT - 6, place + 4, _tick(tick, y), anchor="end"))
    for tick in across.ticks:
        place = across.place(tick)
        parts.append(Markup('<path class="axis" d="M{} {}v4"/>').format(rounded(place), floor))
        parts.append(text_at(place, floor + 17, _tick(tick, x), anchor="middle"))
    parts.append(text_at((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, _title(x), anchor="middle"))
    middle = (TOP + floor) / 2
    turned = Markup('<text x="12" y="{0}" text-anchor="middle" transform="rotate(-90 12 {0})">{1}</text>')
    return Markup("").join([*parts, turned.format(rounded(middle), _title(y))])


def _tick(value: float, axis: Axis) -> str:
    """Short units stand at every tick, long ones (tokens/s ...) in the axis title."""
    if value == 0:
        return "0"
    text = pretty(value, axis.unit)
    return text if axis.unit in UNITS_AT_TICKS else text.removesuffix(axis.unit).strip()


def _title(axis: Axis) -> str:
    return axis.title if axis.unit in UNITS_AT_TICKS else f"{axis.title} ({axis.unit})"


def _curve(line: Line, points: Sequence[tuple[float, float]], index: int, across: Scale, up: Scale) -> Markup:
    placed = [(rounded(across.place(x)), rounded(up.place(y))) for x, y in points]
    x, y = placed[0]
    path = (f"M{x} {rounded(up.start)}V{y}" if line.stairs else f"M{x} {y}") + "".join(
        f"H{x}V{y}" if line.stairs else f"L{x} {y}" for x, y in placed[1:]
    )
    drawn = Markup('<path class="line c{}" stroke-dasharray="{}" d="{}"/>').format(index % COLOURS, _dash(index), path)
    if line.stairs or not line.dots:
        return drawn
    dot = Markup('<circle class="fill c{}" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>')
    return drawn + Markup("").join(dot.format(index % COLOURS, x, y, line.name) for x, y in placed)


def _rule(rule: tuple[str, float], up: Scale) -> Markup:
    place = up.place(rule[1])
    drawn = Markup('<path class="rule" d="M{} {}H{}"/>').format(LEFT, rounded(place), WIDTH - RIGHT)
    return drawn + text_at(LEFT + 6, place + 14 if place < TOP + 24 else place - 5, rule[0])


def _rect(colour: int, box: tuple[float, float, float, float], words: str) -> Markup:
    x, y, width, height = (rounded(value) for value in box)
    title = Markup("<title>{}</title>").format(words) if words else Markup("")
    return Markup('<rect class="fill c{}" x="{}" y="{}" width="{}" height="{}">{}</rect>').format(
        colour, x, y, width, height, title
    )


def text_at(x: float, y: float, words: str, *, anchor: str = "start") -> Markup:
    """Words whose baseline is at (x, y)."""
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(rounded(x), rounded(y), anchor, words)


def _known(line: Line, x: Axis, y: Axis) -> list[tuple[float, float]]:
    return [(a, b) for a, b in line.points if a is not None and b is not None and (a > 0 or not x.log) and (b > 0 or not y.log)]


def _dash(index: int) -> str:
    return DASHES[index % len(DASHES)]


def rounded(value: float) -> str:
    """A place in the drawing, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")
