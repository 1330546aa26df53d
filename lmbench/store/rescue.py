"""What could not be written where it belongs: kept in the next place that takes it, with the way back in the file itself.

A run that the storage did not take is a JSON file as the storage would hold it, with one more key:

    "lmbench_unstored": {"folder": "rejected/Linux-CPython-3.12-64bit", "name": "a1b2c3_..."}     below the storage
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lmbench.base.cache import cache_root
from lmbench.base.errors import StoreError
from lmbench.base.files import write_atomically
from lmbench.base.scratch import kept_folder
from lmbench.store.files import REJECTED, save
from lmbench.store.runs import read_json_file

UNSTORED = "lmbench_unstored"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def last_resorts(beside: Path | None = None) -> Iterator[Path]:
    """Folders in which a record may be kept, the best first: `beside`, lmbench's cache, one in the temporary folder.

    Each is asked for only when the one before did not take it; the last one is made here.
    """
    if beside is not None:
        yield beside
    yield cache_root()
    try:
        made = kept_folder()
    except OSError:
        return
    yield made
    for folder in (*made.glob("*/"), made):  # it did not take what it was made for
        with contextlib.suppress(OSError):
            folder.rmdir()


def keep(name: str, text: str, beside: Path | None = None) -> Path | None:
    """Write `text` as a file of that name into the first folder that takes it; None where nothing can be written."""
    for folder in last_resorts(beside):
        path = folder / name
        try:
            write_atomically(path, text)
        except OSError:
            continue
        return path
    return None


def keep_run(output: Mapping[str, Any], folder: str, name: str, beside: Path | None) -> Path | None:
    """Keep a run that the storage did not take; `folder` is where it belongs below the storage."""
    content = {**output, UNSTORED: {"folder": folder, "name": name}}
    return keep(f"{name}.{os.getpid()}.unstored.json", json.dumps(content, default=str), beside)


def restore(path: Path, storage: Path) -> Path:
    """Store a run that `keep_run` kept, under the next number; the new path. Raises StoreError for any other file."""
    data = None
    with contextlib.suppress(StoreError):  # what is no JSON, as a journal, is no such file either
        data = read_json_file(path)
    found = data.pop(UNSTORED, None) if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise StoreError(
            f"{path}: found no run that a session could not store; expected such a file; journals and stored runs are "
            "brought in with `lmbench records import`"
        )
    folder, name = str(found.get("folder", "")), str(found.get("name", ""))
    parts = PurePosixPath(folder).parts
    fits = len(parts) == 1 or (len(parts) == 2 and parts[0] == REJECTED)
    if not fits or not all(_NAME.fullmatch(part) for part in (*parts, name)):
        raise StoreError(f"{path}: found the place {folder!r} and the name {name!r}; expected a folder of the storage and a name")
    return save(storage / folder, name, json.dumps(data, indent=1))
