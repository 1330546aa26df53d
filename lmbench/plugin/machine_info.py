"""pytest-benchmark's machine info without what changes from run to run, so that its own comparison can match."""

from __future__ import annotations

from typing import Any

import pytest

from lmbench.measure.machine import machine_class

VOLATILE_CPU = ("hz_actual", "hz_actual_friendly", "hz_advertised", "hz_advertised_friendly")


def settle_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Drop host name and clock readings and add the machine class, for storages kept by machine class only."""
    slug = machine_class().slug
    if slug not in str(config.getoption("benchmark_storage", "")):
        return
    machine_info.pop("node", None)
    for key in VOLATILE_CPU:
        machine_info.get("cpu", {}).pop(key, None)
    machine_info["machine_class"] = slug
