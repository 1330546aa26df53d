"""A folder's lock: what is looked at and then acted upon below it stays as it was seen, also between processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

LOCK_FILE = ".lmbench.lock"
"""Only where the file system locks no folders, as NFS does not."""


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


def _lock(stack: ExitStack, path: Path, flags: int) -> bool:
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return True
    return False
