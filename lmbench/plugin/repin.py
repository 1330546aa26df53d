"""The option that derives objectives anew."""

from __future__ import annotations

import pytest

OPTION = "--lmbench-repin"


def add_repin(group: pytest.OptionGroup) -> None:
    """Register the option."""
    group.addoption(
        OPTION,
        action="store_true",
        help="derive the SLOs and first rates that suites leave open from this run's own measurement, in place of those of "
        "stored runs; what depends on them is incomparable with runs before",
    )
