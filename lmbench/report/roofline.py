"""Rooflines in words and as a table: which roof each phase is nearer to, and how far it is from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lmbench.base.units import UNKNOWN, pretty
from lmbench.capacity.roofline import BANDWIDTH, COMPUTE, Point
from lmbench.report.capacity_figures import figure, percent
from lmbench.report.tables import Table

TITLE = "Roofline"
HEAD = ("case", "phase", "time", "of compute", "of bandwidth", "nearer roof", "x from the roof", "machine class")
NOTHING = (
    "No stored record tells of a roof; run a suite with a case of training_step, scoring or latency and --benchmark-autosave."
)
LEGEND = (
    "Shares of each phase's median time that its machine would take at the measured peak: of matrix products of the same number "
    "type, and of memory bandwidth (Williams, Waterman & Patterson 2009).",
    "'at least': the work was not counted but bounded from below (weights read once, by the optimizer with gradients and its "
    "state; a decode step computes what the prefill did per token), so that the true share may be larger; 'at most': the true "
    "distance may then be smaller. The nearer roof is by what is known: a share that is a lower bound could be the larger one.",
)


def reading(points: Sequence[Point]) -> str:
    """The points, furthest from their roofs first, in a line."""
    known = [point for point in points if point.distance is not None]
    if not known:
        return NOTHING if not points else "No roof is known of any phase; see the notes."
    near = {bound: sum(point.bound == bound for point in points) for bound in (COMPUTE, BANDWIDTH)}
    unknown = len(points) - sum(near.values())
    lead = f"Furthest from its roof: {_told(known[0])}"
    nearest = f"; nearest: {_told(known[-1])}" if len(known) > 1 else ""
    roofs = f"{near[COMPUTE]} nearer to compute, {near[BANDWIDTH]} to bandwidth, {unknown} not known"
    return f"{lead}{nearest}. Of {len(points)} phase{'s' if len(points) != 1 else ''}: {roofs}."


def roofline_table(points: Sequence[Point]) -> Table:
    """One row per phase, in the order given; the notes say why something is not known."""
    rows = tuple(
        (
            _id(point),
            point.phase,
            pretty(point.seconds, "s"),
            share(point.compute_share, least=point.least_flops),
            share(point.bandwidth_share, least=point.least_bytes),
            point.bound or UNKNOWN,
            distance(point),
            point.machine_class,
        )
        for point in points
    )
    return Table(title="Phases and their roofs", head=HEAD, rows=rows, notes=(*LEGEND, *reasons(points)))


def reasons(points: Sequence[Point]) -> list[str]:
    """Every reason once, with the phases it holds for."""
    found: dict[str, list[str]] = {}
    for point in points:
        for text in point.reasons:
            found.setdefault(text, []).append(f"{point.phase} of {_id(point)}")
    return [f"{text}: {', '.join(dict.fromkeys(names))}." for text, names in found.items()]


def roofline_json(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Every point with what follows from it. Times in seconds, rates in FLOP/s and bytes/s; what is not known is null."""
    derived = ("bound", "distance", "most_distance", "flops_per_s", "intensity")
    return [asdict(point) | {name: getattr(point, name) for name in derived} for point in points]


def share(value: float | None, *, least: bool) -> str:
    """'43.1 %', or 'at least 43.1 %' of a lower bound."""
    if value is None:
        return UNKNOWN
    return ("at least " if least else "") + (percent(value) if value >= 0.001 else f"{value * 100:.2g} %")


def distance(point: Point) -> str:
    """'2.3x', or 'at most 2.3x' where a larger share is possible."""
    if point.distance is None:
        return UNKNOWN
    return ("at most " if point.most_distance else "") + f"{figure(float(f'{point.distance:.3g}'))}x"


def _told(point: Point) -> str:
    return f"{point.phase} of {_id(point)}, {distance(point)}"


def _id(point: Point) -> str:
    """The case without its suite file."""
    return point.node_id.rpartition("::")[2]
