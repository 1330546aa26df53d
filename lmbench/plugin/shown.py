"""pytest's reports as they may be shown and kept: without secrets, and a suite's without what a terminal would obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from lmbench.base.printing import printable
from lmbench.base.secrets import conceal, values

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def shown(report: Report, *, of_case: bool) -> Report:
    """`report` itself, its texts replaced where they hold what must not be shown.

    A traceback of pytest's own keeps its colours where there is nothing to mask; what a plain test prints is its author's.
    """
    clean = printable if of_case else conceal
    if not of_case and not values():
        return report
    report.longrepr = _longrepr(report, clean)
    report.sections = [(title, clean(text)) for title, text in report.sections]
    if isinstance(report, pytest.TestReport):
        pairs = report.user_properties
        report.user_properties = [(name, clean(value) if isinstance(value, str) else value) for name, value in pairs]
    return report


def _longrepr(report: Report, clean: Callable[[str], str]) -> Any:
    found = report.longrepr
    if isinstance(found, tuple):  # a skip: file, line, reason
        path, line, reason = found
        return path, line, clean(reason)
    if found is None:
        return None
    if isinstance(found, str):
        return clean(found)
    text = str(found)
    return found if clean(text) == text else clean(text)
