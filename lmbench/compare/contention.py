"""From which contention on a single run's times and rates decide nothing, and which runs to prefer; pure.

Contention only ever lengthens a time. So what is no slower than an uncontended stored run although the CPUs were contended is
ok; everything else that a contended run seems to show is inconclusive: slower may be the neighbours' doing, and faster cannot
be. Of stored runs that were all contended, only one thing can be learned: a run that is slower still has regressed.
Sizes, quality and memory are not affected.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmbench.measure.contention import CONTENDED, Contention, contention_of
from lmbench.record.record import Record

BOUND = CONTENDED
REMEDY = "stop other work on this machine and run it again, or let the paired gate decide (--lmbench-gate)"


def of_record(record: Record) -> Contention:
    """How contended the CPUs were while `record` was measured."""
    return contention_of(record.resources)


def calm(records: Sequence[Record], bound: float = BOUND) -> tuple[Record, ...]:
    """Those whose CPUs were not contended, or where that is not known, in order."""
    return tuple(record for record in records if not of_record(record).beyond(bound))


def preferred(stored: Sequence[Record], bound: float = BOUND) -> tuple[Record, ...]:
    """Stored runs to compare times and rates with: the uncontended ones, or all where there are none."""
    return calm(stored, bound) or tuple(stored)
