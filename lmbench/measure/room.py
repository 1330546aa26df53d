"""How much memory a process here may still take."""

from __future__ import annotations

from lmbench.measure.probes.cgroup import Cgroup
from lmbench.measure.probes.memory import available_bytes


def room_bytes() -> int | None:
    """What the system can hand out without swapping, within the limit of the own control group; None where neither tells."""
    group = Cgroup()
    try:
        found = [one for one in (available_bytes(), group.memory_left()) if one is not None]
    finally:
        group.close()
    return min(found, default=None)
