"""A plan as files, each written atomically."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmbench.base.files import write_atomically
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_html import render_capacity_html
from lmbench.report.capacity_markdown import render_capacity_markdown

FORMATS = {"capacity.md": render_capacity_markdown, "capacity.html": render_capacity_html}


def write_capacity(reports: Sequence[CapacityReport], folder: Path) -> list[Path]:
    """Write `<folder>/capacity.md` and `.html`; return the paths."""
    for name, render in FORMATS.items():
        write_atomically(folder / name, render(reports))
    return [folder / name for name in FORMATS]
