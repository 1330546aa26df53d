"""Files that others wrote, taken in within bounds: regular ones only, never more than a size, in UTF-8."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from lmbench.base.errors import Unreadable

TEXT_BYTES = 1_000_000
"""Of a file that a person writes: a suite, a plan, a list of changes or of renames."""
STORED_BYTES = 1_000_000_000
"""Of a file that a program writes: a stored run, a journal, a trace, a request log."""
NOTE_BYTES = 10_000_000
"""Of a small file that a program writes: facts beside a cached artifact, a configuration, an index of weights."""
BOM = "\ufeff"
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def read_bytes(path: Path, most: int = STORED_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes; raises Unreadable for anything else, and never waits."""
    try:
        with open_bytes(path, most) as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise _refused(error) from error
    if len(data) > most:
        raise _too_large(len(data), most)
    return data


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """Like `read_bytes`, decoded from UTF-8 without its byte order mark."""
    data = read_bytes(path, most)
    try:
        return data.decode().removeprefix(BOM)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"bytes that are not UTF-8 ({error.reason} at byte {error.start})", "UTF-8 text", line) from error


def open_bytes(path: Path, most: int = STORED_BYTES) -> BinaryIO:
    """A regular file of at most `most` bytes, opened; raises Unreadable for a folder, a pipe, a device or a larger one."""
    try:
        # Without O_NONBLOCK a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(error) from error
    except ValueError as error:
        raise Unreadable(f"a path that cannot be ({error})", "the path of a file") from error
    stream = os.fdopen(descriptor, "rb")
    about = os.fstat(descriptor)
    kind = next((name for fits, name in _KINDS if fits(about.st_mode)), None)
    if kind is None and about.st_size <= most:
        return stream
    stream.close()
    raise _too_large(about.st_size, most) if kind is None else Unreadable(kind, "a regular file")


def is_file(path: Path) -> bool:
    """Whether a regular file is there; a path that cannot be, as one with a name of 300 letters, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a path that cannot be is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _refused(error: OSError) -> Unreadable:
    return Unreadable(f"a file that cannot be read ({error.strerror or error})", "a file that can be read")


def _too_large(size: int, most: int) -> Unreadable:
    return Unreadable(f"a file of {size:,} bytes", f"at most {most:,}")
