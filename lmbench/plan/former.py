"""`was:` of a suite's cases: the node ids that their cells had before, and faults in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lmbench.base.errors import Problem
from lmbench.plan.case import Case
from lmbench.suite.document import Document, dotted
from lmbench.suite.load import Suite


def former_ids(suite: str, cell: str, was: Iterable[str]) -> tuple[str, ...]:
    """The former node ids of one cell, `cell` being its axes as they stand in brackets."""
    return tuple(f"{_located(suite, old)}{'' if '[' in old else f'[{cell}]'}" for old in was)


def renamed(cases: Iterable[Case]) -> Mapping[str, str]:
    """Former node id -> the one it has now, of all that these cases declare."""
    return {old: case.node_id for case in cases for old in case.was}


def misnamed(suite: Suite, cases: Iterable[Case]) -> Iterator[Problem]:
    """Former names that are still in use in this suite, and those that two cells claim."""
    known = list(cases)
    present = {case.node_id for case in known}
    claimed: dict[str, Case] = {}
    for case in known:
        for old in case.was:
            if old in present:
                yield _problem(suite, case, f"{old}, which is a case of this suite", "a name that is not in use any more")
            elif old in claimed and claimed[old] is not case:
                hint = f"{old}, which {claimed[old].node_id} claims too"
                yield _problem(suite, case, hint, "a former name for one cell only")
            claimed.setdefault(old, case)


def _located(suite: str, old: str) -> str:
    return old if "::" in old else f"{suite}::{old}"


def _problem(suite: Suite, case: Case, found: str, expected: str) -> Problem:
    place = Document(places=dict(suite.places)).place(("cases", case.name, "was"), suite.shown_as)
    return Problem(file=place.file, line=place.line, key=dotted(("cases", case.name, "was")), found=found, expected=expected)
