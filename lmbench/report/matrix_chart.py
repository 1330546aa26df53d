"""Quality against one objective as SVG: every cell a mark, filled where it is on the front, with its noise around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lmbench.compare.frontier import RISES, WITHIN, Span
from lmbench.report.charts import BOTTOM, COLOURS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, axes, figure, rounded, text_at
from lmbench.report.matrix import ModelMatrix
from lmbench.report.matrix_columns import QUALITY, Source, entry
from lmbench.report.scale import Axis, Scale, scale

WIDE = 3.0
"""An axis whose values span more than this factor is logarithmic."""
LETTER_WIDTH, LETTER_HEIGHT, SIZE, AWAY = 6.6, 12.0, 4.5, 7.0
HEADROOM = 0.12
SIZES = ((float(1 << 30), "GiB"), (float(1 << 20), "MiB"), (float(1 << 10), "KiB"), (1.0, "bytes"))
SHAPES = (
    "M-1 0A1 1 0 1 0 1 0A1 1 0 1 0 -1 0Z",
    "M-.9 -.9H.9V.9H-.9Z",
    "M0 -1.1L1.1 .9H-1.1Z",
    "M0 -1.3L1.2 0L0 1.3L-1.2 0Z",
    "M0 1.1L1.1 -.9H-1.1Z",
    "M-.4 -1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
)
"""Circle, square, triangle, diamond, triangle upside down, cross: engines differ by shape as well as by colour."""
_MARK = Markup('<path class="mark c{}{}" transform="translate({} {}) scale({})" d="{}"><title>{}</title></path>')
_KEY = Markup(
    '<span class="key"><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
    '<path class="mark c{}" transform="scale(5)" d="{}"/></svg>{}</span>'
)
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One cell: where it stands, what it is called, which engine's look it has."""

    span: Span
    quality: float
    label: str
    words: str
    look: int
    member: bool


def front_charts(model: ModelMatrix) -> list[Markup]:
    """One chart per objective that at least two cells were weighed in."""
    return [_chart(model, name, source) for name, source in model.objectives.items() if len(model.fronts[name]) > 1]


def _chart(model: ModelMatrix, objective: str, source: Source) -> Markup:
    quality = next(one for one in model.sources if one.column.key == QUALITY)
    engines = list(dict.fromkeys(row.cell.backend.name for row in model.rows))
    factor, unit = _unit(model, objective, source)
    marks = _marks(model, objective, (source, factor), quality, engines)
    limit = _limit(model)
    x = _axis(source.column.title, unit, [mark.span.value for mark in marks])
    y = _axis(quality.column.title, "1", [mark.quality for mark in marks])
    across = scale(x, [mark.span.value for mark in marks], LEFT, WIDTH - RIGHT)
    up = scale(y, _heights(marks, limit), HEIGHT - BOTTOM, TOP)
    parts = [axes(x, y, across, up), _rule(limit, up), _line(marks, across, up)]
    parts += [_drawn(mark, across, up) for mark in sorted(marks, key=lambda mark: mark.member)]
    parts += _labels(marks, limit, across, up)
    keys = [_KEY.format(index % COLOURS, SHAPES[index % len(SHAPES)], name) for index, name in enumerate(engines)]
    better = "right" if RISES[objective] else "left"
    title = f"{quality.column.title} against {source.column.title}: better is down and {better}, filled is on the front"
    return figure(title, parts, Markup("").join(keys))


def _unit(model: ModelMatrix, objective: str, source: Source) -> tuple[float, str]:
    """What to divide by, and the unit of the axis: sizes in the binary unit of the largest, so that ticks are round."""
    if source.unit != "bytes":
        return 1.0, source.unit
    largest = max(model.rows[index].values[source.column.key].value or 0.0 for index in model.fronts[objective])
    return next(((size, name) for size, name in SIZES if largest >= size), SIZES[-1])


