"""The files of a storage folder: which are runs, in what order, under what number; never what is in them.

<storage>/<machine id>/NNNN_<name>.json             runs that may be baselines
<storage>/rejected/<machine id>/NNNN_<name>.json    runs that regressed or failed, kept for reading only
<storage>/imported/NNNN_<name>.json                 runs measured elsewhere, for plans and reports, never baselines
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.base.files import exclusive, write_beside

REJECTED, IMPORTED = "rejected", "imported"
BASELINE = "baseline"
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_NUMBERED = re.compile(r"(\d{4,})_.*\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One numbered run file."""

    path: Path
    number: int
    rejected: bool

    @property
    def machine_id(self) -> str:
        """pytest-benchmark's machine id: the folder the file lies in."""
        return self.path.parent.name

    @property
    def state(self) -> str:
        """'rejected', 'imported', or 'baseline': only the last is compared with."""
        return REJECTED if self.rejected else IMPORTED if self.machine_id == IMPORTED else BASELINE


def number_of(path: Path) -> int | None:
    """The number in a run file's name, or None when the name is not a run's (temporary files, notes)."""
    match = _NUMBERED.fullmatch(path.name)
    return int(match[1]) if match else None


def list_all(storage: Path, machine_id: str | None = None) -> list[StoredFile]:
    """Every run file, rejected and imported ones included, newest number first; an absent folder has none.

    Numbers are compared as numbers, so 10000 is newer than 9999. Each machine id counts for itself; give one
    to compare like with like.
    """
    pattern = machine_id if machine_id is not None else "*"
    found = []
    for rejected, root in ((False, storage), (True, storage / REJECTED)):
        for path in root.glob(f"{pattern}/*.json"):
            number = number_of(path)
            if number is not None and (rejected or path.parent.name != REJECTED):
                found.append(StoredFile(path=path, number=number, rejected=rejected))
    return sorted(found, key=lambda file: (file.number, str(file.path)), reverse=True)


def list_runs(storage: Path, machine_id: str | None = None) -> list[Path]:
    """The files that may be baselines, newest number first."""
    return [file.path for file in list_all(storage, machine_id) if file.state == BASELINE]


def next_number(folder: Path) -> int:
    """One more than the highest number in `folder`; 1 when it is empty or absent."""
    numbers = [number for path in folder.glob("*.json") if (number := number_of(path)) is not None]
    return max(numbers, default=0) + 1


def publish(temporary: Path, folder: Path, name: str) -> Path:
    """Move `temporary` to `<folder>/NNNN_<name>.json` under the next free number and return the new path.

    The file appears whole or not at all and never replaces another, also when several processes publish at once: the
    folder's lock is held from the look at its numbers to the new name, so that no number comes twice, under whatever
    name. A process that dies on the way has taken no number. `temporary` must lie on the same file system.
    """
    with exclusive(folder):
        while True:
            target = folder / f"{next_number(folder):04d}_{name}.json"
            try:
                _give_name(temporary, target)
            except FileExistsError:  # of somebody who takes no lock
                continue
            return target


def _give_name(temporary: Path, target: Path) -> None:
    """Rename `temporary`; FileExistsError where `target` is there. Some file systems have no hard links."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if target.exists():
            raise FileExistsError(target) from None
        temporary.rename(target)
        return
    temporary.unlink()


def save(folder: Path, name: str, data: bytes | str) -> Path:
    """Write `data` as the next numbered run of `folder`, atomically, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = write_beside(folder, ".run.", data)
    try:
        return publish(temporary, folder, name)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def rejected_run(storage: Path, which: int | Path) -> StoredFile:
    """The rejected run of that number or path.

    Raises StoreError when there is no such rejected run, or when several machine ids have one of that number.
    """
    rejected = [file for file in list_all(storage) if file.rejected]
    if isinstance(which, Path):
        chosen = [file for file in rejected if file.path.resolve() == which.resolve()]
    else:
        chosen = [file for file in rejected if file.number == which]
    if len(chosen) != 1:
        listing = ", ".join(str(file.path.relative_to(storage)) for file in (chosen or rejected)) or "none"
        fault = "several rejected runs match" if chosen else "no rejected run matches"
        raise StoreError(f"{fault} {which}; rejected runs under {storage}: {listing}; give the number or path of one of them")
    return chosen[0]
