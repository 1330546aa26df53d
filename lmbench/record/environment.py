"""The environment fingerprint: what a reader must know to judge a number; reads facts, imports no engine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lmbench.base.digest import digest
from lmbench.base.git import git
from lmbench.base.kernel_file import list_names, read_text
from lmbench.base.threads import thread_budget
from lmbench.measure import machine
from lmbench.measure.probes.memory import meminfo
from lmbench.record import variables

PACKAGES = (
    "lmbench",
    "torch",
    "torchao",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pytest",
    "pytest-benchmark",
)
DISTRIBUTION = {"lmbench": "pytest-lmbench"}
RECIPE_KEY = "variables_recipe"
GIT_TIMEOUT_S = 5.0
CPU0 = "/sys/devices/system/cpu/cpu0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """`facts` is plain JSON, nested by topic; a fact that is not known is None, and `reasons` may say why.

    `digest` covers `facts`, which holds nothing that changes from minute to minute.
    """

    facts: Mapping[str, Any]
    reasons: Mapping[str, str]
    digest: str

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "facts": dict(self.facts), "reasons": dict(self.reasons)}


def collect(folder: Path | None = None) -> Environment:
    """The environment of this process; `folder` (default: the current one) names the git repository to describe."""
    reasons: dict[str, str] = {}
    devices, gpu_reason = machine.gpus()
    if gpu_reason:
        reasons["gpus"] = gpu_reason
    budget = thread_budget()
    facts = {
        "machine_class": machine.machine_class().slug,
        "cpu": _cpu(reasons),
        "memory": _memory(),
        "system": _system(),
        "limits": machine.cgroup_limits(),
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
            "hash_seed": os.environ.get("PYTHONHASHSEED"),
        },
        "packages": {name: _version(name) for name in PACKAGES},
        "threads": {"budget": budget.threads, "source": budget.source},
        "variables": variables.of_consequence(),
        RECIPE_KEY: variables.RECIPE,
        "gpus": devices,
        "git": _git(folder or Path.cwd(), reasons),
    }
    return Environment(facts=facts, reasons=reasons, digest=digest(facts))


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """One readable line per fact in which two environments' `facts` differ: 'packages.torch: 2.12.0 -> 2.13.0'."""
    before, after = _flat(a), _flat(b)
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {_said(before.get(name))} -> {_said(after.get(name))}" for name in names if before.get(name) != after.get(name)
    ]


def governor() -> str | None:
    """The frequency governor of CPU 0; None where the kernel has no cpufreq (most virtual machines)."""
    return read_text(f"{CPU0}/cpufreq/scaling_governor")


def turbo() -> bool | None:
    """Whether the CPU may exceed its base frequency; None when the kernel does not say."""
    no_turbo = read_text("/sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == "0"
    boost = read_text("/sys/devices/system/cpu/cpufreq/boost")
    return None if boost is None else boost == "1"


def _cpu(reasons: dict[str, str]) -> dict[str, Any]:
    numa = [name for name in list_names("/sys/devices/system/node") if name.startswith("node")]
    if governor() is None:
        reasons["cpu.governor"] = f"{CPU0}/cpufreq is absent"
    if turbo() is None:
        reasons["cpu.turbo"] = "neither intel_pstate/no_turbo nor cpufreq/boost is there"
    return {
        "model": machine.cpu_model(),
        "flags": machine.cpu_flags(),
        "logical": os.cpu_count(),
        "threads_per_core": _threads_per_core(),
        "affinity": machine.affinity(),
        "usable": machine.usable_cpus(),
        "numa_nodes": len(numa) or None,
        "governor": governor(),
        "turbo": turbo(),
    }


def _memory() -> dict[str, Any]:
    table = meminfo()
    huge = read_text("/sys/kernel/mm/transparent_hugepage/enabled") or ""
    chosen = huge.partition("[")[2].partition("]")[0]
    return {"total_bytes": table.get("MemTotal"), "swap_bytes": table.get("SwapTotal"), "transparent_hugepages": chosen or None}


def _system() -> dict[str, Any]:
    return {
        "os": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()) or None,
        "container": _container(),
        "hypervisor": _hypervisor(),
        "clocksource": read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "executable": Path(sys.executable).name,
    }


def _container() -> str | None:
    """A hint at the container runtime; None outside of one or when it leaves no trace."""
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if Path(path).exists():
            return name
    membership = read_text("/proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc", "containerd") if name in membership), None)


def _hypervisor() -> str | None:
    """A hint at virtualisation: the firmware's product name, or 'unknown' where only the CPU flag says so."""
    flagged = " hypervisor" in (read_text("/proc/cpuinfo") or "")
    product = read_text("/sys/class/dmi/id/sys_vendor") or read_text("/sys/hypervisor/type")
    return (product or "unknown") if flagged else None


def _threads_per_core() -> int | None:
    siblings = read_text(f"{CPU0}/topology/thread_siblings_list")
    if siblings is None:
        return None
    ranges = (part.partition("-") for part in siblings.split(","))
    return sum(int(last) - int(first) + 1 if last else 1 for first, _, last in ranges)


def _version(name: str) -> str | None:
    try:
        return metadata.version(DISTRIBUTION.get(name, name))
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, reasons: dict[str, str]) -> dict[str, Any]:
    commit, why = git(folder, "rev-parse", "HEAD", timeout_s=GIT_TIMEOUT_S)
    if commit is None:
        reasons["git.commit"] = why
        return {"commit": None, "dirty": None}
    # Untracked files count: a new module changes what runs as much as an edited one.
    status, why = git(folder, "status", "--porcelain", "--untracked-files=normal", timeout_s=GIT_TIMEOUT_S)
    if status is None:
        reasons["git.dirty"] = why
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, inner in value.items():
            found |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return found
    return {prefix: list(value) if isinstance(value, tuple) else value}


def _said(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_said(inner) for inner in value) + "]"
    return "unknown" if value is None else str(value)
