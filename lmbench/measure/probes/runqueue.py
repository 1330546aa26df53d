"""How long this process' own threads were ready to run and waited for a CPU: the kernel's run delay.

Second number of /proc/self/task/TID/schedstat, in nanoseconds: https://docs.kernel.org/scheduler/sched-stats.html.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from lmbench.base.kernel_file import KernelFile

Waits = Mapping[str, int]
"""Nanoseconds waited so far, by thread id."""


class RunQueue:
    """The threads' files, held open; threads that come and go are followed at every look."""

    def __init__(self, tasks: str = "/proc/self/task") -> None:
        self._tasks = tasks
        self._files: dict[str, KernelFile] = {}

    def look(self) -> Waits | None:
        """What every thread waited so far; None where the kernel does not account for it."""
        try:
            threads = os.listdir(self._tasks)  # noqa: PTH208 - between two rounds every microsecond counts
        except OSError:
            return None
        for gone in self._files.keys() - threads:
            self._files.pop(gone).close()
        found = {thread: waited for thread in threads if (waited := self._waited(thread)) is not None}
        return found or None

    def close(self) -> None:
        while self._files:
            self._files.popitem()[1].close()

    def _waited(self, thread: str) -> int | None:
        try:
            file = self._files.get(thread)
            if file is None:
                file = self._files[thread] = KernelFile(str(Path(self._tasks) / thread / "schedstat"), 64)
            return int(file.read().split()[1])
        except (OSError, ValueError, IndexError):
            return None  # ended between the listing and the reading, or not accounted for


def waited_s(before: Waits | None, after: Waits | None) -> float | None:
    """Seconds that all threads together waited between two looks; those of threads that ended in between are not known."""
    if before is None or after is None:
        return None
    return sum(max(0, waited - before.get(thread, 0)) for thread, waited in after.items()) / 1e9
