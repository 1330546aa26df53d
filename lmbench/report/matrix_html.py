"""The matrix as one HTML file: tables, charts and styles inside, no scripts, nothing fetched; every text is escaped."""

from __future__ import annotations

from lmbench.report import matrix_words
from lmbench.report.html import template
from lmbench.report.matrix import Matrix
from lmbench.report.matrix_chart import front_charts
from lmbench.report.matrix_columns import times
from lmbench.report.matrix_terms import term_table

TEMPLATE = "matrix.html.j2"


def render_matrix_html(matrix: Matrix) -> str:
    """The whole document."""
    return template(TEMPLATE).render(matrix=matrix, say=matrix_words, charts=front_charts, term_table=term_table, times=times)
