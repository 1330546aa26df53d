"""Former names of what a session collects: baselines/renames.yaml and `was:` of its suites."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from lmbench.base.errors import ConfigError
from lmbench.base.printing import printable
from lmbench.plan.case import Case
from lmbench.plan.former import renamed
from lmbench.store.renames import RENAMES, Renames, read_renames


def session_renames(root: Path, cases: Sequence[Case], present: Collection[str] = ()) -> Renames:
    """Every rename known here, less those of names that are still in use; UsageError for a file with faults.

    `present` are node ids that were collected besides `cases`.
    """
    try:
        written = read_renames(root / RENAMES)
    except ConfigError as error:
        raise pytest.UsageError(printable(str(error))) from None
    return written.joined(renamed(cases)).without({*present, *(case.node_id for case in cases)})
