"""A plan as one HTML file: tables, charts and styles inside, no scripts, nothing fetched; every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmbench.report import capacity_words
from lmbench.report.capacity import CapacityReport, reliable
from lmbench.report.capacity_charts import capacity_charts
from lmbench.report.capacity_mix import by_model, together, total_table
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import detail_tables
from lmbench.report.html import template

TEMPLATE = "capacity.html.j2"


def render_capacity_html(reports: Sequence[CapacityReport]) -> str:
    """The whole document, model after model where there are several."""
    return template(TEMPLATE).render(
        reports=[_model(one) for one in reports],
        first=reports[0],
        say=capacity_words,
        together=together(reports) if by_model(reports) else "",
        kept=all(one.kept for one in reports),
        total=total_table(reports) if by_model(reports) else None,
    )


def _model(report: CapacityReport) -> dict[str, Any]:
    return {
        "report": report,
        "good": bool(report.kept) and reliable(report.kept[0]) is not False,
        "options": option_table(report),
        "charts": capacity_charts(report),
        "tables": detail_tables(report),
    }
