"""Recorded traffic to replay: when requests came and how long they were, from the formats in which traces are published."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lmbench.base import json_text
from lmbench.base.digest import DIGEST_CHARS, sha256_file
from lmbench.base.errors import ConfigError, Problem, Unreadable
from lmbench.base.numbers import LARGEST, MOST_COUNT, shown
from lmbench.base.reading import open_bytes
from lmbench.base.seams import IntArray
from lmbench.load.arrivals import Schedule

NO_SESSION = -1
EPOCH = np.datetime64("2020-01-01", "ns")
FIRST_CHARS = 100_000
CHUNK = 1 << 16
"""Lines turned into numbers at once, so that the text of a long trace is never in memory as a whole."""
WHOLE, MOMENT, DATE = "a whole number >= 0", "a number of seconds >= 0", "a date in UTC such as 2023-11-16 18:15:46.6805900"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """The n requests of a recording, in order of arrival; requests without a prompt or without an answer are left out."""

    format: str
    offsets_s: Schedule
    """[n], the first at 0."""
    prompt_tokens: IntArray
    output_tokens: IntArray
    sessions: IntArray | None
    """[n] conversations, numbered as they appear; NO_SESSION where a request has none; None when not recorded."""
    hash_ids: tuple[tuple[int, ...], ...] | None
    """Per request the ids of its prompt's blocks (512 tokens in the published files); equal leading ids are a shared prefix."""
    left_out: int
    """Requests of the file with 0 prompt or 0 output tokens (failures, in BurstGPT)."""
    digest: str
    """Of the file."""

    def __len__(self) -> int:
        return len(self.offsets_s)

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last and one mean gap more, so that n / duration_s is the mean rate; 1 without gaps."""
        span = float(self.offsets_s[-1])
        return span * len(self) / (len(self) - 1) if span > 0 else 1.0

    def between(self, start_s: float, end_s: float) -> Schedule:
        """The arrivals in [start_s, end_s), as offsets from start_s."""
        first, last = np.searchsorted(self.offsets_s, [start_s, end_s])
        return np.minimum(self.offsets_s[first:last] - start_s, np.nextafter(end_s - start_s, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column to read: its name, what it must hold, and texts -> float64, which raises ValueError for anything else."""

    name: str
    expected: str
    numbers: Callable[[Sequence[str]], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """A CSV trace: its columns for the arrival in seconds, prompt and output tokens, and the one for conversations.

    Files may hold further columns: BurstGPT's third file put two of them in the middle.
    """

    name: str
    columns: tuple[_Column, _Column, _Column]
    session: str = ""


def read(path: Path, *, speed: float = 1.0, limit_s: float | None = None, limit: int | None = None) -> Trace:
    """The trace at `path`, its format told from its first line, replayed `speed` times as fast as it was recorded.

    `limit_s` keeps the first seconds of the replay, `limit` the first requests. Known: Mooncake's JSONL (Qin et al., FAST 2025),
    BurstGPT's CSV (Wang et al., KDD 2025) and Azure's LLM inference CSV (Patel et al., Splitwise, ISCA 2024). Raises ConfigError
    with file and line for anything else.
    """
    for name, value in (("speed", speed), ("limit_s", limit_s), ("limit", limit)):
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise _wrong(path, None, name, str(value), "a positive, finite number")
    try:
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as stream:
            first = stream.readline(FIRST_CHARS)
            stream.seek(0)
            table = _read_jsonl(path, stream) if first.lstrip().startswith("{") else _read_csv(path, stream)
    except Unreadable as fault:
        raise _wrong(path, None, "trace", fault.found, fault.expected) from fault
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise _wrong(path, None, "trace", f"a file that cannot be read ({fault})", "a JSONL or CSV trace in UTF-8") from fault
    return _trace(path, table, speed, limit_s, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """A file as read: [n, 3] moments in seconds, prompt and output tokens, in the order of the file."""

    format: str
    numbers: npt.NDArray[np.float64]
    sessions: list[int] | None = None
    hash_ids: list[tuple[int, ...]] | None = None


def _trace(path: Path, table: _Table, speed: float, limit_s: float | None, limit: int | None) -> Trace:
    kept = np.flatnonzero((table.numbers[:, 1:] > 0).all(axis=1))
    if len(kept) == 0:
        raise _wrong(path, None, "trace", f"{len(table.numbers)} requests", "at least one with a prompt and an answer")
    order = kept[np.argsort(table.numbers[kept, 0], kind="stable")]
    offsets = (table.numbers[order, 0] - table.numbers[order[0], 0]) / speed
    count = len(order) if limit_s is None else int(np.searchsorted(offsets, limit_s))
    order = order[: count if limit is None else min(count, limit)]
    return Trace(
        format=table.format,
        offsets_s=offsets[: len(order)],
        prompt_tokens=table.numbers[order, 1].astype(np.int64),
        output_tokens=table.numbers[order, 2].astype(np.int64),
        sessions=None if table.sessions is None else _renumbered(np.array(table.sessions)[order]),
        hash_ids=None if table.hash_ids is None else tuple(table.hash_ids[row] for row in order),
        left_out=len(table.numbers) - len(kept),
        digest=sha256_file(path)[:DIGEST_CHARS],
    )


def _renumbered(sessions: IntArray) -> IntArray:
    """Sessions numbered 0, 1, ... by first appearance; NO_SESSION stays."""
    values, first, inverse = np.unique(sessions, return_index=True, return_inverse=True)
    ranks = np.empty(len(values), dtype=np.int64)
    named = values != NO_SESSION
    ranks[~named] = NO_SESSION
    ranks[np.flatnonzero(named)[np.argsort(first[named])]] = np.arange(named.sum())
    return ranks[inverse]


def _read_csv(path: Path, lines: Iterable[str]) -> _Table:
    rows = csv.reader(lines)
    header = [name.strip() for name in next(rows, [])]
    found = next((form for form in FORMATS if {column.name for column in form.columns} <= set(header)), None)
    if found is None:
        known = "; ".join(f"{form.name}: {', '.join(column.name for column in form.columns)}" for form in FORMATS)
        raise _wrong(path, 1, "header", repr(",".join(header))[:200], f"Mooncake's JSONL or a CSV with the columns of {known}")
    places = [header.index(column.name) for column in found.columns]
    session = header.index(found.session) if found.session in header else None
    numbers: list[npt.NDArray[np.float64]] = []
    names: dict[str, int] = {"": NO_SESSION}
    sessions: list[int] = []
    filled = (row for row in rows if row)
    while chunk := list(islice(filled, CHUNK)):
        try:
            if any(len(row) != len(header) for row in chunk):
                raise ValueError("a ragged line")
            texts = [[row[place] for row in chunk] for place in places]
            numbers.append(np.stack([column.numbers(text) for column, text in zip(found.columns, texts, strict=True)], axis=1))
            if session is not None:
                sessions += [names.setdefault(row[session], len(names) - 1) for row in chunk]
        except ValueError as fault:
            raise _blame(path, found, header) from fault
    table = np.concatenate(numbers) if numbers else np.empty((0, 3))
    return _Table(format=found.name, numbers=table, sessions=sessions if session is not None else None)


def _blame(path: Path, form: _Format, header: Sequence[str]) -> ConfigError:
    """The first faulty line of a CSV in which a chunk could not be read; slow, hence not the way files are read."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        for row in rows:
            if row and len(row) != len(header):
                return _wrong(path, rows.line_num, "line", f"{len(row)} fields", f"{len(header)}, as in the header")
            for column in form.columns if row else ():
                text = row[header.index(column.name)]
                try:
                    column.numbers([text])
                except ValueError:
                    return _wrong(path, rows.line_num, column.name, shown(text), column.expected)
    return _wrong(path, None, "trace", "a line that cannot be read", f"a {form.name} trace")


def _whole(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    values = _positive(texts)
    if (values != np.floor(values)).any() or (values > MOST_COUNT).any():
        raise ValueError(WHOLE)
    return values


def _positive(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    values = np.array(texts).astype(np.float64)
    if not (np.isfinite(values) & (values >= 0) & (values <= LARGEST)).all():
        raise ValueError(MOMENT)
    return values


def _dates(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    """Seconds since EPOCH, a recent one: float64 then resolves 30 ns, well below the 100 ns of the recordings."""
    bare = [text.removesuffix("Z").removesuffix("+00:00") for text in texts]
    seconds = len("2023-11-16 18:15:46")
    # numpy also takes words ("now") and, with a warning, other time zones.
    if not all(len(text) >= seconds and text[0].isdigit() and not text[seconds:].strip(".0123456789") for text in bare):
        raise ValueError(DATE)
    return (np.array(bare, dtype="datetime64[ns]") - EPOCH).astype(np.int64) / 1e9


FORMATS: tuple[_Format, ...] = (
    _Format(
        name="burstgpt",
        columns=(
            _Column(name="Timestamp", expected=MOMENT, numbers=_positive),
            _Column(name="Request tokens", expected=WHOLE, numbers=_whole),
            _Column(name="Response tokens", expected=WHOLE, numbers=_whole),
        ),
        session="Session ID",
    ),
    _Format(
        name="azure",
        columns=(
            _Column(name="TIMESTAMP", expected=DATE, numbers=_dates),
            _Column(name="ContextTokens", expected=WHOLE, numbers=_whole),
            _Column(name="GeneratedTokens", expected=WHOLE, numbers=_whole),
        ),
    ),
)


def _read_jsonl(path: Path, lines: Iterable[str]) -> _Table:
    keys = ("timestamp", "input_length", "output_length")
    numbers: list[tuple[float, ...]] = []
    blocks: list[tuple[int, ...]] = []
    for line, found in _objects(path, lines):
        values: tuple[Any, ...] = tuple(found.get(key) for key in keys)
        for key, value in zip(keys, values, strict=True):
            whole = key == "timestamp" or isinstance(value, int)
            most = LARGEST if key == "timestamp" else MOST_COUNT
            if isinstance(value, bool) or not isinstance(value, int | float) or not whole or not 0 <= value <= most:
                raise _wrong(path, line, key, repr(value)[:60], "milliseconds >= 0" if key == "timestamp" else WHOLE)
        hashes = found.get("hash_ids", [])
        if not isinstance(hashes, list) or not all(type(one) is int for one in hashes):
            raise _wrong(path, line, "hash_ids", repr(hashes)[:60], "a list of whole numbers")
        numbers.append(values)
        blocks.append(tuple(hashes))
    table = np.array(numbers, dtype=np.float64).reshape(-1, 3)
    table[:, 0] *= 1e-3
    return _Table(format="mooncake", numbers=table, hash_ids=blocks if any(blocks) else None)


def _objects(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            found = json_text.loads(text)
        except Unreadable as fault:
            raise _wrong(path, line, "line", fault.found, "one JSON object per line") from fault
        if not isinstance(found, dict):
            raise _wrong(path, line, "line", repr(text.strip()[:40]), "one JSON object per line")
        yield line, found


def _wrong(path: Path, line: int | None, key: str, found: str, expected: str) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=line, key=key, found=found, expected=expected)])
