"""Trends: one page for the list of cases, one per case with every metric through all runs and where its level changed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import count, pairwise
from typing import Any

from lmbench.base.units import pretty, pretty_change
from lmbench.compare.history import SILENT
from lmbench.compare.nightly import Point as Night
from lmbench.report.figures import tables
from lmbench.report.layout import about, is_main, ordered
from lmbench.report.scale import Axis
from lmbench.site.distributions import distribution_plots
from lmbench.site.gather import commit
from lmbench.site.load import load_plots
from lmbench.site.nouns import Key, Nightly, Page, Stored, Trail
from lmbench.site.plots import DATE, Curve, Mark, Plot
from lmbench.site.steps import OTHER, Step, breaks, main_metrics, other_objectives, values_of

LIST = "trends.html"
WHEN = Axis(title="", unit=DATE)


def pages(stored: Stored, found: Mapping[Key, Sequence[Step]]) -> Iterator[Page]:
    """The list, then one page per case."""
    rows = [_row(stored, trail, found[key]) for key, trail in stored.trails.items()]
    yield Page(path=LIST, title="Trends", template="trends.html.j2", content={"rows": rows})
    nightly = {one.machine_class: one for one in stored.nightly}
    for key, trail in stored.trails.items():
        yield _case_page(stored, trail, found[key], nightly.get(trail.machine_class))


def path_of(trail: Trail) -> str:
    """The page of a case, below the site."""
    return f"cases/{trail.slug}.html"


def seconds(at: str) -> float | None:
    """Seconds since 1970 of a moment in ISO 8601; None when it is none."""
    try:
        return datetime.fromisoformat(at).timestamp()
    except ValueError:
        return None


def _row(stored: Stored, trail: Trail, found: Sequence[Step]) -> dict[str, Any]:
    """One line of the list: the first main metric that is known, and its last change."""
    name = next((one for one in main_metrics(trail) if any(value is not None for value in values_of(trail.points, one))), None)
    metric = trail.metrics[name] if name else None
    mine = [step for step in found if step.metric == name]
    last = mine[-1] if mine else None
    return {
        "trail": trail,
        "path": path_of(trail),
        "metric": name or "",
        "value": metric.value if metric else None,
        "unit": metric.unit if metric else "",
        "n": metric.n if metric else None,
        "runs": len(trail.points),
        "step": last,
        "commit": commit(stored.runs[trail.points[last.place].run])[:10] if last else "",
        "failed": trail.newest.failure,
    }


def _case_page(stored: Stored, trail: Trail, found: Sequence[Step], nightly: Nightly | None) -> Page:
    names, cuts, measured = ordered(trail.workload, trail.metrics), breaks(trail), trail.measured
    groups = _groups(trail, names, found, cuts, nightly)
    runs = [stored.runs[point.run] for point in trail.points]
    commits = [commit(run)[:10] for run in runs]
    columns = {"at": [seconds(point.at) for point in trail.points], "run": [run.path.name for run in runs], "commit": commits}
    return Page(
        path=path_of(trail),
        title=trail.newest.case.id,
        template="case.html.j2",
        section=LIST,
        scripts=("uplot.js", "plots.js"),
        data={"plots": [plot.to_json() for group in groups.values() for plot in group], "columns": columns},
        content={
            "trail": trail,
            "groups": _numbered(groups),
            "steps": [(step, commits[step.place], trail.points[step.place].at) for step in found],
            "cuts": [(trail.points[place].at, why) for place, why in cuts.items()],
            "metrics": [trail.metrics[name] for name in names],
            "tables": tables(measured) if measured else (),
        },
    )


def _groups(
    trail: Trail, names: Sequence[str], found: Sequence[Step], cuts: Mapping[int, str], nightly: Nightly | None
) -> dict[str, list[Plot]]:
    """The plots of a case by the heading they stand below, in their order."""
    drawn = {name: _plot(trail, name, [step for step in found if step.metric == name], cuts) for name in names}
    main = {name for name in names if is_main(trail.workload, name)}
    measured = trail.measured
    return {
        "main": [plot for name, plot in drawn.items() if name in main and plot.drawn],
        "paired": _nights(trail, nightly),
        "load": load_plots(measured) if measured else [],
        "spread": distribution_plots(measured) if measured else [],
        "rest": [plot for name, plot in drawn.items() if name not in main and plot.drawn],
    }


def _numbered(groups: Mapping[str, Sequence[Plot]]) -> dict[str, list[tuple[int, Plot]]]:
    """Each plot with its place among all of the page."""
    places = count()
    return {name: [(next(places), plot) for plot in group] for name, group in groups.items()}


def _plot(trail: Trail, name: str, found: Sequence[Step], cuts: Mapping[int, str]) -> Plot:
    metric = trail.metrics[name]
    marks = [
        Mark(
            x=seconds(trail.points[step.place].at) or math.nan,
            words=f"{pretty_change(step.ratio)}: {pretty(step.before, metric.unit)} to {pretty(step.after, metric.unit)}",
            kind=step.kind,
        )
        for step in found
    ]
    marks += [Mark(x=seconds(trail.points[place].at) or math.nan, words=why) for place, why in cuts.items()]
    samples = [point.values[name][1] if name in point.values else None for point in trail.points]
    return Plot(
        title=name,
        x=WHEN,
        y=Axis(title=name, unit=metric.unit),
        at="at",
        curves=_stretches(trail, name),
        columns={"n": samples, "commit": "commit", "run": "run"},
        marks=tuple(mark for mark in marks if not math.isnan(mark.x)),
        note="; ".join(filter(None, [about(name), f"better is {metric.better}" if metric.better else ""])),
    )


def _stretches(trail: Trail, name: str) -> tuple[Curve, ...]:
    """The values of a metric; those that were measured under other objectives are another curve, which nothing joins."""
    values = values_of(trail.points, name)
    starts = [0, *other_objectives(trail), len(values)]
    curves = []
    for first, last in pairwise(starts):
        label = name if first == 0 else f"{name}, objectives from {trail.points[first].at[:10]}"
        inside = [value if first <= place < last else None for place, value in enumerate(values)]
        curves.append(Curve(name=label, values=inside))
    return tuple(curves)


def _nights(trail: Trail, nightly: Nightly | None) -> list[Plot]:
    """Paired ratios against the pinned commit, with their 90 % intervals, where a history has them."""
    mine = [
        (metric, points) for (node_id, metric), points in (nightly.series if nightly else {}).items() if node_id == trail.node_id
    ]
    found = [one for one in (nightly.findings if nightly else ()) if one.kind != SILENT]
    return [
        _ratios(
            metric,
            points,
            [one.since for one in found if (one.node_id, one.metric) == (trail.node_id, metric)],
        )
        for metric, points in mine
    ]


def _ratios(metric: str, points: Sequence[Night], since: Sequence[str]) -> Plot:
    def ends(sign: int) -> list[float | None]:
        return [None if one.half_width is None else math.exp(one.log_ratio + sign * one.half_width) for one in points]

    return Plot(
        title=f"{metric}, paired against the pinned commit",
        x=WHEN,
        y=Axis(title="head / pin", unit="1"),
        at=[seconds(one.at) for one in points],
        curves=(Curve(name="head / pin", values=[math.exp(one.log_ratio) for one in points], low=ends(-1), high=ends(1)),),
        columns={"outcome": [one.outcome for one in points], "commit": [one.commit[:10] for one in points]},
        rules=(("the pin", 1.0),),
        marks=tuple(Mark(x=at, words="the level changed", kind=OTHER) for one in since if (at := seconds(one)) is not None),
        note="the band is the two-sided 90 % interval of each night",
    )
