"""The journal of a running session: one synced line per finished case, so that a kill loses none of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lmbench.base.files import append_line, why, write_atomically
from lmbench.record.codec import to_json
from lmbench.record.record import Record
from lmbench.store.runs import StoredRun, read_run


class Journal:
    """`<run id>.jsonl`, opened with the run's own data and closed by `end`.

    Lines are {"kind": "run"|"record"|"skip"|"pair"|"end", ...}; a reader treats a journal without "end" as incomplete.
    A journal that cannot be written any more goes on, whole, in the next of the folders that `elsewhere` gives, and in
    memory where none takes it; `end` tries them all once more.
    """

    def __init__(self, path: Path, elsewhere: Callable[[], Iterable[Path]] = tuple) -> None:
        self.path = path
        self.problem = ""
        """Why it is not where it was wanted, and where it is; empty when all is well."""
        self.errno: int | None = None
        """What the first place had against it."""
        self.written = True
        """False while it is in memory alone."""
        self._lines: list[str] = []
        self._elsewhere = elsewhere
        self._left: Iterator[Path] = iter(elsewhere())

    def open(self, info: Mapping[str, Any]) -> None:
        """The first line: the run's top-level data (schema_version, run, environment, machine_class ...)."""
        self._append("run", info)

    def record(self, record: Record) -> None:
        self._append("record", {"record": to_json(record)})

    def skip(self, node_id: str, reason: str) -> None:
        self._append("skip", {"node_id": node_id, "reason": reason})

    def pair(self, pair: Mapping[str, Any]) -> None:
        """One pair's numbers on one case, as they came; kept for reading, no part of the run itself."""
        self._append("pair", pair)

    def end(self, info: Mapping[str, Any] | None = None) -> None:
        """The last line; `info` overrides what the first line said (verdicts, harness, finished_at ...)."""
        if not self.written:
            self._left = chain((self.path.parent,), self._elsewhere())
        self._append("end", info or {})
        if not self.written:
            self.problem = self.problem.partition(";")[0] + "; what was measured could be written nowhere"

    def _append(self, kind: str, content: Mapping[str, Any]) -> None:
        line = _line(kind, content)
        self._lines.append(line)
        if not self.written:
            self._move(self.problem)
            return
        try:
            if len(self._lines) > 1 and not self.path.exists():  # deleted meanwhile: a line alone would be no journal
                self._write(self.path)
            else:
                append_line(self.path, line)
        except OSError as error:
            self.errno = self.errno or error.errno
            place = self.path.parent if self.path.parent.exists() else self.path.parents[1]
            self._move(f"{place}: cannot be written ({why(error)})")

    def _move(self, problem: str) -> None:
        """Go on in the next folder that takes all lines; in memory where none does."""
        fault = problem.partition(";")[0]
        for folder in self._left:
            path = folder / self.path.name
            try:
                self._write(path)
            except OSError:
                continue
            self.path, self.written = path, True
            self.problem = f"{fault}; what is measured goes to {path}"
            return
        self.written = False
        self.problem = f"{fault}; what is measured is in memory alone until the end"

    def _write(self, path: Path) -> None:
        write_atomically(path, "".join(f"{line}\n" for line in self._lines))


def _line(kind: str, content: Mapping[str, Any]) -> str:
    return json.dumps({"kind": kind, **content}, allow_nan=False, separators=(",", ":"))


def journal_text(info: Mapping[str, Any], records: Sequence[Record]) -> str:
    """A whole journal of a run that is over, to be written at once; `info` as for `Journal.open`."""
    lines = [{"kind": "run", **info}, *({"kind": "record", "record": to_json(one)} for one in records), {"kind": "end"}]
    return "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines)


def read_journal(path: Path) -> StoredRun:
    """The run behind a journal, torn last line or not; raises StoreError when it is damaged elsewhere."""
    return read_run(path)
