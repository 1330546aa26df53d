"""The objectives of the newest stored run of a case, which later runs of it on the same class of machine use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from lmbench.base.errors import StoreError
from lmbench.measure.objectives import Pin
from lmbench.plan.case import Case
from lmbench.record.objectives import pins_of
from lmbench.record.record import FULL, OK, Record
from lmbench.store.baselines import MAX_FILES
from lmbench.store.renames import NO_RENAMES, Renames
from lmbench.store.runs import StoredRun, read_run


class StoredPins:
    """Reads stored runs newest first, and no more of them than the cases that are asked for need.

    A damaged file goes to `left_out` with what is wrong with it.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        machine_class: str,
        *,
        left_out: Callable[[str], None],
        renames: Renames = NO_RENAMES,
    ) -> None:
        self._runs = _readable(list(paths)[:MAX_FILES], left_out)
        self._machine_class = machine_class
        self._renames = renames
        self._known: dict[str, dict[str, Pin]] = {}
        """By the digest of what is measured and the node id."""

    def of(self, case: Case) -> Mapping[str, Pin]:
        """Pins by name; empty where no run of this very case is stored for this class of machine."""
        key = _key(case.node_id, case)
        while key not in self._known:
            run = next(self._runs, None)
            if run is None:
                return {}
            for record in run.records:
                if self._counts(record):
                    name = self._renames.current(record.case.node_id)
                    self._known.setdefault(_key(name, record.case), pins_of(record, run.path.stem))
        return self._known[key]

    def _counts(self, record: Record) -> bool:
        return record.status == OK and record.mode == FULL and record.machine_class == self._machine_class


def _key(node_id: str, case: Case) -> str:
    return f"{node_id} {case.digest}"


def _readable(paths: Iterable[Path], left_out: Callable[[str], None]) -> Iterator[StoredRun]:
    for path in paths:
        try:
            run = read_run(path)
        except StoreError as error:
            left_out(str(error))
            continue
        yield run
