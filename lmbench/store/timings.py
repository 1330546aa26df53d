"""How long cases took and when, out of stored runs: just that, so that a session can know it before it starts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lmbench.base.errors import StoreError
from lmbench.plan.case import Case
from lmbench.plan.forecast import Timing
from lmbench.record.record import FULL, OK
from lmbench.store.files import IMPORTED, list_all
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.store.runs import read_json_file

TIMES = 3
"""Runs of a case that say what it takes."""
MAX_FILES = 20
LONGEST_S = 30 * 86_400.0
"""A longer case is none: such a number in a stored file is damage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Earlier runs by node id, and files that could not be read."""

    table: Mapping[str, Sequence[Timing]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def stored_timings(
    storage: Path,
    wanted: Collection[str],
    machine_class: str,
    *,
    machine_id: str | None = None,
    renames: Renames = NO_RENAMES,
    thorough: bool = False,
) -> Timings:
    """Runs of every case that the newest files of `storage` hold, regressed and failed ones included.

    Files are read newest first until each wanted case has TIMES runs, and no more than MAX_FILES. A `thorough` search
    goes on until each has one, through all files: then a case without a run was never measured.
    """
    found: dict[str, list[Timing]] = {}
    problems = []
    files = [file.path for file in list_all(storage, machine_id) if file.state != IMPORTED]
    for index, path in enumerate(files):
        least = min((_good(found.get(name, ())) for name in wanted), default=TIMES)
        if least >= (TIMES if index < MAX_FILES else 1) or (index >= MAX_FILES and not thorough):
            break
        try:
            timings = list(_timings(read_json_file(path), machine_class))
        except StoreError as error:
            problems.append(str(error))
            continue
        for timing in timings:
            found.setdefault(renames.current(timing.case.node_id), []).append(timing)
    return Timings(table=found, problems=tuple(problems))


def _good(timings: Sequence[Timing]) -> int:
    return sum(not one.failed for one in timings)


def _timings(run: Any, machine_class: str) -> Iterator[Timing]:
    """What can be read of the records in one file; a damaged record is nobody's time."""
    for record in _records(run):
        try:
            if record["machine_class"] != machine_class or record["mode"] != FULL:
                continue
            whole, worker = _seconds(record.get("elapsed_s")), _seconds(record["wall_s"])
            seconds = worker if whole is None else whole
            if seconds is not None:
                yield Timing(
                    case=Case.from_json(record["case"]),
                    seconds=seconds,
                    at_s=datetime.fromisoformat(record["started_at"]).timestamp(),
                    failed=record["status"] != OK,
                    worker_only=whole is None,
                )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue


def _records(run: Any) -> Iterator[Any]:
    if not isinstance(run, dict):
        return
    benchmarks, own = run.get("benchmarks"), run.get("lmbench")
    for entry in benchmarks if isinstance(benchmarks, list) else ():
        extra = entry.get("extra_info") if isinstance(entry, dict) else None
        if isinstance(extra, dict) and isinstance(extra.get("lmbench"), dict):
            yield extra["lmbench"]
    failed = own.get("failed") if isinstance(own, dict) else None
    yield from (one for one in (failed if isinstance(failed, list) else ()) if isinstance(one, dict))


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if 0 <= value <= LONGEST_S else None
