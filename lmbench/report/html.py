"""Reports as one HTML file each: styles and charts inside, no scripts, nothing fetched; every text is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from lmbench.compare.verdicts import OK
from lmbench.report.figures import charts, tables
from lmbench.report.flatten import leaves
from lmbench.report.layout import about
from lmbench.report.model import Report

FAILING = ("error", "regressed")


def render_html(report: Report) -> str:
    """The whole document."""
    return _template().render(
        report=report,
        run=report.run,
        environment=list(leaves(report.run.environment)),
        harness=list(leaves(report.run.harness or {})),
        attention=[view for view in report.cases if view.outcome not in ("", OK)],
        charts=charts,
        tables=tables,
        about=about,
        anchor=_anchors(report).__getitem__,
        is_open=lambda view: len(report.cases) <= 3 or view.outcome in FAILING,
        first_rows=lambda view: [row for row in view.rows if row.main or row.outcome in FAILING],
        loud=lambda view: [row for row in view.rows if row.outcome not in ("", OK) and (row.main or row.outcome in FAILING)],
    )


def _anchors(report: Report) -> dict[str, str]:
    return {view.node_id: f"case-{index}" for index, view in enumerate(report.cases, start=1)}


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("lmbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
