"""Where the files of `lmbench load` go: a run never replaces those of one that came further than it did.

<out>/load.md, .html, .csv, .jsonl     the last run that came furthest: complete, else interrupted, else failed
<out>/interrupted/load.*, failed/...   what a run left that came less far; its request log is in requests/ beside them
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.base.files import why, write_atomically
from lmbench.compare.judging import compare_case
from lmbench.load.artifacts import NOT_KEPT, artifacts_of
from lmbench.load.jtl import JtlOptions, write_jtl
from lmbench.load.request_log import read_request_log
from lmbench.record.record import Record
from lmbench.report.write import write_run as write_reports
from lmbench.store.journal import journal_text
from lmbench.store.rescue import keep
from lmbench.store.runs import RUN_SCHEMA_VERSION, StoredRun, read_run

STORED, REPORT, REQUESTS, VERDICTS = "load.jsonl", "load.html", "requests", "verdicts.json"
COMPLETE, INTERRUPTED, FAILED = "complete", "interrupted", "failed"
RANKS = (FAILED, INTERRUPTED, COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a run, and a sentence about those of an earlier one that were left as they are; empty when none were."""

    paths: tuple[Path, ...]
    record: Path | None
    kept: str = ""
    problems: tuple[str, ...] = ()
    """What could not be written, and where the record is then."""


def outcome_of(record: Record) -> str:
    """How far a load run came."""
    if record.failure is not None:
        return FAILED
    return INTERRUPTED if record.details.get("interrupted") else COMPLETE


def write_run(run: StoredRun, out: Path, jtl: Path | None) -> Written:
    """Write reports, the record, the request log and the JMeter file of `run`, which holds one record."""
    (record,) = run.records
    outcome, (former, since) = outcome_of(record), _former(out)
    if former is None and outcome == FAILED and (out / VERDICTS).exists():
        former, since = COMPLETE, ""  # of a session of pytest: a failed run would write its own verdicts there
    lesser = former is not None and RANKS.index(outcome) < RANKS.index(former)
    folder = out / outcome if lesser else out
    problems: list[str] = []
    log = _settled(record, out, folder, problems)
    record = replace(record, details={**record.details, "request_log": None if log is None else str(log)})
    run = replace(run, records=(record,))
    stored = _stored(run, folder / STORED, problems)
    reports = write_reports(run, compare_case(record, ()) if record.failure else (), folder)
    paths = reports.paths
    if jtl is not None:
        place = folder / jtl.name if lesser and jtl.exists() else jtl
        if _jtl(record, log, place, problems):
            paths.append(place)
    problems += [note for note in record.notes if note.startswith(NOT_KEPT)]
    kept = f"kept: the files in {out} of the {former} run{since}, since this one {_words(outcome)}" if lesser else ""
    paths += [] if log is None else [log]
    return Written(paths=tuple(paths), record=stored, kept=kept, problems=(*problems, *reports.problems))


def _stored(run: StoredRun, path: Path, problems: list[str]) -> Path | None:
    """Write the record; where its place takes nothing, in the next that does. None where nothing can be written."""
    text = journal_text(_info(run), run.records)
    try:
        write_atomically(path, text)
    except OSError as error:
        kept = keep(f"{run.id.replace(':', '')}.jsonl", text)
        way = f"it is kept in {kept}: lmbench report {kept}" if kept else "it could be kept nowhere else either"
        problems.append(f"record: {path} cannot be written ({why(error)}); {way}")
        return kept
    return path


def _jtl(record: Record, log: Path | None, place: Path, problems: list[str]) -> bool:
    """Write the JMeter file from the request log; False where that cannot be done."""
    if log is None:
        if record.failure is None:
            problems.append(f"--jtl: {place} is not written: there is no request log to make it of")
        return False
    options = JtlOptions(epoch_s=record.details["epoch_s"], label=record.case.model.name, url=_url(record))
    try:
        write_jtl(place, read_request_log(log).logs, options)
    except (OSError, StoreError) as error:
        problems.append(f"--jtl: {place} cannot be written ({why(error) if isinstance(error, OSError) else error})")
        return False
    return True


def _former(out: Path) -> tuple[str | None, str]:
    """How far the run in `out` came and when it began; a report whose record is not there counts as a complete run's."""
    try:
        run = read_run(out / STORED)
        (record,) = run.records
    except (StoreError, ValueError):
        return (COMPLETE if (out / REPORT).exists() else None), ""
    return outcome_of(record), f" of {record.started_at}"


def _settled(record: Record, out: Path, folder: Path, problems: list[str]) -> Path | None:
    """The request log under its final name; that of a failed run too, as far as it came."""
    files = artifacts_of(record.case, out / REQUESTS)
    if outcome_of(record) == COMPLETE:
        log = record.details.get("request_log")
        return None if log is None else Path(log)
    had = files.partial_log.exists()
    try:
        log = files.settle(folder / REQUESTS)
    except OSError as error:
        problems.append(f"the request log stays at {files.partial_log}: {folder / REQUESTS} cannot be written ({why(error)})")
        return files.partial_log if had else None
    return log if had else None


def _info(run: StoredRun) -> dict[str, object]:
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "run": {**run.info, "id": run.id, "complete": run.complete},
        "environment": dict(run.environment),
        "machine_class": run.machine_class,
        "collected": [record.case.node_id for record in run.records],
    }


def _url(record: Record) -> str:
    return str(record.case.model.options["url"])


def _words(outcome: str) -> str:
    return "failed" if outcome == FAILED else "was interrupted"
