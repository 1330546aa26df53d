"""What a reader must know of cells that computed with different numbers of threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lmbench.record.record import OK, Record
from lmbench.record.thread_use import differing, threads_of

MARK = "\N{DOUBLE DAGGER}"
"""After a ratio of two cells with different numbers of threads."""
NOT_ALIKE = "times and rates of cells with different numbers of threads do not show which engine is faster"


def of_case(records: Iterable[Record]) -> str:
    """A sentence on a table of cases, where cells of one case ran on different numbers of threads; else empty.

    Cases that differ from each other do not count: nobody compares a training step with a ramp.
    """
    cells: dict[tuple[str, str], list[tuple[str, Record]]] = {}
    for record in records:
        if record.status == OK:
            cells.setdefault((record.case.suite, record.case.name), []).append((_cell(record), record))
    text = "; ".join(filter(None, map(differing, cells.values())))
    return f"threads differ ({text}): {NOT_ALIKE}" if text else ""


def of_cells(cells: Sequence[tuple[str, Record]]) -> str:
    """The same of a table of named cells, whose ratios are marked."""
    text = differing(cells)
    return f"threads differ ({text}): {NOT_ALIKE}; their ratios are marked {MARK}" if text else ""


def apart(one: Record | None, other: Record | None) -> bool:
    """Whether the two are known to have computed with different numbers of threads."""
    counts = [None if record is None else threads_of(record) for record in (one, other)]
    return None not in counts and counts[0] != counts[1]


def _cell(record: Record) -> str:
    return record.case.node_id.partition("::")[2] or record.case.node_id
