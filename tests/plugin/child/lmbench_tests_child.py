"""Plugin of sessions that tests start: py-cpuinfo asks the CPU once for all of them, and what measuring costs is measured briefly.

Neither is what such a test is about. tests/measure measures the harness in full, and one session in test_plugin_run.py does without.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cpuinfo

from lmbench.measure import harness

BLOCK_S = 0.004
_measure = cpuinfo.get_cpu_info


def known() -> dict[str, Any]:
    """What the first session of all found out about this CPU."""
    path = Path(os.environ["LMBENCH_TESTS_SHARED"]) / "cpu.json"
    if not path.is_file():
        own = path.with_name(f"{os.getpid()}.json")
        own.write_text(json.dumps(_measure()))
        own.replace(path)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


cpuinfo.get_cpu_info = known
harness.BLOCK_S = BLOCK_S
