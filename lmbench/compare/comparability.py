"""Whether two records of one case measure the same thing on the same kind of machine, and what differs if not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lmbench.record.environment import RECIPE_KEY
from lmbench.record.record import Record
from lmbench.record.thread_use import source_of, threads_of
from lmbench.record.variables import recorded_then

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
    before, after = threads_of(baseline), threads_of(now)
    if None not in (before, after) and before != after:
        where = f" ({source})" if (source := source_of(now)) else ""
        reasons.append(f"the engine computed with another number of threads: {before} -> {after}{where}")
    return tuple(reasons)


def environment_changes(baseline: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """'torch.version 2.9 -> 2.13', one per differing entry: notes beside a comparison, never a reason against it."""
    recipes = [one.get(RECIPE_KEY) for one in (baseline, now)]
    if recipes[0] == recipes[1]:
        return describe_changes(baseline, now)
    found = describe_changes(*(_recorded_by_both(one, recipes) for one in (baseline, now)))
    return (*found, "variables: one of the two runs did not record all that the other did, and those are not compared")


def _recorded_by_both(environment: Mapping[str, Any], recipes: Sequence[object]) -> dict[str, Any]:
    """The environment without the variables, and what follows from them, that only one of the two recipes records."""
    variables = environment.get("variables")
    kept = variables if isinstance(variables, Mapping) else {}
    shared = {name: value for name, value in kept.items() if all(recorded_then(name, recipe) for recipe in recipes)}
    rest = {name: value for name, value in environment.items() if name not in (RECIPE_KEY, "threads")}
    return {**rest, "variables": shared}


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
