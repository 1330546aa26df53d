"""Which stored runs may be deleted: old ones, as long as no case and no test loses its last measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lmbench.base.errors import StoreError
from lmbench.store.accept import measured
from lmbench.store.files import StoredFile
from lmbench.store.runs import read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """What is to be deleted, and old runs that stay with the reason."""

    doomed: tuple[StoredFile, ...]
    spared: Mapping[StoredFile, str]


def prunable(files: Sequence[StoredFile], keep: int) -> Pruning:
    """All but the newest `keep` of one machine's baselines (newest first), less those that hold a last measurement.

    A file that cannot be read is left alone: what it holds is not known.
    """
    held: set[str] = set()
    doomed, spared = [], {}
    for place, file in enumerate(files):
        try:
            names = measured(read_run(file.path))
        except StoreError as error:
            if place >= keep:
                spared[file] = f"it cannot be read ({error})"
            continue
        last = [name for name in names if name not in held]
        held.update(names)
        if place < keep:
            continue
        if last:
            more = f" and {len(last) - 1} more" if len(last) > 1 else ""
            spared[file] = f"it holds the last measurement of {last[0]}{more}"
        else:
            doomed.append(file)
    return Pruning(doomed=tuple(doomed), spared=spared)
