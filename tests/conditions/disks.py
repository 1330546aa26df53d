"""Disks that are full, for tests: real ones where the user may mount."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE_BYTES = 256 << 10


@contextmanager
def mounted(folder: Path, size_bytes: int) -> Iterator[bool]:
    """`folder` as a disk of its own, of so many bytes; False, and no folder, where this user may mount none."""
    folder.mkdir(parents=True)
    tool = shutil.which("mount")
    command = [tool or "mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    if tool is None or subprocess.run(command, capture_output=True, check=False).returncode:
        folder.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        kept = folder.with_name(f"{folder.name}-kept")
        shutil.copytree(folder, kept)
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()
        kept.rename(folder)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """`folder` as a small disk; skips the test where this user may mount none. Its files stay when it is gone."""
    with mounted(folder, SIZE_BYTES) as there:
        if not there:
            pytest.skip("this user may not mount a tmpfs")
        yield folder


def fill_disk(folder: Path) -> None:
    """Leave no byte of the disk that `folder` lies on."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as stream:
        while True:
            stream.write(b"\0" * 512)
    assert os.statvfs(folder).f_bavail == 0
