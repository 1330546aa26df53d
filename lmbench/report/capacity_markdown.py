"""A plan as Markdown, for a ticket or a pull request: warnings and the answer first, then every table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_options import option_table
from lmbench.report.capacity_tables import detail_tables
from lmbench.report.capacity_words import LEGEND, TITLE, asked, sureness, verdict, warnings
from lmbench.report.markdown import escape
from lmbench.report.tables import Table


def render_capacity_markdown(report: CapacityReport) -> str:
    """The whole document."""
    lead, *others = verdict(report)
    parts = [f"# {TITLE}", "", *_paragraphs(filter(None, [report.plan.request.description]))]
    parts += [line for text in warnings(report) for line in (f"> **Warning:** {escape(text)}", "")]
    parts += [f"**{escape(lead)}**", "", *(f"- {escape(text)}" for text in others), ""]
    parts += [*_paragraphs(sureness(report)), *_paragraphs(asked(report.plan))]
    options = option_table(report)
    for table in filter(None, [options, *detail_tables(report)]):
        parts += _table(table)
    return "\n".join([*parts, *(f"- {escape(text)}" for text in LEGEND)]) + "\n"


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (escape(text), "")


def _table(table: Table) -> Iterator[str]:
    yield from (f"## {escape(table.title)}", "")
    yield f"| {' | '.join(map(escape, table.head))} |"
    yield "|" + "---|" * len(table.head)
    yield from (f"| {' | '.join(map(escape, row))} |" for row in table.rows)
    yield ""
    yield from (f"- {escape(note)}" for note in table.notes)
    yield ""
