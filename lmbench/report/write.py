"""Reports as files: one set per suite (Markdown, HTML, CSV), each written atomically, from a run or from stored files alone."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.base.files import IN_THE_WAY, UNWRITABLE, exclusive_if_possible, why, write_atomically
from lmbench.compare.verdicts import Verdict
from lmbench.report.csv_rows import render_csv
from lmbench.report.gate_facts import facts_of
from lmbench.report.html import render_html
from lmbench.report.markdown import render_markdown
from lmbench.report.model import Report, build_reports, suites_of
from lmbench.report.scope import Scope, scope_of
from lmbench.report.verdict_files import render_comment, verdicts_json
from lmbench.store.latest import DATA, JOURNALS, Kept, from_journals, kept_of, newest, read_latest, write_latest
from lmbench.store.renames import Renames, renames_of
from lmbench.store.runs import StoredRun, read_run
from lmbench.suite.slugs import slug_of

FORMATS: Mapping[str, Callable[[Report], str]] = {".md": render_markdown, ".html": render_html, ".csv": render_csv}
OF_A_FOLDER = (*UNWRITABLE, *IN_THE_WAY, errno.ENOENT)


@dataclass(slots=True, kw_only=True)
class Written:
    """The files of one run, suite by suite, and what could not be written or read."""

    paths: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    """Numbers of the failures noted that concern the whole folder or disk."""

    def file(self, path: Path, text: str) -> None:
        """Write one file; a failure is noted, so that it costs no other file."""
        try:
            write_atomically(path, text)
        except OSError as error:
            self.fails(path, error)
            return
        self.paths.append(path)

    def fails(self, path: Path, error: OSError) -> None:
        """Note a file that could not be written; what keeps a whole folder from being written is noted once."""
        if error.errno in OF_A_FOLDER:
            if error.errno in self.refused:
                return
            self.refuse(error.errno)
        expected = "expected a folder that takes reports; see --lmbench-reports"
        self.problems.append(f"{path}: cannot be written ({why(error)}); {expected}")

    def refuse(self, number: int) -> None:
        """Let other failures of this kind go without a word: one was noted."""
        self.refused |= {number, *(IN_THE_WAY if number in IN_THE_WAY else ())}


def write_run(run: StoredRun, verdicts: Sequence[Verdict], folder: Path, noted: Written | None = None) -> Written:
    """Write `<folder>/<suite>.md`, `.html` and `.csv` for every suite of the run, and `verdicts.json`; a gated run also
    gets `comment.md`, for a pull request.

    Cases that this run has no values of are shown with those of the runs whose reports lie in `folder`, so that a report
    is never replaced by a lesser one; the newest values of each case are kept in `<folder>/data/`. Sessions that end at the
    same time write one after the other. `noted` is what was found of this folder before.
    """
    written = noted or Written()
    with exclusive_if_possible(folder):
        _write_all(run, verdicts, folder, written)
    return written


def _write_all(run: StoredRun, verdicts: Sequence[Verdict], folder: Path, written: Written) -> None:
    scope = scope_of(run)
    kept = {suite: _earlier(run, scope.of(suite), suite, folder, written) for suite in suites_of(run, verdicts)}
    for report in build_reports(run, verdicts, kept):
        for suffix, render in FORMATS.items():
            written.file(folder / f"{report.slug}{suffix}", render(report))
    for suite, entries in kept.items():
        _keep(run, scope.of(suite), suite, entries, folder, written)
    facts = facts_of(run.info)
    if verdicts or facts is not None:
        _verdict_file(run, verdicts, folder, written)
    if facts is not None:
        written.file(folder / "comment.md", render_comment(run, verdicts, facts))


def write_verdicts(run: StoredRun, verdicts: Sequence[Verdict], folder: Path) -> Written:
    """Write `verdicts.json` alone, for a session that has no suite to report on."""
    written = Written()
    _verdict_file(run, verdicts, folder, written)
    return written


def write_reports(run: StoredRun, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """As `write_run`; raises StoreError for what could not be written, once everything else is."""
    written = write_run(run, verdicts, folder)
    if written.problems:
        raise StoreError("; ".join(written.problems))
    return written.paths


def rebuild(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Write the reports of stored runs (JSON files or journals) with the verdicts stored in them.

    Where two runs hold the same suite, the report is that of the newer run, with the older one's values of cases that
    the newer one did not measure. Raises StoreError for a file that cannot be read, and, once everything else is written,
    for what cannot be.
    """
    written: dict[Path, None] = {}
    problems: dict[str, None] = {}
    for run in sorted(map(read_run, paths), key=lambda run: str(run.info.get("started_at") or "")):
        verdicts = [Verdict.from_json(data) for data in run.verdicts]
        found = write_run(run, verdicts, folder)
        written.update(dict.fromkeys(found.paths))
        problems.update(dict.fromkeys(found.problems))
    if problems:
        raise StoreError("; ".join(problems))
    return list(written)


def _data(folder: Path, suite: str) -> Path:
    return folder / DATA / f"{slug_of(suite)}.json"


def _earlier(run: StoredRun, scope: Scope, suite: str, folder: Path, written: Written) -> Mapping[str, Kept]:
    """The newest values of the suite's cases before this run."""
    path = _data(folder, suite)
    try:
        entries = read_latest(path)
    except StoreError as error:
        written.problems.append(str(error))
        entries = []
    measured = {record.case.node_id for record in run.records if record.failure is None}
    if any(name not in measured for name in scope.declared):
        try:
            journals = from_journals(folder / JOURNALS, path, run.id)
        except OSError as error:
            written.problems.append(f"{folder / JOURNALS}: cannot be read ({why(error)}); it may hold values of other cases")
            journals = []
        entries = [*(entry for entry in journals if entry.node_id.partition("::")[0] == suite), *entries]
    renames = Renames(table=renames_of(run.info))
    return newest(replace(entry, node_id=renames.current(entry.node_id)) for entry in entries)


def _keep(run: StoredRun, scope: Scope, suite: str, earlier: Mapping[str, Kept], folder: Path, written: Written) -> None:
    path = _data(folder, suite)
    mine = [entry for entry in kept_of(run) if entry.node_id.partition("::")[0] == suite]
    entries = newest([*earlier.values(), *mine])
    if not entries:
        return
    try:
        write_latest(path, suite, entries, scope.declared)
    except OSError as error:
        written.fails(path, error)


def _verdict_file(run: StoredRun, verdicts: Sequence[Verdict], folder: Path, written: Written) -> None:
    written.file(folder / "verdicts.json", json.dumps(verdicts_json(run, verdicts), indent=1, allow_nan=False) + "\n")
