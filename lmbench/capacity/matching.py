"""Which stored records tell of an option of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmbench.capacity.plan_file import Selection
from lmbench.record.record import FULL, OK, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A record, where it was read, and the memory of the machine it was measured on."""

    record: Record
    origin: str = ""
    memory_bytes: float | None = None


def newest(workload: str, option: Selection, sources: Sequence[Source]) -> Source | None:
    """The newest full record of `workload` that tells of the option; None when there is none."""
    found = [one for one in sources if one.record.case.workload == workload and matches(option, one.record)]
    return max((one for one in found if option.case in (None, one.record.case.name)), key=started, default=None)


def absent(workload: str, option: Selection, sources: Sequence[Source]) -> str:
    """That no record of `workload` tells of the option, which ones there are, and what to do."""
    records = [one.record for one in sources if one.record.case.workload == workload]
    seen = sorted({f"{one.case.name}: {_axes(one)}" if option.case else _axes(one) for one in records})
    narrowed = "".join(f" {word} {value}" for word, value in _narrowed(option) if value)
    return (
        f"found no stored {workload} record of {option.model} / {option.backend} / {option.compression}{narrowed}; "
        f"there are: {'; '.join(seen) or 'none'}; "
        f"run a suite with a {workload} case and --benchmark-autosave, or correct the option"
    )


def matches(option: Selection, record: Record) -> bool:
    """Whether a record is a full one of what the option names; its `case` is not looked at."""
    case = record.case
    wanted = ((option.model, case.model), (option.backend, case.backend), (option.compression, case.compression))
    return (
        record.status == OK
        and record.mode == FULL
        and all(name in (choice.name, choice.kind) for name, choice in wanted)
        and option.machine_class in (None, record.machine_class)
        and option.suite in (None, case.suite)
    )


def alike(one: Record, other: Record) -> bool:
    """The same subject on the same class of machine: what one tells holds for the other."""
    axes = ("model", "backend", "compression")
    return one.machine_class == other.machine_class and all(getattr(one.case, axis) == getattr(other.case, axis) for axis in axes)


def started(one: Source) -> str:
    """When it was measured, UTC in ISO 8601."""
    return one.record.started_at


def _axes(record: Record) -> str:
    case = record.case
    return f"{case.model.name} / {case.backend.name} / {case.compression.name}"


def _narrowed(option: Selection) -> tuple[tuple[str, str | None], ...]:
    return ("from case", option.case), ("of suite", option.suite), ("on", option.machine_class)
