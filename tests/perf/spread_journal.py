"""The journal of spread sessions: a line when one begins, a line when it ends, and what a killed one left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lmbench.base.errors import StoreError
from lmbench.base.files import append_line
from lmbench.store.runs import StoredRun, read_run
from tests.perf.spread_figures import CaseFigures, Session, figures_of

JOURNAL = "spread.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """What the sessions of one suite leave: the journal, their storage, and a folder of logs and reports for each."""

    root: Path

    @property
    def journal(self) -> Path:
        return self.root / JOURNAL

    @property
    def storage(self) -> Path:
        """Apart from the machine class's stored runs, and one for all loads, so that all share what is pinned."""
        return self.root / "storage"

    def session(self, number: int) -> Path:
        return self.root / "sessions" / f"{number:04d}"


def keep(folder: Folder, session: Session) -> None:
    """Add a line; the last one of a number counts."""
    folder.root.mkdir(parents=True, exist_ok=True)
    append_line(folder.journal, json.dumps(asdict(session), allow_nan=False))


def read(folder: Folder) -> list[Session]:
    """Every session that has figures, in order; of one that was cut short the cases that its own journal holds.

    What a session's own journal says comes first; its line of this journal is enough where that is gone.
    """
    found: dict[int, Session] = {}
    for line in _lines(folder.journal):
        session = _session(line)
        found[session.number] = session
    whole = [with_figures(folder, one, complete=one.complete) for one in found.values()]
    return [session for session in sorted(whole, key=lambda one: one.number) if session.cases]


def following(folder: Folder) -> int:
    """The number of the next session."""
    return 1 + max((_session(line).number for line in _lines(folder.journal)), default=0)


def with_figures(folder: Folder, session: Session, *, complete: bool) -> Session:
    """The session with what its own journal holds of it; unchanged where there is none that can be read."""
    run = _run(folder.session(session.number))
    if run is None:
        return session
    git: Any = run.environment.get("git") or {}
    return replace(
        session,
        complete=complete and run.complete,
        machine=run.machine_class,
        clock_s=None if run.harness is None else run.harness.get("timer_overhead_s"),
        commit=str(git.get("commit") or "") + ("+" if git.get("dirty") else ""),
        cases=tuple(figures_of(record) for record in run.records),
    )


def _run(folder: Path) -> StoredRun | None:
    for path in sorted(folder.rglob("*.jsonl")):
        try:
            return read_run(path)
        except StoreError:
            continue
    return None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal whose last one may be torn."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return


def _session(data: dict[str, Any]) -> Session:
    return Session(**{**data, "cases": tuple(CaseFigures(**case) for case in data["cases"])})
