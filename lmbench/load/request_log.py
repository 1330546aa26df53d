"""The per-request log: one JSON line per request, written within a second of its end, so that a killed run keeps its requests.

Line 1 is the header: {"schema": "lmbench.requests", "version": 1, "started_at": wall clock of the run's start in UTC, ...}.
Every other line is an object with these keys. Moments are seconds since the run's start, rounded to microseconds; null stands
where it did not come to that.

| key             | type        | meaning                                                                            |
|-----------------|-------------|------------------------------------------------------------------------------------|
| index           | integer     | the request's number in the run; in the log of a killed run its closed loop's      |
|                 |             | numbers may have gaps: they are made dense when a step is over                      |
| step            | integer     | the step it belongs to                                                             |
| scheduled_s     | number      | when it was due                                                                    |
| sent_s          | number      | when the client sent it                                                            |
| started_s       | number/null | start of service; of an endpoint, when it was written                              |
| first_byte_s    | number/null | first byte of an endpoint's answer                                                 |
| first_token_s   | number/null | first token                                                                        |
| token_times_s   | numbers     | when each token was there; empty when not streamed                                 |
| finished_s      | number/null | last token, or the end of a request that failed                                    |
| status          | string      | completed, failed, rejected, timed_out, cancelled, or pending when the run was cut |
| tokens          | integer     | generated tokens                                                                   |
| prompt_tokens   | integer/null| tokens of the prompt                                                               |
| loop_lag_s      | number/null | longest lateness of the client's event loop while it was open, in seconds          |
| error           | string      | why it did not complete                                                            |

Versions: 1, the first.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from lmbench.base import json_text
from lmbench.base.errors import StoreError, Unavailable, Unreadable
from lmbench.base.reading import read_bytes
from lmbench.base.secrets import conceal, concealed
from lmbench.base.typed import made
from lmbench.load.requests import ENDS, PENDING, RequestLog

SCHEMA = "lmbench.requests"
VERSION = 1
DIGITS = 6
COLUMNS: Mapping[str, str] = {
    "index": "BIGINT",
    "step": "BIGINT",
    "scheduled_s": "DOUBLE",
    "sent_s": "DOUBLE",
    "started_s": "DOUBLE",
    "first_byte_s": "DOUBLE",
    "first_token_s": "DOUBLE",
    "token_times_s": "DOUBLE[]",
    "finished_s": "DOUBLE",
    "status": "VARCHAR",
    "tokens": "BIGINT",
    "prompt_tokens": "BIGINT",
    "loop_lag_s": "DOUBLE",
    "error": "VARCHAR",
}
"""The keys of a line in order, with DuckDB's types."""
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class RequestLogWriter:
    """A log that is open for writing; `path` must not exist yet."""

    def __init__(self, path: Path, *, start_s: float, started_at: str, facts: Mapping[str, Any] | None = None) -> None:
        """`start_s` is the run's start on its clock, `started_at` the same moment on the wall; `facts` join the header."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._stream = path.open("xb")
        except FileExistsError:
            raise StoreError(f"found {path} already there; expected a new file; move it away or choose another name") from None
        self.path = path
        self._start_s = start_s
        self._header = {**concealed(facts or {}), "schema": SCHEMA, "version": VERSION, "started_at": started_at}
        self._write([self._header])

    def write(self, logs: Iterable[RequestLog]) -> None:
        """Append requests and hand them to the kernel, so that no kill of this process can lose them."""
        self._write(line(log, self._start_s) for log in logs)

    def replace(self, logs: Iterable[RequestLog]) -> None:
        """Write the log anew with `logs`; a reader sees the old file or the whole new one."""
        beside = self.path.with_name(f".{self.path.name}.new")
        before, self._stream = self._stream, beside.open("wb")
        try:
            self._write([self._header])
            for log in logs:
                self._stream.write(_encoded(line(log, self._start_s)))
            self.sync()
            beside.replace(self.path)
        except BaseException:
            self.close()
            self._stream = before
            beside.unlink(missing_ok=True)
            raise
        with suppress(OSError):
            before.close()

    def sync(self) -> None:
        """Hand everything to the disk itself."""
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """What a full disk refused is refused once more here; `sync` has said so."""
        with suppress(OSError):
            self._stream.close()

    def __enter__(self) -> RequestLogWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._stream.write(b"".join(map(_encoded, lines)))
        self._stream.flush()


def _encoded(entry: Mapping[str, Any]) -> bytes:
    # A lone surrogate, which JSON can hold and UTF-8 cannot, must not cost the log.
    return _ENCODER.encode(entry).encode(errors="replace") + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLogs:
    """What a log file holds; moments are seconds since the run's start."""

    header: Mapping[str, Any]
    logs: tuple[RequestLog, ...]
    torn: bool
    """Whether the last line was cut off (and left out): the writer was killed within it."""


