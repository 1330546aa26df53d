"""Where runs are stored: one answer for a pytest session and for every command, from any working folder.

    --benchmark-storage of a command line       there; a relative path starts at the working folder
    the same in pytest's configuration          there; a relative path starts at the root, or where runs lie at the
                                                working folder already
    neither, and baselines/ holds runs          baselines/<machine class>
    neither, and .benchmarks/ holds runs        .benchmarks, where pytest-benchmark has put them
    nothing anywhere                            baselines/<machine class>, once a suite is collected

The placeholder {machine_class} stands for this machine's class, and a path that has it always starts at the root.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.measure.machine import machine_class
from lmbench.store.files import number_of
from lmbench.store.pytest_settings import OPTION, Given, settings_of

MACHINE_CLASS = "{machine_class}"
OWN, UPSTREAM = "baselines", ".benchmarks"
FILE = "file://"
DEFAULT, EXISTING = "the default", "which holds runs"
LEVELS = 4
"""Parent folders in which runs that lie elsewhere are looked for; not beyond a repository."""
_SECRET = re.compile(r"://[^/@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A storage: its folder, the folder of all machine classes, and why it is this one."""

    root: Path
    """Where pytest's root lies: baselines/changes.yaml and its like are below it."""
    folder: Path | None
    """Absolute; None for a storage that is no folder."""
    whole: Path | None
    """The folder that holds every machine class: what stands before {machine_class}, else `folder` itself."""
    origin: str
    uri: str = ""
    """The storage as it is written, where it is no folder; without credentials."""
    settled: bool = True
    """False while nothing is configured and nothing stored: then a session without suites leaves it to pytest-benchmark."""

    def shown(self, path: Path | None = None, *, cwd: Path | None = None) -> str:
        """A folder, this storage's own by default, as seen from the working folder."""
        found = path or self.folder
        return self.uri if found is None else seen_from(found, cwd or Path.cwd())

    def __str__(self) -> str:
        return f"{self.shown()} ({self.origin})"


def place(cwd: Path | None = None) -> Place:
    """The storage of a command that names none. Raises StoreError for a configuration that cannot be read."""
    folder = cwd or Path.cwd()
    settings = settings_of(folder)
    if settings.storage is None:
        return unconfigured(settings.root, folder)
    return configured(settings.storage, settings.root, folder)


def configured(given: Given, root: Path, cwd: Path) -> Place:
    """The storage that a command line, an environment variable or a configuration file names."""
    if "://" in given.value and not given.value.startswith(FILE):
        uri = _SECRET.sub("://***@", given.value)
        return Place(root=root, folder=None, whole=None, origin=given.origin, uri=uri)
    written = given.value.removeprefix(FILE)
    before, found, after = written.partition(MACHINE_CLASS)
    if found:
        start = root / before
        whole = start if before.endswith("/") or not before else start.parent
        folder = root / (before + machine_class().slug + after.replace(MACHINE_CLASS, machine_class().slug))
        return Place(root=root, folder=folder.resolve(), whole=whole.resolve(), origin=given.origin)
    folder = root / written if given.by_file else cwd / written
    if given.by_file and cwd != root and not has_runs(folder) and has_runs(cwd / written):
        folder = cwd / written
    return Place(root=root, folder=folder.resolve(), whole=folder.resolve(), origin=given.origin)


def unconfigured(root: Path, cwd: Path) -> Place:
    """The storage where nobody names one: runs stay where they are, else they go to baselines/."""
    own = (root / OWN).resolve()
    mine = own / machine_class().slug
    if not _ours(own):
        for base in dict.fromkeys((cwd, root)):
            if has_runs(base / UPSTREAM):
                there = (base / UPSTREAM).resolve()
                return Place(root=root, folder=there, whole=there, origin=EXISTING)
        return Place(root=root, folder=mine, whole=own, origin=DEFAULT, settled=False)
    return Place(root=root, folder=mine, whole=own, origin=DEFAULT)


def named(path: str, root: Path) -> Place:
    """A folder that a command's own option names; the placeholder and file:// are understood there too."""
    return configured(Given(value=path, origin="--storage"), root, Path.cwd())


def seen_from(path: Path, cwd: Path) -> str:
    """Relative where `path` lies below the working folder, else absolute."""
    here = cwd.resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


def stored_below(folder: Path) -> Iterator[Path]:
    """Every numbered run below `folder`, in no order; an absent folder has none."""
    return (path for path in folder.rglob("*.json") if number_of(path) is not None)


def has_runs(folder: Path) -> bool:
    """Whether any numbered run lies below `folder`."""
    return next(stored_below(folder), None) is not None


def _ours(own: Path) -> bool:
    """Whether runs lie in `own` as lmbench lays them out: below a machine class. A folder of that name may be somebody else's."""
    found = (path for pattern in ("*/*/*.json", "*/*/*/*.json") for path in own.glob(pattern))
    return any(number_of(path) is not None for path in found)


def folder_of(found: Place) -> Path:
    """The folder. Raises StoreError where the storage is none."""
    if found.folder is None:
        raise StoreError(
            f"the storage is {found}, and lmbench reads folders only; give a folder with --storage, or name files "
            f"(pytest writes one with --benchmark-json=FILE), or configure {OPTION}=file://..."
        )
    return found.folder


def nothing_in(found: Place, searched: Path) -> str:
    """'no stored run in X (configured in pyproject.toml); 3 runs are in .benchmarks/', and what to do."""
    cwd = Path.cwd()
    there = [
        f"{count} run{'s are' if count > 1 else ' is'} in {seen_from(folder, cwd)}/"
        for folder, count in elsewhere(found.root, cwd, searched).items()
    ]
    todo = "name a folder with --storage" if there else "run pytest with --benchmark-autosave"
    looked = f"no stored run in {found.shown(searched)} ({found.origin})"
    return "; ".join([looked, *there, todo])


def elsewhere(root: Path, cwd: Path, searched: Path) -> dict[Path, int]:
    """Folders of runs near by that are not `searched`, with the number of runs in each."""
    near: list[Path] = [cwd, root]
    for base in (cwd, *cwd.parents)[:LEVELS]:
        near.append(base)
        if (base / ".git").exists():
            break
    near += sorted(path.parent for name in (UPSTREAM, OWN) for path in cwd.glob(f"*/{name}"))
    found = {}
    for base in dict.fromkeys(near):
        for name in (UPSTREAM, OWN):
            folder = (base / name).resolve()
            count = sum(not path.is_relative_to(searched) for path in stored_below(folder))
            if count and folder not in found:
                found[folder] = count
    return found
