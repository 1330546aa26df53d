"""A plan as files, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lmbench.base.files import write_together
from lmbench.report.capacity import CapacityReport
from lmbench.report.capacity_html import render_capacity_html
from lmbench.report.capacity_markdown import render_capacity_markdown

FORMATS = {"capacity.md": render_capacity_markdown, "capacity.html": render_capacity_html}


def write_capacity(reports: Sequence[CapacityReport], folder: Path) -> list[Path]:
    """Write `<folder>/capacity.md` and `.html`; return the paths."""
    return write_together({folder / name: render(reports) for name, render in FORMATS.items()})
