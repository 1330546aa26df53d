"""The files of one case's load run: under names of their own while it runs, under the case's name once it is complete.

    <case>.jsonl                    request log of the last run that came to its end
    <case>.server.log               what a server started for that run printed
    <case>.<pid>.partial.jsonl      request log of a run that goes on, was interrupted or failed; its server's log likewise
    <case>.unfinished.jsonl         such a log, once a later run has found that its process is gone

So a run that fails or is killed takes nothing of an earlier one away, and its own requests stay readable.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import psutil

from lmbench.plan.case import Case
from lmbench.suite.slugs import log_name

NOT_KEPT = "not kept: "
"""How a record's note begins that names a file the run could not write; its measurement stands without it."""
REQUESTS, SERVER = "jsonl", "server.log"
PARTIAL = {REQUESTS: "partial.jsonl", SERVER: "partial.server.log"}
UNFINISHED = {REQUESTS: "unfinished.jsonl", SERVER: "unfinished.server.log"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifacts:
    """Where the files of one case lie; `name` is theirs without suffix, and `folder` need not exist."""

    folder: Path
    name: str

    @property
    def partial_log(self) -> Path:
        """The request log while the run goes on."""
        return self._running(REQUESTS)

    @property
    def partial_server_log(self) -> Path:
        return self._running(SERVER)

    def begin(self) -> None:
        """Set aside what runs of this case that were killed have left; only the newest of them is kept."""
        for kind, suffix in PARTIAL.items():
            for left in sorted(self.folder.glob(f"{escape(self.name)}.*.{suffix}"), key=_age):
                pid = left.name.removeprefix(f"{self.name}.").removesuffix(f".{suffix}")
                if pid.isdecimal() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                    with suppress(OSError):  # another process has set it aside, or the folder takes nothing
                        left.replace(self.folder / f"{self.name}.{UNFINISHED[kind]}")

    def settle(self, folder: Path | None = None) -> Path | None:
        """Give this run's files the case's own name, in `folder` where it is given; the request log, if there is one."""
        place = self.folder if folder is None else folder
        for kind in PARTIAL:
            source = self._running(kind)
            if source.exists():
                place.mkdir(parents=True, exist_ok=True)
                source.replace(place / f"{self.name}.{kind}")
        log = place / f"{self.name}.{REQUESTS}"
        return log if log.exists() else None

    def _running(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{os.getpid()}.{PARTIAL[kind]}"


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def artifacts_of(case: Case, folder: Path) -> Artifacts:
    """The files of `case` in `folder`."""
    return Artifacts(folder=folder, name=log_name(case.suite, case.id))
