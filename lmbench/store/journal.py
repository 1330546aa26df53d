"""The journal of a running session: one synced line per finished case, so that a kill loses none of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmbench.base.files import append_line
from lmbench.record.codec import to_json
from lmbench.record.record import Record
from lmbench.store.runs import StoredRun, read_run


class Journal:
    """`<run id>.jsonl`, opened with the run's own data and closed by `end`.

    Lines are {"kind": "run"|"record"|"skip"|"pair"|"end", ...}; a reader treats a journal without "end" as incomplete.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        """Why lines are missing: one could not be written, as on a full disk, and none after it was tried."""

    def open(self, info: Mapping[str, Any]) -> None:
        """The first line: the run's top-level data (schema_version, run, environment, machine_class ...).

        Raises OSError where nothing can be written.
        """
        append_line(self.path, _line("run", info))

    def record(self, record: Record) -> None:
        self._append("record", {"record": to_json(record)})

    def skip(self, node_id: str, reason: str) -> None:
        self._append("skip", {"node_id": node_id, "reason": reason})

    def pair(self, pair: Mapping[str, Any]) -> None:
        """One pair's numbers on one case, as they came; kept for reading, no part of the run itself."""
        self._append("pair", pair)

    def end(self, info: Mapping[str, Any] | None = None) -> None:
        """The last line; `info` overrides what the first line said (verdicts, harness, finished_at ...)."""
        self._append("end", info or {})

    def _append(self, kind: str, content: Mapping[str, Any]) -> None:
        if self.problem:
            return
        try:
            append_line(self.path, _line(kind, content))
        except OSError as error:
            self.problem = f"{self.path}: the journal cannot be written ({error.strerror or error})"


def _line(kind: str, content: Mapping[str, Any]) -> str:
    return json.dumps({"kind": kind, **content}, allow_nan=False, separators=(",", ":"))


def journal_text(info: Mapping[str, Any], records: Sequence[Record]) -> str:
    """A whole journal of a run that is over, to be written at once; `info` as for `Journal.open`."""
    lines = [{"kind": "run", **info}, *({"kind": "record", "record": to_json(one)} for one in records), {"kind": "end"}]
    return "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in lines)


def read_journal(path: Path) -> StoredRun:
    """The run behind a journal, torn last line or not; raises StoreError when it is damaged elsewhere."""
    return read_run(path)
