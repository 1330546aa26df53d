"""A plan as Markdown, for a ticket or a pull request: warnings and the answer first, then every table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_mix import by_model, together, total_table
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import detail_tables
from lmbench.report.capacity_words import LEGEND, TITLE, asked, heading, sureness, verdict, warnings
from lmbench.report.markdown import escape
from lmbench.report.table_text import markdown


def render_capacity_markdown(reports: Sequence[CapacityReport]) -> str:
    """The whole document, model after model where there are several."""
    parts = [f"# {TITLE}", "", *_paragraphs(filter(None, [reports[0].plan.request.description]))]
    mix = by_model(reports)
    if mix:
        parts += [f"**{escape(together(reports))}**", ""]
    for report in reports:
        parts += _model(report)
    if mix:
        parts += markdown(total_table(reports))
    return "\n".join([*parts, *(f"- {escape(text)}" for text in LEGEND)]) + "\n"


def _model(report: CapacityReport) -> list[str]:
    lead, *others = verdict(report)
    parts = [f"# {escape(heading(report))}", ""] if report.model else []
    parts += [line for text in warnings(report) for line in (f"> **Warning:** {escape(text)}", "")]
    parts += [f"**{escape(lead)}**", "", *(f"- {escape(text)}" for text in others), ""]
    parts += [*_paragraphs(sureness(report)), *_paragraphs(asked(report.plan))]
    options = option_table(report)
    for table in filter(None, [options, *detail_tables(report)]):
        parts += markdown(table)
    return parts


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (escape(text), "")
