"""Reading the kernel's text files under /proc and /sys: once, or over and over through one open descriptor."""

from __future__ import annotations

import os


class KernelFile:
    """A kernel text file held open; every `read` sees its present content.

    A descriptor under /proc/<pid> stays tied to that process, so a reused pid is never read by mistake.
    """

    __slots__ = ("_descriptor", "_size")

    def __init__(self, path: str, size: int = 4096) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = size

    def read(self) -> str:
        """The first `size` bytes; raises OSError once the process or device behind the file is gone."""
        return os.pread(self._descriptor, self._size, 0).decode(errors="replace")

    def close(self) -> None:
        os.close(self._descriptor)


def open_file(path: str, size: int = 4096) -> tuple[KernelFile | None, str]:
    """The file held open, or None and the reason; a file that opens but cannot be read counts as absent."""
    try:
        file = KernelFile(path, size)
    except OSError as error:
        return None, f"{path}: {error.strerror}"
    try:
        file.read()
    except OSError as error:
        file.close()
        return None, f"{path}: {error.strerror}"
    return file, ""


def read_text(path: str) -> str | None:
    """The whole file without surrounding white space, or None when it is not there or not readable."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123  pathlib costs the sampler its start-up time
            return stream.read().strip()
    except OSError:
        return None


def read_int(path: str) -> int | None:
    """The file as one integer, or None when it is absent or holds something else ('max')."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return None


def list_names(path: str) -> list[str]:
    """Sorted names in a folder; empty when it is not there."""
    try:
        return sorted(entry.name for entry in os.scandir(path))
    except OSError:
        return []
