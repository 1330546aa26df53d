"""Files that others wrote, taken in within bounds: regular ones only, never more than a size, in UTF-8."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lmbench.base.errors import Unreadable
from lmbench.base.numbers import shown

TEXT_BYTES = 1_000_000
"""Of a file that a person writes: a suite, a plan, a list of changes or of renames."""
STORED_BYTES = 1_000_000_000
"""Of a file that a program writes: a stored run, a journal, a trace, a request log."""
NOTE_BYTES = 10_000_000
"""Of a small file that a program writes: facts beside a cached artifact, a configuration, an index of weights."""
PIECE_BYTES = 1 << 22
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
            pieces, size = [], 0
            while size <= most and (piece := stream.read(PIECE_BYTES)):
                pieces.append(piece)
                size += len(piece)
    except OSError as error:
        raise _refused(error) from error
    if size > most:
        raise _too_large(size, most)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_text(path: Path, most: int = TEXT_BYTES) -> str:
    """Like `read_bytes`, decoded from UTF-8 without its byte order mark, lines ended as `open` ends them."""
    data = read_bytes(path, most)
    try:
        return data.decode().removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")
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
    about = os.fstat(descriptor)
    kind = next((name for fits, name in _KINDS if fits(about.st_mode)), None)
    if kind is None and about.st_size <= most:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise _too_large(about.st_size, most) if kind is None else Unreadable(kind, "a regular file")


def inside(folder: Path, name: str) -> Path:
    """The file `name` in `folder`, which another file names; raises Unreadable where it is not there or leads out of it.

    A link may lead to another file of the folder, or of a Hugging Face cache to a blob of the same repository.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\\" in name or name.startswith("/") or ".." in parts:
        raise Unreadable(f"{shown(name, 200)}", f"the name of a file in {folder}")
    path = folder / name
    if not is_file(path):
        raise Unreadable(f"{shown(name, 200)}, which is not there", f"a file in {folder}")
    whole, target = folder.resolve(), path.resolve()
    blobs = whole.parents[1] / "blobs" if whole.parent.name == "snapshots" else whole
    if not (target.is_relative_to(whole) or target.is_relative_to(blobs)):
        raise Unreadable(f"{shown(name, 200)}, a link to {target}", f"a file in {folder}")
    return path


def is_file(path: Path) -> bool:
    """Whether a regular file is there; a path that cannot be, as one with a name of 300 letters, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether anything is there; at a path that cannot be nothing is."""
    try:
        return path.exists()
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
