"""A case that other plugins run again (reruns, repeats): its last attempt counts, the earlier ones stay in its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lmbench.compare.verdicts import Verdict, case_outcome
from lmbench.plan.case import Case
from lmbench.record.record import Attempt, Record

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

LONGEST_WHY = 300


def latest(run: Run, case: Case, execute: Callable[[], Record]) -> Record:
    """The record of one more run of `case`. What the session has of earlier ones moves into `attempts`.

    So there is one record and one set of verdicts per case. Ctrl-C leaves the earlier attempt as it is; a case that is
    skipped this time has no record any more.
    """
    try:
        record = execute()
    except pytest.skip.Exception:
        _taken_out(run, case.node_id)
        raise
    attempts = _taken_out(run, case.node_id)
    if not attempts:
        return record
    return replace(record, attempts=attempts, notes=(*record.notes, _note(attempts)))


def _taken_out(run: Run, node_id: str) -> tuple[Attempt, ...]:
    old = run.records.pop(node_id, None)
    verdicts = [verdict for verdict in run.verdicts if verdict.node_id == node_id]
    run.verdicts = [verdict for verdict in run.verdicts if verdict.node_id != node_id]
    session = run.config._benchmarksession  # type: ignore[attr-defined]
    session.benchmarks[:] = [bench for bench in session.benchmarks if bench.fullname != node_id]
    return () if old is None else (*old.attempts, _attempt(old, verdicts))


def _attempt(record: Record, verdicts: list[Verdict]) -> Attempt:
    outcome = case_outcome(verdicts) if verdicts else record.status
    said = "; ".join(verdict.why for verdict in verdicts if verdict.outcome == outcome)
    why = f"{record.failure.kind}: {record.failure.message}" if record.failure else said if outcome != "ok" else ""
    values = {name: metric.value for name, metric in record.metrics.items() if metric.value is not None}
    return Attempt(outcome=outcome, why=why[:LONGEST_WHY], started_at=record.started_at, wall_s=record.wall_s, values=values)


def _note(attempts: tuple[Attempt, ...]) -> str:
    listing = "; ".join(
        f"attempt {number}: {attempt.outcome}" + (f" ({attempt.why})" if attempt.why else "")
        for number, attempt in enumerate(attempts, start=1)
    )
    return f"attempt {len(attempts) + 1} of this case in one session; only this one counts. {listing}"
