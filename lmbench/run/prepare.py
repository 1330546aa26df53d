"""What must be measured once before any case, in a process of its own so that no case pays for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable

from lmbench.base.cache import entries
from lmbench.base.registry import BACKENDS
from lmbench.measure.machine import machine_class
from lmbench.plan.case import Case

KIND = "ceilings"
MEASURE = "from lmbench.measure.ceilings import ceilings; ceilings()"
TIMEOUT_S = 120.0


def ceilings_first(cases: Iterable[Case]) -> bool:
    """Measure this machine's ceilings unless they are cached or no case could use them; True when it was tried.

    A failure is no error here: MFU and MBU are then None, and say why.
    """
    if not any(BACKENDS[case.backend.kind].needs for case in cases):
        return False
    machine = machine_class().digest
    if any(entry.kind == KIND and entry.key.get("machine") == machine for entry in entries()):
        return False
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-c", MEASURE]
    try:
        subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return True
    return True
