"""How many threads a case computed with, as its record states it; ratios of cells with different numbers are not alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmbench.base.threads import ThreadBudget
from lmbench.record.record import Record

KEY = "threads"


def stated(engine: Mapping[str, object], budget: ThreadBudget, trainer: Mapping[str, object] | None = None) -> dict[str, object]:
    """What a record keeps: the budget, where it came from, and `used`, what the engine says it computes with.

    `trainer` is what one of several `processes` says that trained together: each of them uses its own threads.
    """
    own = trainer if trainer is not None else engine
    return {"used": _count(own.get(KEY)), "processes": _count(own.get("processes")) or 1, **budget.to_json()}


def threads_of(record: Record) -> int | None:
    """Threads that all processes of the case computed with; None where its engine does not say, or runs elsewhere."""
    kept = record.subject.get(KEY)
    if isinstance(kept, Mapping):
        used, processes = _count(kept.get("used")), _count(kept.get("processes")) or 1
        return None if used is None else used * processes
    engine, trainer = record.subject.get("engine"), record.details.get("trainer")
    if isinstance(trainer, Mapping):  # of an older record
        used = _count(trainer.get(KEY))
        return None if used is None else used * (_count(trainer.get("processes")) or 1)
    return _count(engine.get(KEY)) if isinstance(engine, Mapping) else None


def source_of(record: Record) -> str:
    """Where the number of threads came from: 'OMP_NUM_THREADS=1'; empty where the record does not say."""
    kept = record.subject.get(KEY)
    return str(kept.get("source", "")) if isinstance(kept, Mapping) else ""


def differing(cells: Sequence[tuple[str, Record]]) -> str:
    """'1 thread: onnxruntime; 2 threads: torch' where the (name, record) pairs ran on different numbers; else empty."""
    by: dict[int, list[str]] = {}
    for name, record in cells:
        count = threads_of(record)
        if count is not None and name not in by.setdefault(count, []):
            by[count].append(name)
    return "; ".join(f"{count_words(count)}: {', '.join(by[count])}" for count in sorted(by)) if len(by) > 1 else ""


def count_words(count: int) -> str:
    """'1 thread', '2 threads'."""
    return f"{count} thread{'s' if count != 1 else ''}"


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
