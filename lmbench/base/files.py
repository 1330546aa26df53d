"""Writing files so that a reader sees the old content or the new, never half of either; and the lock of a folder.

No text is written with a secret.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path

from lmbench.base.secrets import conceal

UNWRITABLE = (errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EPERM, errno.EROFS)
"""What a disk or a folder has against being written: another place may be better."""
IN_THE_WAY = (errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTDIR)
"""A file stands where a folder should be, or the other way round."""

LOCK_FILE = ".lmbench.lock"
"""Only where the file system locks no folders, as NFS does not."""


def why(error: OSError) -> str:
    """'No space left on device': the reason without the path, which stands elsewhere in a message."""
    return error.strerror or str(error) or type(error).__name__


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` through a synced temporary file in the same folder and a rename."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes | str]) -> list[Path]:
    """`write_atomically` for files that belong together: none is replaced before all are on disk. Returns their paths."""
    made: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            made[path] = write_beside(path.parent, f".{path.name}.", data)
        for path, beside in made.items():
            os.replace(beside, path)
    except BaseException:
        for beside in made.values():
            beside.unlink(missing_ok=True)
        raise
    return list(files)


def write_beside(folder: Path, prefix: str, data: bytes | str) -> Path:
    """A new file in `folder` with a name of its own that begins with `prefix`, on the disk when this returns.

    It has no name before it is complete, where the file system can do that, so that a kill leaves nothing of it behind.
    """
    content = written(data) if isinstance(data, str) else data
    with contextlib.suppress(OSError, AttributeError):
        return _write_nameless(folder, prefix, content)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=prefix)
    try:
        _fill(descriptor, content)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _write_nameless(folder: Path, prefix: str, content: bytes) -> Path:
    """As `write_beside`, through O_TMPFILE and linkat(2)."""
    descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    path = folder / f"{prefix}{os.getpid()}-{os.urandom(4).hex()}"
    kept = os.dup(descriptor)
    try:
        _fill(descriptor, content)
        # A source folder, even one that does not count, is what makes Python follow the link to the file.
        os.link(f"/proc/self/fd/{kept}", path, src_dir_fd=kept, follow_symlinks=True)
    finally:
        os.close(kept)
    return path


def _fill(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        os.fchmod(stream.fileno(), 0o644)


def written(text: str) -> bytes:
    """The bytes of a text as a file may hold it: without secrets, whatever stands in it."""
    return conceal(text, syntax=True).encode(errors="backslashreplace")


def append_line(path: Path, line: str) -> None:
    """Append one line to `path` and sync it, so that a later kill cannot lose it. A line that fails leaves nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab", buffering=0) as stream:
            _write_all(stream, written(line.rstrip("\n")) + b"\n")
            os.fsync(stream.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.truncate(path, before)
        raise


def _write_all(stream: FileIO, data: bytes) -> None:
    """Every byte: on a disk that fills up the kernel takes a part before it refuses the rest."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`, which is made if need be, within the block; whoever else wants it waits.

    The kernel frees the lock when its holder dies. It does not nest: a thread that holds it must not ask for it again.
    Where the file system knows no locks at all the block runs without. Raises OSError when the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if not _lock(stack, folder, os.O_RDONLY | os.O_DIRECTORY):
            _lock(stack, folder / LOCK_FILE, os.O_RDWR | os.O_CREAT)
        yield


@contextmanager
def exclusive_if_possible(folder: Path) -> Iterator[None]:
    """As `exclusive`; without the lock where the folder cannot be made: whoever writes there will hear of it."""
    with ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(exclusive(folder))
        yield


def _lock(stack: ExitStack, path: Path, flags: int) -> bool:
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    return False