def _marks(
    model: ModelMatrix, objective: str, measured: tuple[Source, float], quality: Source, engines: Sequence[str]
) -> list[Mark]:
    found = []
    source, factor = measured
    for index, dominator in model.fronts[objective].items():
        row = model.rows[index]
        value, loss = row.values[source.column.key], row.values[quality.column.key]
        if value.span is None or loss.value is None:
            continue
        beaten = "" if dominator is None else f"; beaten by {model.rows[dominator].name}"
        figures = f"{entry(value, source.column)}, {quality.column.title} {entry(loss, quality.column)}"
        found.append(
            Mark(
                span=Span(value=value.span.value / factor, low=value.span.low / factor, high=value.span.high / factor),
                quality=loss.value,
                label=row.cell.compression.name,
                words=f"{row.name}: {figures}{beaten}",
                look=engines.index(row.cell.backend.name),
                member=dominator is None,
            )
        )
    return found


def _limit(model: ModelMatrix) -> float | None:
    """The perplexity that recommendations go up to."""
    for row in model.rows:
        quality = row.values.get(QUALITY)
        if quality and quality.value and quality.ratio:
            return quality.value / quality.ratio * (1 + WITHIN)
    return None


def _axis(title: str, unit: str, values: Sequence[float]) -> Axis:
    return Axis(title=title, unit=unit, log=min(values) > 0 and max(values) > WIDE * min(values))


def _heights(marks: Sequence[Mark], limit: float | None) -> list[float]:
    """What the axis of quality must hold: the marks, the limit, and room for a name below the best."""
    heights = [mark.quality for mark in marks] + ([limit] if limit else [])
    low, high = min(heights), max(heights)
    return [*heights, max(low - (high - low) * HEADROOM, low * (1 - HEADROOM))]


def _rule(limit: float | None, up: Scale) -> Markup:
    if limit is None:
        return Markup("")
    place = up.place(limit)
    words = text_at(WIDTH - RIGHT, place - 4, f"+{WITHIN * 100:g} %", anchor="end")
    return Markup('<path class="rule" d="M{} {}H{}"/>').format(LEFT, rounded(place), WIDTH - RIGHT) + words


def _line(marks: Sequence[Mark], across: Scale, up: Scale) -> Markup:
    members = sorted((mark for mark in marks if mark.member), key=lambda mark: mark.span.value)
    path = "L".join(f"{rounded(across.place(mark.span.value))} {rounded(up.place(mark.quality))}" for mark in members)
    return Markup('<path class="front" d="M{}"/>').format(path)


def _drawn(mark: Mark, across: Scale, up: Scale) -> Markup:
    x, y = rounded(across.place(mark.span.value)), rounded(up.place(mark.quality))
    low, high = (rounded(across.place(min(max(end, across.low), across.high))) for end in (mark.span.low, mark.span.high))
    spread = Markup('<path class="spread c{}" d="M{} {}H{}"/>').format(mark.look % COLOURS, low, y, high)
    off = "" if mark.member else " off"
    return spread + _MARK.format(mark.look % COLOURS, off, x, y, SIZE, SHAPES[mark.look % len(SHAPES)], mark.words)


def _labels(marks: Sequence[Mark], limit: float | None, across: Scale, up: Scale) -> list[Markup]:
    """Names beside the marks, those of the front first; one that finds no free place is left to the mark's title."""
    places = [(across.place(mark.span.value), up.place(mark.quality), mark) for mark in marks]
    taken: list[Box] = [(x - SIZE, y - SIZE, 2 * SIZE, 2 * SIZE) for x, y, _ in places]
    taken += [(LEFT, up.place(limit) - 1, WIDTH - RIGHT - LEFT, 2)] if limit else []
    shown = []
    for x, y, mark in sorted(places, key=lambda place: not place[2].member):
        boxes = _around(x, y, LETTER_WIDTH * len(mark.label))
        free = next((box for box in boxes if not any(_overlap(box, other) for other in taken)), None)
        if free is not None:
            taken.append(free)
            shown.append(text_at(free[0], free[1] + LETTER_HEIGHT - 2, mark.label))
    return shown


def _around(x: float, y: float, width: float) -> Iterator[Box]:
    """Places for a text around a mark, the best first, all inside the axes."""
    most, above, below = WIDTH - RIGHT - width, y - LETTER_HEIGHT - 2, y + SIZE
    for top in (above, below, above - LETTER_HEIGHT, below + LETTER_HEIGHT):
        for left in (x + AWAY, x - AWAY - width, x - width / 2) if TOP <= top <= HEIGHT - BOTTOM - LETTER_HEIGHT else ():
            yield min(max(left, LEFT + 2.0), most), top, width, LETTER_HEIGHT


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]
