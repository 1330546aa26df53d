"""What hardware this is: the facts of the processor, memory and devices, and the machine class made of them."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lmbench.base.digest import digest
from lmbench.base.kernel_file import read_text
from lmbench.measure.probes.cgroup import Cgroup
from lmbench.measure.probes.memory import meminfo
from lmbench.measure.probes.nvml import open_nvml

GIB = 1 << 30
FLAGS = re.compile(r"^(avx2?|avx512\w*|avx_vnni\w*|amx\w*|fma|f16c|sse4_2|asimd\w*|sve\w*|bf16|i8mm)$")
"""CPU flags that decide which kernels run."""
_NOISE = re.compile(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*$|\b\d+-core\b|\bwith\b.*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineClass:
    """What must agree for two records to be comparable; no names, no frequencies, no software versions."""

    slug: str
    """Readable and safe as a folder name: 'xeon-platinum-8481c-2cpu-24gib-1a2b3c4d'."""
    digest: str
    facts: Mapping[str, Any]


def machine_class() -> MachineClass:
    """The class of this machine as this process may use it (affinity and control group limits count)."""
    facts = class_facts()
    code = digest(facts)
    parts = [short_name(facts["cpu_model"]), f"{facts['cpus']:g}cpu".replace(".", "p"), f"{facts['memory_gib']}gib"]
    parts += [short_name(name) if count == 1 else f"{count}x{short_name(name)}" for name, _, count in facts["gpus"]]
    slug = "-".join(part for part in (*parts, code[:8]) if part)
    return MachineClass(slug=slug, digest=code, facts=facts)


def class_facts() -> dict[str, Any]:
    """cpu_model, architecture, cpus, memory_gib, gpus [[name, GiB, count]] and os."""
    devices, _ = gpus()
    kinds = sorted({_kind(device) for device in devices})
    return {
        "cpu_model": cpu_model(),
        "architecture": platform.machine(),
        "cpus": usable_cpus(),
        "memory_gib": round((usable_memory_bytes() or 0) / GIB),
        "gpus": [[*kind, sum(_kind(device) == kind for device in devices)] for kind in kinds],
        "os": platform.system(),
    }


def cpu_model() -> str:
    """The processor's name as the kernel gives it, or the architecture's where it gives none."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> list[str]:
    """The instruction set extensions that decide which kernels run, sorted."""
    info = _cpuinfo()
    return sorted(flag for flag in (info.get("flags") or info.get("Features") or "").split() if FLAGS.match(flag))


def affinity() -> list[int]:
    """The logical CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cpus() -> float:
    """CPUs this process can keep busy: its affinity, less if a control group's quota is smaller."""
    count = float(len(affinity()))
    quota = cgroup_limits()["cpu_quota"]
    return min(count, float(quota)) if quota is not None else count


def usable_memory_bytes() -> int | None:
    """Memory of the machine, or of the control group where that is smaller; None without /proc."""
    sizes = [meminfo().get("MemTotal"), cgroup_limits()["memory_limit_bytes"]]
    return min((int(size) for size in sizes if size is not None), default=None)


def cgroup_limits() -> dict[str, Any]:
    """version, memory_limit_bytes and cpu_quota of the control groups this process is in."""
    group = Cgroup()
    try:
        return group.limits()
    finally:
        group.close()


def gpus() -> tuple[list[dict[str, Any]], str]:
    """Name and memory of each NVIDIA device, and the reason when there is none."""
    session, reason = open_nvml()
    if session is None:
        return [], reason
    try:
        return [{**device.facts, "driver": session.driver_version} for device in session.devices], ""
    finally:
        session.close()


def short_name(model: str) -> str:
    """'Intel(R) Xeon(R) Platinum 8481C CPU @ 2.00GHz' -> 'xeon-platinum-8481c'."""
    text = _NOISE.sub(" ", model.lower()).replace("intel", " ").replace("nvidia", " ")
    return "-".join(re.findall(r"[a-z0-9]+", text))[:40].strip("-")


def _kind(device: Mapping[str, Any]) -> tuple[str, int]:
    return device["name"] or "unknown", round((device["memory_total_bytes"] or 0) / GIB)


def _cpuinfo() -> dict[str, str]:
    """The first processor's block of /proc/cpuinfo."""
    block = (read_text("/proc/cpuinfo") or "").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in block.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
