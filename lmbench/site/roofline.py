"""Rooflines: every phase of the newest records against the ceilings of its machine, one chart per class of machine."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from lmbench.capacity.roofline import Point, newest_points
from lmbench.report.roofline import LEGEND, NOTHING, distance, reading, reasons, share
from lmbench.report.roofline_chart import roofline_chart
from lmbench.site.nouns import Page, Stored


def page(stored: Stored) -> Page:
    """The newest record of every case that tells of a roof, the furthest from it first."""
    points = newest_points(trail.measured for trail in stored.trails.values() if trail.measured is not None)
    machines = groupby(sorted(points, key=lambda point: point.machine_class), key=lambda point: point.machine_class)
    slugs = {trail.key: trail.slug for trail in stored.trails.values()}
    known = {(point.machine_class, point.node_id) for point in points}
    return Page(
        path="roofline.html",
        title="Roofline",
        template="roofline.html.j2",
        content={
            "rows": [_row(point, slugs[point.machine_class, point.node_id]) for point in points],
            "failed": [trail for key, trail in stored.trails.items() if key in known and trail.newest.failure],
            "charts": [chart for name, found in machines if (chart := roofline_chart(name, list(found)))],
            "reading": reading(points),
            "reasons": reasons(points),
            "legend": LEGEND,
            "nothing": NOTHING,
        },
    )


def _row(point: Point, slug: str) -> dict[str, Any]:
    return {
        "point": point,
        "path": f"cases/{slug}.html",
        "lower": " and ".join(name for name, lower in (("FLOPs", point.least_flops), ("bytes", point.least_bytes)) if lower),
        "distance": distance(point),
        "compute": share(point.compute_share, least=point.least_flops),
        "bandwidth": share(point.bandwidth_share, least=point.least_bytes),
    }
