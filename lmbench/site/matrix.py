"""The compression matrix and its Pareto fronts, as reports have them, in tables that sort."""

from __future__ import annotations

from lmbench.report import matrix_words
from lmbench.report.matrix import build_matrix
from lmbench.report.matrix_chart import front_charts
from lmbench.report.matrix_columns import times
from lmbench.report.matrix_terms import term_table
from lmbench.site.nouns import Page, Stored


def page(stored: Stored) -> Page:
    """Every model whose cells were measured, from the newest record of each case."""
    return Page(
        path="matrix.html",
        title=matrix_words.TITLE,
        template="matrix_page.html.j2",
        content={
            "matrix": build_matrix(stored.newest_runs),
            "say": matrix_words,
            "charts": front_charts,
            "term_table": term_table,
            "times": times,
        },
    )
