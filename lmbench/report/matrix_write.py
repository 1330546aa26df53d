"""The matrix as files, all of them or none."""

from __future__ import annotations

from pathlib import Path

from lmbench.base.files import write_together
from lmbench.report.matrix import Matrix
from lmbench.report.matrix_html import render_matrix_html
from lmbench.report.matrix_markdown import render_matrix_markdown

FORMATS = {"matrix.md": render_matrix_markdown, "matrix.html": render_matrix_html}


def write_matrix(matrix: Matrix, folder: Path) -> list[Path]:
    """Write `<folder>/matrix.md` and `.html`; return the paths."""
    return write_together({folder / name: render(matrix) for name, render in FORMATS.items()})
