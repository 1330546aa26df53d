"""The classic roofline as SVG: arithmetic intensity against FLOP/s, log-log, below min(peak, intensity x bandwidth)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from lmbench.base.units import pretty
from lmbench.capacity.roofline import Point
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
from lmbench.report.matrix_chart import SHAPES, SIZE
from lmbench.report.roofline import distance
from lmbench.report.scale import Axis, Scale, scale

X = Axis(title="arithmetic intensity", unit="FLOP/byte", log=True)
Y = Axis(title="performance", unit="FLOP/s", log=True)
MARGIN = 3.0
"""The roofs go on this many times beyond the outermost point or ridge."""
HEADROOM = 1.8
"""Above the highest roof, for its name."""
PHASE_ORDER = ("training step", "pass", "prefill", "decode step")
_MARK = Markup('<path class="mark c{}{}" transform="translate({} {}) scale({})" d="{}"><title>{}</title></path>')
_ROOF = Markup('<path class="line c{}" stroke-dasharray="{}" d="M{}"><title>{}</title></path>')
_KEY = Markup(
    '<span class="key"><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
    '<path class="mark c{}" transform="scale(5)" d="{}"/></svg>{}</span>'
)
Peaks = tuple[str, float, float]
"""Number type, FLOP/s, bytes/s."""


def roofline_chart(machine_class: str, points: Sequence[Point]) -> Markup:
    """The points of one machine class that have a place; empty when none has. A roof is the highest that any of them had."""
    placed = [(x, y, point) for point in points if (x := point.intensity) and (y := point.flops_per_s)]
    peaks = _peaks([point for _, _, point in placed])
    if not placed or not peaks:
        return Markup("")
    ridges = [peak / stream for _, peak, stream in peaks]
    ends = [x for x, _, _ in placed] + ridges
    low, high = min(ends) / MARGIN, max(ends) * MARGIN
    across = scale(X, [low, high], LEFT, WIDTH - RIGHT)
    floor = min(low * max(stream for _, _, stream in peaks), *(y for _, y, _ in placed))
    up = scale(Y, [floor, *(HEADROOM * peak for _, peak, _ in peaks), *(y for _, y, _ in placed)], HEIGHT - BOTTOM, TOP)
    phases = [phase for phase in PHASE_ORDER if any(point.phase == phase for _, _, point in placed)]
    parts = [axes(X, Y, across, up)]
    parts += [part for index, one in enumerate(peaks) for part in _roof(index, one, (low, high), across, up)]
    parts += [_mark(phases.index(point.phase), across.place(x), up.place(y), point) for x, y, point in placed]
    keys = [_KEY.format(index % COLOURS, SHAPES[index % len(SHAPES)], phase) for index, phase in enumerate(phases)]
    title = f"Roofline of {machine_class}: filled marks are counted, open ones have FLOPs or bytes that are lower bounds"
    return figure(title, parts, Markup("").join(keys))


def _peaks(points: Sequence[Point]) -> list[Peaks]:
    """The roof of every number type, the highest first."""
    found: dict[str, tuple[float, float]] = {}
    for point in points:
        if point.peak_flops_per_s and point.peak_bytes_per_s:
            peak, stream = found.get(point.dtype, (0.0, 0.0))
            found[point.dtype] = (max(peak, point.peak_flops_per_s), max(stream, point.peak_bytes_per_s))
    return sorted(((dtype, *pair) for dtype, pair in found.items()), key=lambda one: -one[1])


def _roof(index: int, one: Peaks, ends: tuple[float, float], across: Scale, up: Scale) -> list[Markup]:
    """min(peak, intensity x bandwidth), the peak told above the flat part, the bandwidth beside the slope of the first."""
    dtype, peak, stream = one
    middle = math.sqrt(ends[0] * peak / stream)
    corners = [(x, min(peak, x * stream)) for x in (ends[0], peak / stream, ends[1])]
    path = "L".join(f"{rounded(across.place(x))} {rounded(up.place(y))}" for x, y in corners)
    words = f"{dtype}: {pretty(peak, 'FLOP/s')}, {pretty(stream, 'bytes/s')}"
    drawn = [_ROOF.format(index % COLOURS, DASHES[index % len(DASHES)], path, words)]
    drawn.append(text_at(WIDTH - RIGHT, up.place(peak) - 4, f"{dtype}: {pretty(peak, 'FLOP/s')}", anchor="end"))
    if index == 0:
        drawn.append(text_at(across.place(middle) - 6, up.place(middle * stream) - 6, pretty(stream, "bytes/s"), anchor="end"))
    return drawn


def _mark(look: int, x: float, y: float, point: Point) -> Markup:
    off = " off" if point.least_flops or point.least_bytes else ""
    numbers = f"{pretty(point.intensity, 'FLOP/byte')}, {pretty(point.flops_per_s, 'FLOP/s')}, {distance(point)} from the roof"
    words = f"{point.phase} of {point.node_id}: {numbers}"
    return _MARK.format(look % COLOURS, off, rounded(x), rounded(y), SIZE, SHAPES[look % len(SHAPES)], words)
