"""The cache folder: expensive things built once, keyed by digest, published by a rename."""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from lmbench.base.digest import digest
from lmbench.base.errors import Unreadable
from lmbench.base.files import IN_THE_WAY, UNWRITABLE
from lmbench.base.json_text import read_object
from lmbench.base.scratch import remove, scratch

KEY_FILE = "key.json"
_for_now: dict[str, Path] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One published cache folder: its kind, its digest, what it was built from, its size."""

    kind: str
    digest: str
    key: Mapping[str, object]
    path: Path
    size_bytes: int


def cache_root() -> Path:
    """`$LMBENCH_CACHE`, or the platform's cache folder for lmbench."""
    override = os.environ.get("LMBENCH_CACHE")
    return Path(override) if override else user_cache_path("lmbench", appauthor=False)


def build_once(kind: str, key: Mapping[str, object], build: Callable[[Path], None], *, keep: bool = False) -> Path:
    """Return the folder for (`kind`, `key`), calling `build(folder)` first if it is not there yet.

    `build` fills a temporary folder that is renamed into place when it returns, so that a crash never
    leaves half an entry; a file lock makes concurrent processes wait for one builder. Where the cache cannot be written,
    as on a full disk, the entry is built for this process alone, unless it is to be kept (`keep`).
    """
    try:
        return _build_in_cache(kind, key, build)
    except OSError as error:
        if keep or error.errno not in (*UNWRITABLE, *IN_THE_WAY):
            raise
    return build_for_now(kind, key, build)


def _build_in_cache(kind: str, key: Mapping[str, object], build: Callable[[Path], None]) -> Path:
    target = cache_root() / kind / digest(key)
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / f".{target.name}.lock"):
        if target.is_dir():
            return target
        for half in target.parent.glob(f".{target.name}.*/"):  # of a killed builder: the lock was free
            remove(half)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            build(building)
            (building / KEY_FILE).write_text(json.dumps(key, indent=1, sort_keys=True), encoding="utf-8")
            os.replace(building, target)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
    return target


def published(kind: str, key: Mapping[str, object]) -> Path | None:
    """The folder of (`kind`, `key`) when it has been built."""
    target = cache_root() / kind / digest(key)
    return target if target.is_dir() else None


def build_for_now(kind: str, key: Mapping[str, object], build: Callable[[Path], None]) -> Path:
    """Like `build_once` for what no other process may find: a folder that is deleted when this one ends."""
    name = f"{kind}/{digest(key)}"
    if name not in _for_now:
        stack = ExitStack()
        folder = stack.enter_context(scratch("for-now"))
        atexit.register(stack.close)
        build(folder)
        _for_now[name] = folder
    return _for_now[name]


def entries(kind: str = "*") -> Iterator[CacheEntry]:
    """Every published entry (of one kind, if given), by kind and digest."""
    root = cache_root()
    for key_file in sorted(root.glob(f"{kind}/*/{KEY_FILE}")):
        folder = key_file.parent
        if folder.name.startswith("."):
            continue
        try:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        except OSError:  # deleted meanwhile by another process
            continue
        try:
            key = read_object(key_file)
        except Unreadable:
            key = {}  # what is damaged can still be listed and cleared
        yield CacheEntry(kind=folder.parent.name, digest=folder.name, key=key, path=folder, size_bytes=size)


def clear(kind: str | None = None) -> int:
    """Delete every entry (of one kind, if given) and return the number of bytes freed."""
    freed = 0
    for entry in list(entries()):
        if kind is None or entry.kind == kind:
            shutil.rmtree(entry.path, ignore_errors=True)
            freed += entry.size_bytes
    return freed


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
