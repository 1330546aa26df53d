"""Rooflines: every phase of the newest records against the ceilings of its machine, one chart per class of machine."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from lmbench.capacity.roofline import Point, newest_points
from lmbench.record.thread_use import count_words
from lmbench.report.roofline import LEGEND, NOTHING, distance, reading, reasons, share
from lmbench.report.roofline_chart import roofline_chart
from lmbench.site.nouns import Page, Stored


def page(stored: Stored) -> Page:
    """The newest record of every case that tells of a roof, the furthest from it first."""
    points = newest_points(trail.measured for trail in stored.trails.values() if trail.measured is not None)
    machines = groupby(sorted(points, key=_machine), key=_machine)
    slugs = {trail.key: trail.slug for trail in stored.trails.values()}
    known = {(point.machine_class, point.node_id) for point in points}
    return Page(
        path="roofline.html",
        title="Roofline",
        template="roofline.html.j2",
        content={
            "rows": [_row(point, slugs[point.machine_class, point.node_id]) for point in points],
            "failed": [trail for key, trail in stored.trails.items() if key in known and trail.newest.failure],
            "charts": [chart for (name, count), found in machines if (chart := roofline_chart(_title(name, count), list(found)))],
            "reading": reading(points),
            "reasons": reasons(points),
            "legend": LEGEND,
            "nothing": NOTHING,
        },
    )


def _machine(point: Point) -> tuple[str, int]:
    """What points share a chart: one machine class, and roofs of one number of threads (0: not known)."""
    return point.machine_class, point.threads or 0


def _title(machine_class: str, threads: int) -> str:
    return f"{machine_class}, {count_words(threads)}" if threads else machine_class


def _row(point: Point, slug: str) -> dict[str, Any]:
    return {
        "point": point,
        "path": f"cases/{slug}.html",
        "lower": " and ".join(name for name, lower in (("FLOPs", point.least_flops), ("bytes", point.least_bytes)) if lower),
        "distance": distance(point),
        "compute": share(point.compute_share, least=point.least_flops),
        "bandwidth": share(point.bandwidth_share, least=point.least_bytes),
    }
