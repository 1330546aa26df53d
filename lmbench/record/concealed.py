"""A record without secrets, whatever its parts quote: messages of a server, its metrics, the end of a log, a traceback."""

from __future__ import annotations

from dataclasses import replace

from lmbench.base.secrets import conceal, concealed
from lmbench.record.record import Failure, Record


def concealed_record(record: Record) -> Record:
    """`record` with every text masked that it took from elsewhere; its case is what the user declared, and stays."""
    return replace(
        record,
        metrics={name: replace(one, reason=conceal(one.reason)) for name, one in record.metrics.items()},
        subject=concealed(record.subject),
        resources=concealed(record.resources),
        details=concealed(record.details),
        notes=tuple(map(conceal, record.notes)),
        failure=None if record.failure is None else _failure(record.failure),
    )


def _failure(failure: Failure) -> Failure:
    return Failure(kind=failure.kind, message=conceal(failure.message), traceback=conceal(failure.traceback))