def line(log: RequestLog, start_s: float) -> dict[str, Any]:
    """The object of one line: `log` with its moments counted from `start_s`."""

    def since(moment: float | None) -> float | None:
        return None if moment is None or not math.isfinite(moment) else round(moment - start_s, DIGITS)

    request = log.request
    return {
        "index": request.index,
        "step": request.step,
        "scheduled_s": since(request.scheduled_s),
        "sent_s": since(request.sent_s),
        "started_s": since(log.started_s),
        "first_byte_s": since(log.first_byte_s),
        "first_token_s": since(log.first_token_s),
        "token_times_s": [since(moment) for moment in log.token_times_s],
        "finished_s": since(log.finished_s),
        "status": log.status,
        "tokens": log.tokens,
        "prompt_tokens": log.prompt_tokens,
        "loop_lag_s": None if log.loop_lag_s is None else round(log.loop_lag_s, DIGITS),
        "error": conceal(log.error) if log.error else "",
    }


def read_request_log(path: Path) -> StoredLogs:
    """Read a log back. A last line that was cut off is left out; any other fault raises StoreError with its place."""
    try:
        *lines, rest = read_bytes(path).split(b"\n")
    except Unreadable as error:
        raise StoreError(f"{path}: found {error.found}; expected a request log; check the path") from error
    if not lines:
        raise StoreError(f"found no complete line in {path}; expected the header of a request log")
    header = _object(lines[0], path, 1)
    if header.get("schema") != SCHEMA or header.get("version") != VERSION:
        found = f"{header.get('schema')!r} version {header.get('version')!r}"
        raise StoreError(f"{path}: found {found}; expected {SCHEMA!r} version {VERSION}; read it with the lmbench that wrote it")
    logs = tuple(_log(_object(text, path, number), path, number) for number, text in enumerate(lines[1:], 2))
    return StoredLogs(header=header, logs=logs, torn=bool(rest))


def to_parquet(source: Path, target: Path) -> None:
    """Write the requests of log `source` as Parquet, one column per key. Raises Unavailable without DuckDB."""
    if find_spec("duckdb") is None:
        raise Unavailable("Parquet needs DuckDB, which is not installed", "run: pip install 'pytest-lmbench[parquet]'")
    import duckdb  # type: ignore[import-not-found,unused-ignore]

    read_request_log(source)  # faults are told with their line, which DuckDB would skip
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    # The header and a torn last line have no index: the first has other keys, the second is skipped as an error.
    rows = f"read_json({_quoted(source)}, format='newline_delimited', ignore_errors=true, columns={{{columns}}})"
    beside = target.with_name(f".{target.name}.new")
    try:
        with duckdb.connect() as database:
            query = f'COPY (SELECT * FROM {rows} WHERE "index" IS NOT NULL) TO {_quoted(beside)} (FORMAT parquet)'  # noqa: S608
            database.execute(query)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _object(text: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json_text.loads(text)
    except Unreadable as error:
        raise StoreError(f"{path}:{number}: found {text[:60]!r}; expected a JSON object ({error.found})") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path}:{number}: found {text[:60]!r}; expected a JSON object")
    return value


def _log(entry: Mapping[str, Any], path: Path, number: int) -> RequestLog:
    unlike = sorted(set(COLUMNS) ^ set(entry))
    if unlike or str(entry["status"]) not in (PENDING, *ENDS):
        found = f"other keys: {', '.join(unlike)}" if unlike else f"status {entry['status']!r}"
        raise StoreError(f"{path}:{number}: found {found}; expected the keys of version {VERSION} and a known status")
    values = dict(entry)
    values["request"] = {name: values.pop(name) for name in ("index", "step", "scheduled_s", "sent_s")}
    try:
        return made(RequestLog, values, "request")
    except Unreadable as error:
        raise StoreError(f"{path}:{number}: {error}") from error
