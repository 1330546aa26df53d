"""Which stored run is meant by a number, a path, the beginning of a name, `last` or `last~2`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.base.numbers import MOST_CHARS
from lmbench.base.reading import is_file
from lmbench.store.files import IMPORTED, StoredFile, list_all
from lmbench.store.runs import StoredRun, read_run

LAST = re.compile(r"last(?:~(\d+))?")
SHOWN = 5


def chosen(storage: Path, which: str, left_out: Callable[[str], None]) -> Path:
    """The file of one stored run: `last` is the newest of all, kept apart or not, `last~1` the one before it.

    A file that cannot be read does not count for `last`; what is wrong with it goes to `left_out`.
    Raises StoreError when no run or more than one is meant.
    """
    match = LAST.fullmatch(which)
    if match:
        back = int((match[1] or "0")[:MOST_CHARS])
        newest = newest_runs(storage, back + 1, left_out)
        if len(newest) <= back:
            raise StoreError(f"found {len(newest)} stored runs under {storage}; expected at least {back + 1} for {which!r}")
        return newest[back].path
    if not which.isdecimal() and is_file(Path(which)):
        return Path(which)
    files = list_all(storage)
    paths = [file.path for file in files if _meant(file, which)]
    if len(paths) != 1:
        known = ", ".join(str(path) for path in (paths or [file.path for file in files])[:SHOWN]) or "none"
        raise StoreError(f"found {len(paths)} stored runs for {which!r} under {storage}; expected one; give a path: {known}")
    return paths[0]


def newest_runs(storage: Path, count: int, left_out: Callable[[str], None]) -> list[StoredRun]:
    """The `count` runs that began last, newest first, imported ones left out.

    Numbers count within one folder only, so of each folder the newest are read and their moments compared.
    """
    files = sorted((file for file in list_all(storage) if file.state != IMPORTED), key=_folder)
    found: list[StoredRun] = []
    for _, group in groupby(files, key=_folder):
        readable = _readable((file.path for file in sorted(group, key=lambda file: file.number, reverse=True)), left_out)
        found += [run for _, run in zip(range(count), readable, strict=False)]
    return sorted(found, key=lambda run: (str(run.info.get("started_at") or ""), run.number or 0), reverse=True)[:count]


def _folder(file: StoredFile) -> str:
    return str(file.path.parent)


def _readable(paths: Iterator[Path], left_out: Callable[[str], None]) -> Iterator[StoredRun]:
    for path in paths:
        try:
            run = read_run(path)
        except StoreError as error:
            left_out(str(error))
            continue
        yield run


def _meant(file: StoredFile, which: str) -> bool:
    if which.isdecimal() and len(which) <= MOST_CHARS:
        return file.number == int(which)
    folder, _, prefix = which.rpartition("/")
    return bool(prefix) and file.path.name.startswith(prefix) and folder in file.path.parent.as_posix()
