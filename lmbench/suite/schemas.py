"""The pydantic model of each member's options, as the registry names it."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.base.entry import Entry
from lmbench.base.registry import WORKLOADS, resolve
from lmbench.suite.params import Params


def schema(entry: Entry) -> type[Params] | None:
    """The model of a member's options; None where they are the keyword arguments of a user's own function."""
    found: type[Params] | None = resolve(entry.options) if entry.options else None
    return found


WORKLOAD_PARAMS: Mapping[str, type[Params]] = {name: found for name, entry in WORKLOADS.items() if (found := schema(entry))}
