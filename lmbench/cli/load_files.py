"""Where the files of `lmbench load` go: a run never replaces those of one that came further than it did.

<out>/load.md, .html, .csv, .jsonl     the last run that came furthest: complete, else interrupted, else failed
<out>/interrupted/load.*, failed/...   what a run left that came less far; its request log is in requests/ beside them
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.base.files import write_atomically
from lmbench.compare.judging import compare_case
from lmbench.load.artifacts import artifacts_of
from lmbench.load.jtl import JtlOptions, write_jtl
from lmbench.load.request_log import read_request_log
from lmbench.record.record import Record
from lmbench.report.write import write_reports
from lmbench.store.journal import journal_text
from lmbench.store.runs import RUN_SCHEMA_VERSION, StoredRun, read_run

STORED, REPORT, REQUESTS, VERDICTS = "load.jsonl", "load.html", "requests", "verdicts.json"
COMPLETE, INTERRUPTED, FAILED = "complete", "interrupted", "failed"
RANKS = (FAILED, INTERRUPTED, COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The files of a run, and a sentence about those of an earlier one that were left as they are; empty when none were."""

    paths: tuple[Path, ...]
    record: Path
    kept: str = ""


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
    log = _settled(record, out, folder)
    record = replace(record, details={**record.details, "request_log": None if log is None else str(log)})
    run = replace(run, records=(record,))
    paths = write_reports(run, compare_case(record, ()) if record.failure else (), folder)
    write_atomically(folder / STORED, journal_text(_info(run), run.records))
    if jtl is not None and log is not None:
        place = folder / jtl.name if lesser and jtl.exists() else jtl
        options = JtlOptions(epoch_s=record.details["epoch_s"], label=record.case.model.name, url=_url(record))
        write_jtl(place, read_request_log(log).logs, options)
        paths.append(place)
    kept = f"kept: the files in {out} of the {former} run{since}, since this one {_words(outcome)}" if lesser else ""
    return Written(paths=(*paths, *(() if log is None else (log,))), record=folder / STORED, kept=kept)


def _former(out: Path) -> tuple[str | None, str]:
    """How far the run in `out` came and when it began; a report whose record is not there counts as a complete run's."""
    try:
        run = read_run(out / STORED)
        (record,) = run.records
    except (StoreError, ValueError):
        return (COMPLETE if (out / REPORT).exists() else None), ""
    return outcome_of(record), f" of {record.started_at}"


def _settled(record: Record, out: Path, folder: Path) -> Path | None:
    """The request log under its final name; that of a failed run too, as far as it came."""
    files = artifacts_of(record.case, out / REQUESTS)
    if outcome_of(record) == COMPLETE:
        log = record.details.get("request_log")
        return None if log is None else Path(log)
    had = files.partial_log.exists()
    log = files.settle(folder / REQUESTS)
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
