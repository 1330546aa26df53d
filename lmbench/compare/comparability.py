"""Whether two records of one case measure the same thing on the same kind of machine, and what differs if not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmbench.record.record import Record

ABSENT = "(absent)"
_LONGEST = 60


def why_incomparable(baseline: Record, now: Record) -> tuple[str, ...]:
    """Sentences saying why numbers of `baseline` and `now` must not be put beside each other; empty when they may.

    Differences of the environment within one machine class are no reason: see `environment_changes`.
    """
    reasons = []
    if baseline.schema_version != now.schema_version:
        reasons.append(f"record schema {baseline.schema_version} -> {now.schema_version}")
    if baseline.machine_class != now.machine_class:
        reasons.append(f"another class of machine: {baseline.machine_class} -> {now.machine_class}")
    if baseline.case.digest != now.case.digest:
        changes = describe_changes(baseline.case.identity(), now.case.identity())
        reasons.append("the case was declared differently: " + "; ".join(changes))
    if baseline.corpus_digest != now.corpus_digest:
        reasons.append(f"the corpus changed: digest {baseline.corpus_digest} -> {now.corpus_digest}")
    return tuple(reasons)


def environment_changes(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """'torch.version 2.9 -> 2.13', one per differing entry: notes beside a comparison, never a reason against it."""
    return describe_changes(baseline, now)


def describe_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, ...]:
    """Every leaf that differs between two JSON objects as 'key.key old -> new', in order of the keys."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    keys = sorted(before.keys() | after.keys())
    return tuple(
        f"{key} {_short(before.get(key, ABSENT))} -> {_short(after.get(key, ABSENT))}"
        for key in keys
        if before.get(key, ABSENT) != after.get(key, ABSENT)
    )


def comparable(baselines: Sequence[Record], now: Record) -> tuple[Record, ...]:
    """Those of `baselines` that may be compared with `now`, in the same order."""
    return tuple(record for record in baselines if not why_incomparable(record, now))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
