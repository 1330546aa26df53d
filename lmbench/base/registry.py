"""The registry: every model family, compression method, backend and workload by name, imported when used.

Built-in members stand in base.members. An installed distribution adds its own by entry points in the groups `lmbench.models`,
`lmbench.compressions`, `lmbench.backends` and `lmbench.workloads`: a name, and an object of type base.entry.Entry.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from lmbench.base.entry import Entry
from lmbench.base.members import backends, compressions, models, workloads


def _with_installed(axis: str, own: Mapping[str, Entry]) -> Mapping[str, Entry]:
    """`own` and what installed distributions add; what cannot be used is left out with a warning that names its distribution."""
    found = dict(own)
    for point in entry_points(group=f"lmbench.{axis}"):
        source = f"entry point {point.name!r} of {point.dist.name if point.dist else 'an unknown distribution'} (lmbench.{axis})"
        try:
            entry = point.load()
        except (ImportError, AttributeError) as error:
            warnings.warn(f"{source} is left out: {type(error).__name__}: {error}", stacklevel=2)
            continue
        if point.name in own or not isinstance(entry, Entry):
            why = "the name is taken" if point.name in own else f"found a {type(entry).__name__}, expected an lmbench Entry"
            warnings.warn(f"{source} is left out: {why}", stacklevel=2)
            continue
        found[point.name] = entry
    return found


MODELS = _with_installed("models", models.MEMBERS)
COMPRESSIONS = _with_installed("compressions", compressions.MEMBERS)
BACKENDS = _with_installed("backends", backends.MEMBERS)
WORKLOADS = _with_installed("workloads", workloads.MEMBERS)


def resolve(target: str) -> Any:
    """Import 'module:attribute' and return the attribute."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def nearest(name: str, known: Iterable[str]) -> str:
    """A 'did you mean' sentence for a name that is not known, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {matches[0]!r}?" if matches else ""
