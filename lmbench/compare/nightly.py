"""Nightly ratios joined over re-pins into one series per metric; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmbench.store.history import Bridge, CellRatio, History, Night

NORMAL_95 = 1.645
"""Standard errors in half of a 90 % interval."""
Key = tuple[str, str]
Offset = tuple[float, float]
"""ln(pin / first pin) and its variance."""
NO_OFFSET: Offset = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One night of one metric: ln(head / first pin), and that night's own verdict."""

    at: str
    commit: str
    log_ratio: float
    half_width: float | None
    outcome: str
    pinned: str
    run: str = ""
    bridge_variance: float = 0.0
    """Squared standard error of the bridges between the first pin and this night's: nights of one pin share it."""
    offset: float = 0.0
    """ln(pin / first pin): without it `log_ratio` is the night against its own pin."""


def series_of(history: History) -> dict[Key, tuple[Point, ...]]:
    """The nights of each metric by date, all against the first pin: each re-pin adds its bridge.

    A case that a bridge lacks (it came later) starts again at the new pin: its nights against earlier pins are left out.
    """
    offsets: dict[str, dict[Key, Offset] | None] = {}
    table: dict[Key, list[Point]] = {}
    for night in nights_by_date(history):
        offset = _offset(night.pinned, history, offsets)
        for cell in night.cells:
            key = (cell.node_id, cell.metric)
            points = table.setdefault(key, [])
            known = NO_OFFSET if offset is None else offset.get(key)
            if known is None and points and points[-1].pinned != night.pinned:
                points.clear()
            points.append(_point(night, cell, known or NO_OFFSET))
    return {key: tuple(points) for key, points in table.items()}


def nights_of(history: History) -> list[tuple[Night, ...]]:
    """The nights against the present pin, by date. Runs of one commit that share no case, one after the other, are one night."""
    current = history.pins[-1].commit if history.pins else None
    groups: list[tuple[Night, ...]] = []
    for night in nights_by_date(history):
        if night.pinned != current:
            continue
        last = groups[-1] if groups else ()
        shares = {cell.node_id for one in last for cell in one.cells} & {cell.node_id for cell in night.cells}
        if last and night.cells and last[0].cells and last[0].commit == night.commit and not shares:
            groups[-1] = (*last, night)
        else:
            groups.append((night,))
    return groups


def since_pin(points: Sequence[Point], history: History) -> tuple[Point, ...]:
    """The last points in a row that are against the present pin."""
    current = history.pins[-1].commit if history.pins else None
    return tuple(point for point in points if point.pinned == current)


def missing(key: Key, history: History) -> tuple[str, ...]:
    """Dates of the nights against the present pin that lack a metric which was known before."""
    series = since_pin(series_of(history).get(key, ()), history)
    runs = {point.run for point in series}
    groups = nights_of(history)
    first = next((place for place, group in enumerate(groups) if any(one.run in runs for one in group)), 0)
    return tuple(group[0].at for group in groups[first:] if not any(one.run in runs for one in group))


def bridge(history: History, new: str) -> Bridge | None:
    """The bridge to commit `new` from the latest night of exactly that commit against the current pin; None without one."""
    old = history.pins[-1].commit if history.pins else None
    nights = [night for night in history.nights if night.pinned == old and night.commit == new]
    return Bridge(old=str(old), new=new, cells=nights[-1].cells) if nights else None


def _offset(pinned: str, history: History, known: dict[str, dict[Key, Offset] | None]) -> dict[Key, Offset] | None:
    """ln(pinned / first pin) and its variance by metric; None for the first pin, nothing known for a pin without a bridge."""
    if pinned in known:
        return known[pinned]
    known[pinned] = None
    if history.pins and history.pins[0].commit == pinned:
        return None
    table: dict[Key, Offset] = {}
    joining = next((one for one in history.bridges if one.new == pinned), None)
    if joining is not None:
        before = _offset(joining.old, history, known) or {}
        for cell in joining.cells:
            ratio, variance = before.get((cell.node_id, cell.metric), NO_OFFSET)
            error = (_half_width(cell) or 0.0) / NORMAL_95
            table[cell.node_id, cell.metric] = (ratio + cell.log_ratio, variance + error * error)
    known[pinned] = table
    return table


def _point(night: Night, cell: CellRatio, offset: Offset) -> Point:
    return Point(
        at=night.at,
        commit=night.commit,
        log_ratio=cell.log_ratio + offset[0],
        half_width=_half_width(cell),
        outcome=cell.outcome,
        pinned=night.pinned,
        run=night.run,
        bridge_variance=offset[1],
        offset=offset[0],
    )


def _half_width(cell: CellRatio) -> float | None:
    return None if cell.low is None or cell.high is None else (cell.high - cell.low) / 2


def nights_by_date(history: History) -> list[Night]:
    """All nights in order of time, in whatever order the file has them."""
    return sorted(history.nights, key=lambda one: one.at)
