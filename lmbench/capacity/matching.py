"""Which stored records tell of an option of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    mine = [one for one in sources if one.record.case.workload == workload and _named(option, one.record)]
    last = max((one for one in mine if option.case in (None, one.record.case.name)), key=started, default=None)
    if last is not None:
        why = f"the newest one, {failed_words(last.record)}"
        return f"found no good {workload} record of this option: {why}; correct that and run the case again"
    records = [one.record for one in sources if one.record.case.workload == workload and one.record.status == OK]
    seen = sorted({f"{one.case.name}: {_axes(one)}" if option.case else _axes(one) for one in records})
    narrowed = "".join(f" {word} {value}" for word, value in _narrowed(option) if value)
    return (
        f"found no stored {workload} record of {option.model} / {option.backend} / {option.compression}{narrowed}; "
        f"there are: {'; '.join(seen) or 'none'}; "
        f"run a suite with a {workload} case and --benchmark-autosave, or correct the option"
    )


def failing(used: Source, sources: Sequence[Source]) -> str:
    """That a newer record of the same case on the same class of machine is an error; empty when the newest is not."""
    case, machine = used.record.case.node_id, used.record.machine_class
    same = [one for one in sources if one.record.case.node_id == case and one.record.machine_class == machine]
    last = max((one for one in same if one.record.mode == FULL), key=started, default=used)
    if last.record.failure is None or started(last) <= started(used):
        return ""
    return f"the newest record of {case}, {failed_words(last.record)}; what is used was measured at {started(used)}"


def failed_words(record: Record) -> str:
    """When a failed record was made, and its error."""
    failure = record.failure
    return f"of {record.started_at}, is an error" + ("" if failure is None else f" ({failure.kind}: {failure.message})")


def failing_cases(records: Iterable[Record]) -> list[str]:
    """A sentence for each case on a machine class that has been measured and whose newest full record is an error."""
    last: dict[tuple[str, str], Record] = {}
    good: dict[tuple[str, str], Record] = {}
    for record in (one for one in records if one.mode == FULL):
        key = (record.machine_class, record.case.node_id)
        for known in (last, good) if record.status == OK else (last,):
            if key not in known or known[key].started_at <= record.started_at:
                known[key] = record
    return [
        f"{node} on {machine}: its newest record, {failed_words(last[machine, node])}; what is shown was measured at "
        f"{good[machine, node].started_at}"
        for machine, node in sorted(good)
        if last[machine, node].failure is not None
    ]


def matches(option: Selection, record: Record) -> bool:
    """Whether a record is a good and full one of what the option names; its `case` is not looked at."""
    return record.status == OK and _named(option, record)


def _named(option: Selection, record: Record) -> bool:
    case = record.case
    wanted = ((option.model, case.model), (option.backend, case.backend), (option.compression, case.compression))
    return (
        record.mode == FULL
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
