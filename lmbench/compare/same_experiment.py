"""Which metrics of two comparable records must not be put beside each other, since they were measured under other objectives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lmbench.base.catalogue import is_of_batch
from lmbench.record.objectives import objectives_of
from lmbench.record.record import Record

OF_BEST_BATCH = ("output_tokens_per_s", "total_tokens_per_s", "mfu", "mbu")
PEAK = "peak_rss_bytes"


def barred(stored: Record, now: Record) -> dict[str, str]:
    """Metric -> why its values in the two records are those of different experiments."""
    return {**_objectives(stored, now), **_batches(stored, now)}


def fit(name: str, stored: Iterable[Record], now: Record) -> tuple[Record, ...]:
    """Those stored records whose metric `name` was measured as it is now."""
    return tuple(one for one in stored if name not in barred(one, now))


def why_barred(name: str, stored: Sequence[Record], now: Record) -> str:
    """The reason of the newest stored record; '' when some record fits."""
    return "" if fit(name, stored, now) or not stored else barred(stored[0], now)[name]


def _objectives(stored: Record, now: Record) -> dict[str, str]:
    before, after = objectives_of(stored), objectives_of(now)
    reasons: dict[str, list[str]] = {}
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and math.isclose(old.value, new.value, rel_tol=1e-9):
            continue
        words = [f"{one.value:.4g} ({one.whence})" if one is not None else "none" for one in (old, new)]
        bound = dict.fromkeys([*(old.metrics if old else ()), *(new.metrics if new else ())])
        for metric in bound:
            reasons.setdefault(metric, []).append(f"{name} {words[0]} -> {words[1]}")
    return {metric: f"other objectives: {'; '.join(found)}" for metric, found in reasons.items()}


def _batches(stored: Record, now: Record) -> dict[str, str]:
    """A rate of the best batch is compared where both sweeps reached it, a batch's own rate where both measured it."""
    before, after = _sweep(stored), _sweep(now)
    if not before or not after:
        return {}
    found: dict[str, str] = {}
    names = [name for name in (*stored.metrics, *now.metrics) if is_of_batch(name)]
    for name in dict.fromkeys(names):
        size = int(name.rpartition("_")[2])
        lacking = [which for which, sizes in (("the stored run", before), ("this run", after)) if size not in sizes]
        if lacking:
            found[name] = f"batch {size} was not measured by {lacking[0]}"
    best = [_best(stored), _best(now)]
    if None not in best and (best[0] not in after or best[1] not in before):
        why = f"the stored sweep ended at batch {max(before)} (best {best[0]}), this one at batch {max(after)} (best {best[1]})"
        found |= dict.fromkeys(OF_BEST_BATCH, f"other batches: {why}; batches that both measured are compared one by one")
    if max(before) != max(after):
        found[PEAK] = f"other batches: the largest was {max(before)} in the stored run and is {max(after)} now"
    return found


def _sweep(record: Record) -> tuple[int, ...]:
    rows: Any = record.details.get("sweep")
    if record.case.workload != "throughput" or not isinstance(rows, list):
        return ()
    return tuple(int(row["batch"]) for row in rows if isinstance(row, Mapping) and "batch" in row)


def _best(record: Record) -> int | None:
    metric = record.metrics.get("best_batch")
    return None if metric is None or metric.value is None else int(metric.value)
