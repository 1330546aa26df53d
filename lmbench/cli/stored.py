"""Stored runs for commands that read many: one after another, damaged ones told and left out, progress on standard error."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from lmbench.base.errors import StoreError
from lmbench.cli.output import say, say_over
from lmbench.measure.clock import CLOCK
from lmbench.measure.machine import usable_cpus
from lmbench.store.runs import StoredRun, read_run

QUIET_S = 2.0
"""What takes less says nothing."""
TTY_PERIOD_S, LOG_PERIOD_S = 0.5, 10.0
LINE_CHARS = 78
PART = 20
"""Runs that a process takes at a time."""
WORTH_BYTES = 200e6
"""Less is read sooner than processes start."""
MOST_PROCESSES = 4
"""More would wait for the one that joins what they read."""

T = TypeVar("T")


def read_runs(paths: Sequence[Path], left_out: Callable[[str], None]) -> Iterator[StoredRun]:
    """The runs in these files, in their order; what is wrong with one that cannot be read goes to `left_out`."""
    with _uncollected():
        for path in _told(paths, len(paths)):
            try:
                run = read_run(path)
            except StoreError as error:
                left_out(str(error))
                continue
            yield run


def read_parts(paths: Sequence[Path], read: Callable[[Sequence[Path]], T]) -> Iterator[T]:
    """What `read` makes of these files, some at a time, in their order; in processes of its own when the files hold much."""
    parts = [paths[first : first + PART] for first in range(0, len(paths), PART)]
    processes = min(max(1, int(usable_cpus())), MOST_PROCESSES, len(parts))
    much = sum(path.stat().st_size for path in paths if path.is_file()) >= WORTH_BYTES
    with _uncollected():
        if processes > 1 and much:
            yield from _in_processes(processes, parts, read, len(paths))
        else:
            yield from map(read, _told(parts, len(paths)))


def _in_processes(
    processes: int, parts: Sequence[Sequence[Path]], read: Callable[[Sequence[Path]], T], files: int
) -> Iterator[T]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=gc.disable) as pool:
        # All begin at once: what is told is how many have come back.
        waiting = pool.map(read, parts)
        try:
            yield from (next(waiting) for _ in _told(parts, files))
        except BrokenProcessPool as error:
            raise StoreError(f"a process that read stored runs died ({error}); is memory short? name fewer runs") from error


def _told(items: Sequence[T], files: int) -> Iterator[T]:
    """These items, and how far one has come: a line that is written over in a terminal, a line now and then in a log."""
    terminal, due, shown = sys.stderr.isatty(), CLOCK.now() + QUIET_S, False
    for place, item in enumerate(items):
        if CLOCK.now() >= due:
            text = f"reading stored runs: {place * files // len(items)} of {files}"
            say_over(text, LINE_CHARS) if terminal else say(text, err=True)
            shown, due = True, CLOCK.now() + (TTY_PERIOD_S if terminal else LOG_PERIOD_S)
        yield item
    if shown and terminal:
        say_over("", LINE_CHARS)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: records have none, and looking at each of their numbers takes longer than parsing."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
