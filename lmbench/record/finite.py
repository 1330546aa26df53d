"""A record without NaN and infinities: JSON has none, and a number that is not known is None with a reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from lmbench.measure.measurement import Metric
from lmbench.record.record import Record

SHOWN = 5
"""Places named in a note; the others are counted."""


def finite(record: Record) -> Record:
    """`record` itself where all its numbers are finite. Else with None in their places, and a note that names these.

    A metric gets the value as its reason. A series loses the values, since all of its samples are numbers.
    """
    parts = {"details": record.details, "subject": record.subject, "resources": record.resources}
    odd = [f"metric {name}" for name, metric in record.metrics.items() if _odd(metric.value)]
    odd += [f"series {name}" for name, values in record.series.items() if any(map(_odd, values))]
    odd += [place for name, part in parts.items() for place in _places(part, name)]
    if not odd:
        return record
    rest = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
    note = f"numbers that are not finite were left out: {', '.join(odd[:SHOWN])}{rest}"
    return replace(
        record,
        metrics={name: _known(metric) for name, metric in record.metrics.items()},
        series={name: tuple(value for value in values if not _odd(value)) for name, values in record.series.items()},
        notes=(*record.notes, note),
        details=_members(record.details),
        subject=_members(record.subject),
        resources=_members(record.resources),
    )


def _known(metric: Metric) -> Metric:
    if metric.value is None or not _odd(metric.value):
        return metric
    return replace(metric, value=None, reason=f"the measured value is {float(metric.value):g}, which is no finite number")


def _odd(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _places(value: object, path: str) -> Iterator[str]:
    if _odd(value):
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _places(inner, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _places(inner, f"{path}[{index}]")


def _members(part: Mapping[str, object]) -> dict[str, object]:
    return {key: _plain(inner) for key, inner in part.items()}


def _plain(value: object) -> object:
    if _odd(value):
        return None
    if isinstance(value, Mapping):
        return _members(value)
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
