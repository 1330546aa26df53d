"""A record's samples by percentile: what a histogram hides in its tail is readable here, also as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmbench.record.record import Record
from lmbench.report.layout import SERIES
from lmbench.report.scale import Axis
from lmbench.site.plots import Curve, Plot

PERCENTILES = (*range(0, 95, 5), 95, 96, 97, 98, 99, 99.5, 99.9, 100)
PER_TOKEN = ("tpot", "itl", "decode")
BEYOND = 5
"""Samples that must lie above a percentile for it to be shown."""


def distribution_plots(record: Record) -> list[Plot]:
    """Times by percentile, those of one token apart from those of whole requests."""
    series = {name: list(values) for name, values in record.series.items() if len(values) > 1}
    groups = (
        ("per token", [(name, values) for name, values in series.items() if name in PER_TOKEN]),
        ("per round or request", [(name, values) for name, values in series.items() if name not in PER_TOKEN]),
    )
    return [_plot(scope, group) for scope, group in groups if group]


def _plot(scope: str, group: Sequence[tuple[str, Sequence[float]]]) -> Plot:
    everything = [value for _, values in group for value in values if value > 0]
    log = bool(everything) and max(everything) > 20 * min(everything)
    return Plot(
        title=f"Times by percentile, {scope}",
        x=Axis(title="percentile", unit="percent"),
        y=Axis(title="time", unit="s", log=log),
        at=PERCENTILES,
        curves=tuple(Curve(name=f"{name} (n = {len(values)})", values=_quantiles(values)) for name, values in group),
        note="; ".join(f"{name}: {SERIES.get(name, 'as recorded')}" for name, _ in group),
    )


def _quantiles(values: Sequence[float]) -> list[float | None]:
    """None where fewer than BEYOND samples lie above, the largest excepted."""
    found = np.percentile(values, PERCENTILES)
    room = [len(values) * (1 - q / 100) >= BEYOND or q == 100 for q in PERCENTILES]
    return [float(value) if fit else None for value, fit in zip(found, room, strict=True)]
