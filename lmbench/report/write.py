"""Reports as files: one set per suite (Markdown, HTML, CSV), each written atomically, from a run or from stored files alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lmbench.base.files import write_atomically
from lmbench.compare.verdicts import Verdict
from lmbench.report.csv_rows import render_csv
from lmbench.report.gate_facts import facts_of
from lmbench.report.html import render_html
from lmbench.report.markdown import render_markdown
from lmbench.report.model import Report, build_reports
from lmbench.report.verdict_files import render_comment, verdicts_json
from lmbench.store.runs import StoredRun, read_run

FORMATS: Mapping[str, Callable[[Report], str]] = {".md": render_markdown, ".html": render_html, ".csv": render_csv}


def write_reports(run: StoredRun, verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Write `<folder>/<suite>.md`, `.html` and `.csv` for every suite of the run; return the paths, suite by suite.

    Verdicts also go to `verdicts.json`, and those of a gated run to `comment.md`, for a pull request.
    """
    written = []
    for report in build_reports(run, verdicts):
        for suffix, render in FORMATS.items():
            path = folder / f"{report.slug}{suffix}"
            write_atomically(path, render(report))
            written.append(path)
    facts = facts_of(run.info)
    if verdicts or facts is not None:
        written.append(folder / "verdicts.json")
        write_atomically(written[-1], json.dumps(verdicts_json(run, verdicts), indent=1, allow_nan=False) + "\n")
    if facts is not None:
        written.append(folder / "comment.md")
        write_atomically(written[-1], render_comment(verdicts, facts))
    return written


def rebuild(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Write the reports of stored runs (JSON files or journals) with the verdicts stored in them.

    Where two runs hold the same suite, the later path wins. Raises StoreError for a file that cannot be read.
    """
    written: dict[Path, None] = {}
    for path in paths:
        run = read_run(path)
        verdicts = [Verdict.from_json(data) for data in run.verdicts]
        written.update(dict.fromkeys(write_reports(run, verdicts, folder)))
    return list(written)
