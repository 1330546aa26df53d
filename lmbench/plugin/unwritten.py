"""What a session could not write: each output fails for itself, is named once at the end, and costs no other."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lmbench.base.files import why
from lmbench.compare.gate import UNWRITTEN_STATUS
from lmbench.load.artifacts import NOT_KEPT
from lmbench.store.rescue import keep_run

if TYPE_CHECKING:
    from lmbench.plugin.session import Run

XML_MODULE = "_pytest.junitxml"


@dataclass(slots=True)
class Unwritten:
    """The outputs that are missing, and whether one of them was asked for."""

    messages: list[str] = field(default_factory=list)
    asked: bool = False

    def note(self, message: str, *, asked: bool) -> None:
        """Name an output, once."""
        if message not in self.messages:
            self.messages.append(message)
        self.asked = self.asked or asked

    def status(self, status: int) -> int:
        """The exit status of a session that would end with `status`: a verdict and a failure outrank a missing output."""
        return UNWRITTEN_STATUS if self.asked and status == 0 else status


def asked_for_reports(config: pytest.Config) -> bool:
    """Whether the folder of reports is named by somebody; the default one is nobody's wish."""
    return bool(config.getoption("lmbench_reports")) or "lmbench_reports" in config.inicfg


def guard_json(session: Any, unwritten: Unwritten, beside: Path | None) -> None:
    """Let a --benchmark-json file that cannot be written cost nothing but itself. Its data are kept, in `beside` if that
    takes them, unless the storage is to have them next."""
    upstream = session.save_json

    def save_json(output_json: Any) -> None:
        try:
            upstream(output_json)
        except OSError as error:
            stored = session.save or session.autosave
            kept = "" if stored else way_back(keep_run(output_json, session.machine_id, "run", beside))
            unwritten.note(f"--benchmark-json: {session.json} cannot be written ({why(error)}){kept}", asked=True)

    session.save_json = save_json


def try_junit(config: pytest.Config, unwritten: Unwritten) -> None:
    """Write JUnit's file before pytest does: where that fails, pytest would end without a word about what was measured."""
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__module__ == XML_MODULE and hasattr(plugin, "logfile"):
            try:
                plugin.pytest_sessionfinish()
            except OSError as error:
                unwritten.note(f"--junitxml: {plugin.logfile} cannot be written ({why(error)})", asked=True)
                plugin.logfile = os.devnull  # pytest writes it once more
            return


def note_logs(run: Run) -> None:
    """What load runs could not keep beside their records, each place once with the number of its cases."""
    found: dict[str, int] = {}
    for record in run.records.values():
        for note in record.notes:
            if note.startswith(NOT_KEPT):
                found[note] = found.get(note, 0) + 1
    for note, count in found.items():
        run.unwritten.note(f"{note} ({count} case{'s' if count > 1 else ''})", asked=False)


def way_back(kept: Path | None) -> str:
    """Where a run is that was not stored, and how it is stored after all."""
    if kept is None:
        return "; it could be kept nowhere else either"
    return f"; it is kept in {kept}: when there is room, run: lmbench records restore {kept}"
