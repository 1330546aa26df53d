"""What a session leaves on disk: its journal, report files, and what GitHub Actions shows of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lmbench.base.cache import cache_root
from lmbench.base.printing import one_line
from lmbench.compare.gate import NOT_DECIDED_STATUS
from lmbench.compare.verdicts import by_case
from lmbench.plugin.declared import declared
from lmbench.plugin.endings import status as ended_with
from lmbench.plugin.gate_options import fail_on
from lmbench.plugin.options import reports_folder
from lmbench.plugin.unwritten import asked_for_reports, note_logs
from lmbench.report.annotations import Spot, commands_for
from lmbench.report.markdown import LIMIT_BYTES
from lmbench.report.step_summary import LEAST_BYTES, append_step_summary, headline, render_step_summary, room_in
from lmbench.report.write import Written, write_run, write_verdicts
from lmbench.store.journal import Journal
from lmbench.store.latest import JOURNALS
from lmbench.store.rescue import last_resorts
from lmbench.suite.document import Place

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

GIT = ".git"
JOURNALS_KEPT = 20


def open_journal(run: Run) -> Journal:
    """Start the session's journal beside its reports; where nothing can be written there, in the next place that takes it."""
    folder = reports_folder(run.config) or cache_root()
    journal = Journal(folder / JOURNALS / f"{run.id}.jsonl", lambda: (other / JOURNALS for other in last_resorts()))
    journal.open({**run.to_json(), "failed": []})
    with suppress(OSError):
        for old in sorted(journal.path.parent.glob("*.jsonl"))[:-JOURNALS_KEPT]:
            old.unlink(missing_ok=True)
    return journal


def requests_folder(run: Run) -> str | None:
    """Where logs of requests go: beside the journal, unless reports are off."""
    if reports_folder(run.config) is None or run.journal is None:
        return None
    return str(run.journal.path.parents[1] / "requests")


def write_files(run: Run) -> Written:
    """Write the reports, where they are wanted and there is something to say."""
    folder, written, journal = reports_folder(run.config), run.written, run.journal
    if journal is not None and journal.problem:
        written.problems.append(journal.problem)
        written.refuse(journal.errno or 0)
    if folder is not None and (run.records or run.verdicts or run.gate_facts or run.not_decided):
        if run.opened:
            write_run(run.stored(), run.verdicts, folder, written)
        else:
            written = write_verdicts(run.stored(), run.verdicts, folder)
    if written.problems and asked_for_reports(run.config):
        run.unwritten.asked = True
    note_logs(run)
    return written


def publish(run: Run) -> None:
    """Once all is decided and stored: the job summary, and annotations as the session's last lines."""
    if not run.opened and not run.verdicts and not run.not_decided:
        return
    lines = [*_step_summary(run), *(_annotations(run) if os.environ.get("GITHUB_ACTIONS") == "true" else ())]
    reporter = run.config.pluginmanager.get_plugin("terminalreporter")
    if lines and reporter is not None:
        reporter.ensure_newline()
    for line in lines:
        # A workflow command must begin its line, and must not be coloured or cut.
        if reporter is not None:
            reporter.write_line(line)
        else:
            print(line, flush=True)  # noqa: T201 - with -p no:terminal there is no other way to the log


def _step_summary(run: Run) -> Iterator[str]:
    """Append to the file that GitHub names; yields what a reader of the log must know about that."""
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if not place:
        return
    path, reports = Path(place), [path for path in run.written.paths if path.suffix == ".html"]
    try:
        if (room := room_in(path)) < LEAST_BYTES:
            yield f"the job summary is full ({LIMIT_BYTES - room:,} bytes): lmbench's part is left out"
            return
        append_step_summary(path, render_step_summary(run.stored(), run.verdicts, _status(run), reports, room))
    except OSError as error:
        reason = error.strerror or error
        yield one_line(f"GITHUB_STEP_SUMMARY: {path} cannot be written ({reason}); the verdicts are in the reports")


def _status(run: Run) -> int:
    return ended_with(run.config) or run.exitstatus


def _annotations(run: Run) -> Iterator[str]:
    into, root = declared(run.config), run.config.rootpath
    places = {**into.places, **into.tests}
    spots = {
        node_id: _spot(root, places.get(node_id) or Place(file=node_id.partition("::")[0], line=1))
        for node_id in by_case(run.verdicts)
    }
    failure = headline(run.stored(), run.verdicts, run.exitstatus) if run.exitstatus == NOT_DECIDED_STATUS else ""
    return commands_for(run.verdicts, spots, fail_on(run.config), failure)


def _spot(root: Path, place: Place) -> Spot:
    """The place as GitHub wants it: relative to the repository, where it lies in it."""
    path, top = (root / place.file).resolve(), repository(root.resolve())
    return Spot(file=path.relative_to(top).as_posix() if path.is_relative_to(top) else path.as_posix(), line=place.line)


def package_of(config: pytest.Config) -> str:
    """The name that keeps several packages of one repository apart: --lmbench-gate-name, or where rootdir lies in it.

    '.' for a rootdir that is the repository's own root.
    """
    if name := str(config.getoption("lmbench_gate_name") or config.getini("lmbench_gate_name") or ""):
        return name
    root = config.rootpath.resolve()
    return root.relative_to(repository(root)).as_posix()


def repository(root: Path) -> Path:
    """The folder that GitHub shows as the repository, or the nearest one under git; `root` where there is none."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace and root.is_relative_to(Path(workspace).resolve()):
        return Path(workspace).resolve()
    return next((folder for folder in (root, *root.parents) if (folder / GIT).exists()), root)
