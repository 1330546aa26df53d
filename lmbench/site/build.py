"""Every page of the site, in the order of its navigation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lmbench.report.capacity import CapacityReport
from lmbench.report.training_plan import TrainingReport
from lmbench.site import environment, load, matrix, method, overview, plan, roofline, steps, training, trends
from lmbench.site.frame import write_site
from lmbench.site.nouns import Page, Stored


def build_site(
    stored: Stored,
    plans: Sequence[CapacityReport],
    folder: Path,
    *,
    made_at: str,
    trainings: Sequence[TrainingReport] = (),
) -> list[Path]:
    """Write the site below `folder`; return the paths of its files. `made_at` is when, in ISO 8601."""
    return write_site(_pages(stored, plans, trainings), folder, made_at=made_at, runs=len(stored.runs))


def _pages(stored: Stored, plans: Sequence[CapacityReport], trainings: Sequence[TrainingReport]) -> Iterator[Page]:
    changed = steps.steps(stored)
    yield overview.page(stored, changed, plans)
    yield from trends.pages(stored, changed)
    yield matrix.page(stored)
    yield load.page(stored)
    yield training.page(stored, trainings)
    yield roofline.page(stored)
    yield from plan.pages(plans)
    yield environment.page(stored)
    yield method.page()
