"""JSON that others wrote, parsed within bounds: nesting, digits, plain numbers, text that can be written again."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import orjson

from lmbench.base.errors import Unreadable
from lmbench.base.reading import NOTE_BYTES, read_bytes

DEEPEST = 64
"""Levels of lists and objects within each other."""
DIGITS = 300
"""Of one number; more say nothing that a float can hold."""
_EXPECTED = "JSON"
_BOM = b"\xef\xbb\xbf"
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_TEXT = re.compile(rb'"[^"]*"')


def loads(data: bytes | str, *, constants: bool = False) -> Any:
    """The value that `data` says, in UTF-8 with or without a byte order mark; raises Unreadable for what is not JSON.

    A whole number beyond 64 bits comes as a float, and one that no float can hold is refused, as are more than DEEPEST
    levels. NaN, infinities and halves of surrogate pairs are no JSON; with `constants` the numbers are taken, as
    pytest-benchmark and others write them, and a question mark for a half.
    """
    try:
        raw = (data.encode() if isinstance(data, str) else data).removeprefix(_BOM)
    except UnicodeEncodeError as error:
        raise Unreadable(f"text that is no Unicode ({error.reason})", _EXPECTED) from error
    if _depth(raw) > DEEPEST:
        raise Unreadable(f"more than {DEEPEST} lists and objects within each other", f"at most {DEEPEST}")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if constants:
            return _with_constants(raw)
        raise Unreadable(f"what is not JSON ({error})", _EXPECTED, getattr(error, "lineno", None)) from error


def read_note(path: Path) -> Any:
    """The JSON in a small file; raises Unreadable, with its path, when it cannot be read or is none."""
    try:
        return loads(read_bytes(path, NOTE_BYTES))
    except Unreadable as error:
        raise Unreadable(f"{error.found} at {path}", error.expected, error.line) from error


def read_object(path: Path) -> dict[str, Any]:
    """Like `read_note`, for a file that holds an object."""
    found = read_note(path)
    if not isinstance(found, dict):
        raise Unreadable(f"a {type(found).__name__} at {path}", "a JSON object")
    return found


def _depth(raw: bytes) -> int:
    """Levels of nesting, capped at one more than DEEPEST; only counted where there are enough brackets."""
    if raw.count(b"[") + raw.count(b"{") <= DEEPEST:
        return 0
    escaped = raw.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in raw else raw
    brackets = _TEXT.sub(b"", escaped.translate(None, _NOT_STRUCTURE))
    for level in range(DEEPEST + 2):
        if not brackets:
            return level
        before = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == before:
            return level + before  # brackets that do not match, each perhaps within the one before
    return DEEPEST + 1


def _with_constants(raw: bytes) -> Any:
    try:
        value = json.loads(raw.decode(), parse_int=_whole, parse_float=_number)
        return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"what is not JSON ({error})", _EXPECTED, getattr(error, "lineno", None)) from error


def constant_in(value: object, at: str = "") -> str | None:
    """The place of the first NaN or infinity in `value`; None where all numbers are finite."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} as {at.lstrip('.')}"
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next(filter(None, (constant_in(inner, f"{at}.{key}") for key, inner in parts)), None)


def _whole(text: str) -> int | float:
    if len(text) > DIGITS:
        raise Unreadable(f"a number of {len(text)} digits", f"at most {DIGITS}")
    value = int(text)
    return value if value.bit_length() <= 64 else float(value)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Unreadable(f"{text[:40]}, which is beyond every float", "a finite number")
    return value
