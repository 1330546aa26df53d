"""Temporary folders that say who made them, so that a later run can remove what a killed one left behind, and nothing else.

A folder holds its mark and `files`, which is the maker's. The maker keeps the mark locked for as long as it lives; the
mark also has its process id and start time, for file systems that know no locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from io import BufferedRandom, TextIOWrapper
from pathlib import Path
from typing import IO

from lmbench.base import json_text
from lmbench.base.reading import NOTE_BYTES
from lmbench.base.signals import waiting_signals
from lmbench.base.typed import made

PREFIX = "lmbench-"
KEPT = f"{PREFIX}kept-"
MARK = "lmbench-owner.json"
FILES = "files"
UNMARKED_S = 60.0
"""A folder of ours that has no mark after so long will never have one."""
LEAST_FREE_BYTES = 4 << 20
ENDED_STATES = ("Z", "X")
PARENT = "LMBENCH_PARENT"
"""Environment variable of a worker process: whose it is, as `Owner.name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, so that another one of the same number is not taken for it."""

    pid: int
    started: int | None
    """Clock ticks from the machine's start to its own; None where the system does not say."""
    namespace: str
    """Within which `pid` means something; '' where the system has no such thing."""

    @property
    def name(self) -> str:
        return f"{self.pid} {self.started} {self.namespace}"

    @property
    def here(self) -> bool:
        """Whether this process can tell if it is alive."""
        return self.namespace == _namespace()

    @property
    def alive(self) -> bool:
        """Whether it runs; only for an owner that is `here`."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return self.started is None or self.started == _started(self.pid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A mark that is open and locked by this process."""

    path: Path
    owner: Owner
    facts: Mapping[str, str]
    """What the maker noted beside itself."""
    stream: IO[bytes]

    def add(self, facts: Mapping[str, str]) -> None:
        """Note more; it is on the disk when this returns."""
        self.stream.write(json.dumps(dict(facts)).encode() + b"\n")
        self.stream.flush()


def this_process() -> Owner:
    """The owner of what this process makes."""
    return Owner(pid=os.getpid(), started=_started(os.getpid()), namespace=_namespace())


@contextmanager
def scratch(purpose: str) -> Iterator[Path]:
    """An empty temporary folder that is gone after the block."""
    with marked_folder(purpose, {}) as folder:
        yield folder


def kept_folder() -> Path:
    """A temporary folder that stays: for what could be written nowhere else. It bears no mark, and nobody clears it."""
    return Path(tempfile.mkdtemp(prefix=KEPT)).resolve()


def unnamed_file(purpose: str) -> TextIOWrapper:
    """A text file without a name, for what a process prints; in memory where the temporary folder is full."""
    return os.fdopen(_unnamed(purpose), "w+", errors="replace", encoding="utf-8")


def unnamed_bytes(purpose: str) -> BufferedRandom:
    """As `unnamed_file`, for bytes."""
    return os.fdopen(_unnamed(purpose), "w+b")


def _unnamed(purpose: str) -> int:
    try:
        space = os.statvfs(tempfile.gettempdir())
        if space.f_bavail * space.f_frsize >= LEAST_FREE_BYTES:
            with tempfile.TemporaryFile(prefix=f"{PREFIX}{purpose}-") as file:
                return os.dup(file.fileno())
    except OSError:
        pass
    return os.memfd_create(purpose)


@contextmanager
def marked_folder(purpose: str, facts: Mapping[str, str]) -> Iterator[Path]:
    """As `scratch`, with `facts` in its mark; who clears such a folder must know them (see `clear_abandoned`)."""
    outer = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-")).resolve()
    try:
        with mark(outer, facts):
            inner = outer / FILES
            inner.mkdir()
            yield inner
    finally:
        with waiting_signals():
            remove(outer)


@contextmanager
def mark(folder: Path, facts: Mapping[str, str]) -> Iterator[Mark]:
    """Mark `folder` as this process's, within the block. A mark is seen by others only when it is complete and locked."""
    path, beginning = folder / MARK, folder / f".{MARK}"
    owner = this_process()
    with beginning.open("wb") as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made = Mark(path=path, owner=owner, facts=facts, stream=stream)
        made.add({**facts, "owner": json.dumps(asdict(owner))})
        beginning.replace(path)
        yield made


@contextmanager
def abandoned(path: Path) -> Iterator[Mark | None]:
    """The mark at `path`, locked for this process, when its owner is dead and was this user; None otherwise."""
    with ExitStack() as stack:
        try:
            stream = stack.enter_context(os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b"))
        except OSError:
            yield None
            return
        locks = _lock(stream)
        found = _read(path, stream) if locks is not False else None
        dead = found is not None and (not found.owner.alive if found.owner.here else bool(locks))
        yield found if dead else None


def facts_of(path: Path) -> Mapping[str, str]:
    """What the mark at `path` notes; nothing where there is none."""
    try:
        with path.open("rb") as stream:
            found = _read(path, stream)
    except OSError:
        return {}
    return {} if found is None else found.facts


def clear_abandoned() -> None:
    """Remove the temporary folders whose makers are dead, but for those whose marks note more than their makers."""
    for path in temporary(f"*/{MARK}"):
        with abandoned(path) as found:
            if found is not None and not found.facts:
                remove(path.parent)
    for folder in temporary("*/"):
        _clear_unmarked(folder)


def temporary(pattern: str) -> list[Path]:
    """What of the temporary folder begins with PREFIX and goes on as `pattern`; nothing where no such folder can be used."""
    try:
        return sorted(Path(tempfile.gettempdir()).resolve().glob(f"{PREFIX}{pattern}"))
    except OSError:
        return []


def _clear_unmarked(folder: Path) -> None:
    """Remove a folder whose maker died between making and marking it: by then it holds nothing but an unread mark."""
    beginning = folder / f".{MARK}"
    if folder.name.startswith(KEPT):
        return
    with contextlib.suppress(OSError):
        facts = folder.lstat()
        # The change time is the kernel's, as is the moment that it is compared with.
        if facts.st_uid != os.geteuid() or _kernel_now(folder) - facts.st_ctime < UNMARKED_S or (folder / MARK).exists():
            return
        if set(folder.iterdir()) <= {beginning}:
            beginning.unlink(missing_ok=True)
            folder.rmdir()


def _kernel_now(folder: Path) -> float:
    """The present on the clock that stamps files."""
    with tempfile.TemporaryFile(dir=folder.parent) as file:
        return os.fstat(file.fileno()).st_ctime


def remove(folder: Path) -> None:
    """Remove `folder` with everything in it, also folders made read-only; links are removed, never followed."""
    shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir() or folder.is_symlink():
        return
    for place, folders, _ in os.walk(folder):
        for child in [Path(place), *(Path(place) / name for name in folders)]:
            if not child.is_symlink():
                with contextlib.suppress(OSError):
                    child.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _lock(stream: IO[bytes]) -> bool | None:
    """True with the lock, False while somebody else holds it, None where the file system knows none."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _read(path: Path, stream: IO[bytes]) -> Mark | None:
    """The mark in `stream`; None for a file of another user and for what is no mark."""
    if os.fstat(stream.fileno()).st_uid != os.geteuid():
        return None
    facts: dict[str, str] = {}
    try:
        for line in stream.read(NOTE_BYTES).splitlines():
            facts |= json_text.loads(line)
        owner = made(Owner, json_text.loads(facts.pop("owner")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return Mark(path=path, owner=owner, facts=facts, stream=stream)


def _started(pid: int) -> int | None:
    """Field 22 of the kernel's line about a process; its name, the second field, may hold anything but ends with ')'.

    None for one that has ended and that nobody has waited for, as happens in containers.
    """
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace", encoding="utf-8")
    except OSError:
        return None
    state, *fields = line.rpartition(")")[2].split()
    return None if state in ENDED_STATES else int(fields[18])


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a name, not a path
    except OSError:
        return ""
