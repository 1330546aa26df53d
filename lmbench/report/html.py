"""Reports as one HTML file each: styles and charts inside, no scripts, nothing fetched; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lmbench.compare.verdicts import NEW, OK
from lmbench.report.carried import Carried
from lmbench.report.figures import charts, tables
from lmbench.report.flatten import leaves
from lmbench.report.layout import about
from lmbench.report.model import CaseView, Report, Row

FAILING = ("error", "regressed")
PLAIN = "benchmark tests"


def render_html(report: Report) -> str:
    """The whole document."""
    return template("report.html.j2").render(
        report=report,
        run=report.run,
        environment=list(leaves(report.run.environment)),
        harness=list(leaves(report.run.harness or {})),
        attention=[view for view in report.cases if view.outcome not in ("", OK, NEW)],
        glances=list(glances(report)),
        charts=charts,
        tables=tables,
        about=about,
        anchor=_anchors(report).__getitem__,
        is_open=lambda view: len(report.cases) <= 3 or view.outcome in FAILING,
        first_rows=lambda view: [row for row in view.rows if row.main or row.outcome in FAILING],
        loud=lambda view: [row for row in view.rows if row.outcome not in ("", OK) and (row.main or row.outcome in FAILING)],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The main metrics of all cases of one workload, one case a row; a cell is None where a case lacks the metric."""

    workload: str
    names: tuple[str, ...]
    rows: tuple[tuple[CaseView, Carried | None, tuple[Row | None, ...]], ...]
    """The case, where its values come from when it is not this run, and the values."""


def glances(report: Report) -> Iterator[Glance]:
    """One table per workload, in the order of the suite; a case without values of its own is there with its last ones."""
    groups: dict[str, list[tuple[CaseView, CaseView]]] = {}
    for view in report.cases:
        shown = view if view.rows or view.last is None else view.last
        if shown.rows:
            workload = shown.record.case.workload if shown.record else PLAIN
            groups.setdefault(workload, []).append((view, shown))
    for workload, views in groups.items():
        names = tuple(dict.fromkeys(row.name for _, shown in views for row in shown.rows if row.main))
        tables = [{row.name: row for row in shown.rows} for _, shown in views]
        rows = tuple(
            (view, shown.carried, tuple(table.get(name) for name in names))
            for (view, shown), table in zip(views, tables, strict=True)
        )
        yield Glance(workload=workload, names=names, rows=rows)


def _anchors(report: Report) -> dict[str, str]:
    return {view.node_id: f"case-{index}" for index, view in enumerate(report.cases, start=1)}


@cache
def template(name: str) -> Template:
    """A template of this room; whatever is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("lmbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
