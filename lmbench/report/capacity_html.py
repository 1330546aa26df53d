"""A plan as one HTML file: tables, charts and styles inside, no scripts, nothing fetched; every text is escaped."""

from __future__ import annotations

from lmbench.report import capacity_words
from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_charts import capacity_charts
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import detail_tables
from lmbench.report.html import template

TEMPLATE = "capacity.html.j2"


def render_capacity_html(report: CapacityReport) -> str:
    """The whole document."""
    return template(TEMPLATE).render(
        report=report,
        say=capacity_words,
        good=bool(report.kept) and reliable(report.kept[0]) is not False,
        options=option_table(report),
        charts=capacity_charts(report),
        tables=detail_tables(report),
    )
