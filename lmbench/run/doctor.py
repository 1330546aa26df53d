"""What this machine has and lacks for benchmarking, as findings with remedies; prints nothing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from lmbench.base.entry import Entry, Need
from lmbench.base.environments import python_of
from lmbench.base.kernel_file import read_text
from lmbench.base.registry import BACKENDS, COMPRESSIONS, MODELS
from lmbench.base.threads import ThreadBudget, thread_budget
from lmbench.base.units import pretty
from lmbench.measure import machine
from lmbench.measure.clock import CLOCK
from lmbench.measure.probes.cgroup import Cgroup
from lmbench.measure.probes.memory import meminfo
from lmbench.measure.probes.pressure import Pressure
from lmbench.measure.probes.rapl import Rapl
from lmbench.record.environment import governor, turbo

OK, NOTE, WARN, FAIL = "ok", "note", "warn", "fail"
BUSY_PSI_PERCENT = 10.0
STOLEN_SHARE = 0.02
WATCH_S = 0.5
LITTLE_MEMORY_BYTES = 2 << 30
GOOD_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found: its level (ok, note, warn, fail), why it matters to a measurement, what to do about it."""

    area: str
    level: str
    found: str
    why: str
    remedy: str = ""


def diagnose() -> list[Finding]:
    """Every finding about this machine as it is now; watches it for half a second, imports no engine."""
    return [
        *noise(*_watch()),
        *frequency(governor(), turbo()),
        *memory(meminfo(), machine.cgroup_limits()["memory_limit_bytes"]),
        *cpus(machine.affinity(), machine.usable_cpus(), thread_budget()),
        clocksource(read_text("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        *devices(*machine.gpus()),
        energy_counters(),
        engines(BACKENDS),
        *_axis("backend", BACKENDS),
        *_axis("model", MODELS),
        *_axis("compression", COMPRESSIONS),
    ]


def exit_status(findings: Iterable[Finding]) -> int:
    """2 with a 'fail', else 1 with a 'warn', else 0."""
    levels = {finding.level for finding in findings}
    return 2 if FAIL in levels else int(WARN in levels)


def noise(before: Mapping[str, float], after: Mapping[str, float], reasons: Mapping[str, str], cpu_count: float) -> list[Finding]:
    """Findings on contention from two readings of the gauges, `t` seconds apart as the rows say."""
    wall = max(after["t"] - before["t"], 1e-9)
    why = "foreign load makes times longer and scattered; two runs then differ by tens of percent"
    found = []
    if "psi_cpu" in reasons:
        remedy = "boot with psi=1, or use a kernel with CONFIG_PSI"
        found.append(
            Finding(
                area="pressure", level=NOTE, found=reasons["psi_cpu"], why="the best gauge of noise is missing", remedy=remedy
            )
        )
    else:
        waiting = after["psi_cpu_some_avg10"]
        text = f"tasks waited for a CPU {waiting:.0f} % of the last 10 s"
        found.append(_judged("pressure", waiting > BUSY_PSI_PERCENT, text, why, "stop other work on this machine"))
    if "loadavg_1m" in after:
        load = after["loadavg_1m"]
        text = f"load average {load:.2f} on {cpu_count:g} CPUs"
        found.append(_judged("load", load > cpu_count / 2, text, why, "stop other work on this machine"))
    if "steal_s" in before and "steal_s" in after:
        stolen = (after["steal_s"] - before["steal_s"]) / wall / cpu_count
        text = f"the hypervisor took {stolen:.1%} of the CPU time"
        remedy = "use a dedicated host, or compare only paired runs"
        found.append(_judged("steal", stolen > STOLEN_SHARE, text, "another guest's load is not under control here", remedy))
    if "cgroup_throttled_periods" in after:
        periods = after["cgroup_throttled_periods"] - before.get("cgroup_throttled_periods", 0.0)
        total = after["cgroup_throttled_periods"]
        text = f"throttled in {periods:.0f} periods while watching, {total:.0f} since the group began"
        remedy = "raise the container's CPU limit, or use fewer threads than it allows"
        found.append(
            _judged("throttling", periods > 0, text, "a throttled group stands still for the rest of each period", remedy)
        )
    return found


def frequency(policy: str | None, boost: bool | None) -> list[Finding]:
    """Findings on the frequency governor and turbo; None is 'the kernel does not say'."""
    why = "a clock that changes with load and heat changes every time measured"
    hidden = "not visible here (usual in virtual machines)"
    if policy is None:
        found = [Finding(area="governor", level=NOTE, found=hidden, why=why, remedy="compare paired runs only")]
    else:
        found = [_judged("governor", policy != "performance", policy, why, "cpupower frequency-set -g performance")]
    if boost is None:
        return [*found, Finding(area="turbo", level=NOTE, found=hidden, why=why, remedy="compare paired runs only")]
    text = "on" if boost else "off"
    level = NOTE if boost else OK
    remedy = "switch it off for steadier, slower times (intel_pstate/no_turbo or cpufreq/boost)" if boost else ""
    return [*found, Finding(area="turbo", level=level, found=text, why=why, remedy=remedy)]


def memory(table: Mapping[str, int], limit: float | None) -> list[Finding]:
    """Findings on free memory, the group's limit and swap, from /proc/meminfo in bytes."""
    if "MemAvailable" not in table:
        return [Finding(area="memory", level=NOTE, found="no /proc/meminfo", why="memory cannot be judged on this system")]
    free = table["MemAvailable"]
    text = f"{pretty(free, 'bytes')} available" + (f", group limit {pretty(limit, 'bytes')}" if limit else "")
    room = min(free, limit) if limit else free
    why = "a model that does not fit is killed or swapped"
    found = [_judged("memory", room < LITTLE_MEMORY_BYTES, text, why, "close programs, raise the limit, or use smaller models")]
    used = table.get("SwapTotal", 0) - table.get("SwapFree", 0)
    text = f"{pretty(used, 'bytes')} of {pretty(table.get('SwapTotal', 0), 'bytes')} used"
    return [
        *found,
        _judged("swap", used > 0, text, "pages read back from disk appear as slow rounds", "swapoff -a, or free memory"),
    ]


def cpus(allowed: Sequence[int], usable: float, budget: ThreadBudget | None = None) -> list[Finding]:
    """Findings on how many CPUs this process has, by affinity and by quota, and on the threads that engines get."""
    why = "engines compute with as many threads as there are CPUs; a group with a quota stands still once it is used up"
    text = f"{len(allowed)} by affinity, {usable:g} with the group's quota"
    short = usable < len(allowed)
    remedy = f"raise the quota to a whole number of CPUs, or set OMP_NUM_THREADS={max(int(usable), 1)} for servers that you start"
    found = [_judged("cpus", short, text, why, remedy)]
    if budget is not None:
        words = "; ".join([f"{budget.threads} for every engine, from {budget.source}", *budget.notes])
        why = "more threads than CPUs wait for each other; engines with different numbers do not compare"
        crowded = budget.threads > max(1.0, usable)
        found.append(_judged("threads", crowded or bool(budget.notes), words, why, "correct the variable, or remove it"))
    if len(allowed) == 1:
        why = "the sampler and the workload share one CPU"
        found.append(Finding(area="cpus", level=NOTE, found="a single CPU", why=why, remedy="use a machine with two"))
    return found


def clocksource(name: str | None) -> Finding:
    """The finding on the kernel's clock: a slow one costs a system call per reading."""
    why = "other clock sources cost microseconds per reading"
    if name is None:
        return Finding(area="clock", level=NOTE, found="not visible here", why=why)
    return _judged("clock", name not in GOOD_CLOCKS, name, why, "boot with clocksource=tsc where the hardware allows it")


def devices(found: Sequence[Mapping[str, Any]], reason: str) -> list[Finding]:
    """One finding per NVIDIA device, or one note without any."""
    why = "device metrics (utilization, memory, power) come from NVML"
    if not found:
        return [Finding(area="gpu", level=NOTE, found=reason, why=why, remedy="install the NVIDIA driver if there is a GPU")]
    return [
        Finding(area="gpu", level=OK, found=f"{device['name']}, {pretty(device['memory_total_bytes'], 'bytes')}", why=why)
        for device in found
    ]


def energy_counters() -> Finding:
    """The finding on RAPL."""
    counters = Rapl()
    why = "without counters the energy of the CPU is not known"
    if counters.reason:
        return Finding(area="energy", level=NOTE, found=counters.reason, why=why, remedy="run on bare metal, as root")
    counters.close()
    return Finding(area="energy", level=OK, found="RAPL counters are readable", why=why)


def engines(backends: Mapping[str, Entry]) -> Finding:
    """The finding on whether anything real can be measured: a failure when every backend that needs an engine lacks it."""
    real = {name: entry for name, entry in backends.items() if entry.needs}
    usable = [name for name, entry in real.items() if not _missing(entry)]
    why = "without an engine every case is skipped"
    if usable:
        return Finding(area="engines", level=OK, found=f"{len(usable)} of {len(real)} backends usable", why=why)
    remedy = "pip install 'pytest-lmbench[all]'"
    return Finding(area="engines", level=FAIL, found=f"none of {', '.join(real)} is installed", why=why, remedy=remedy)


def _watch() -> tuple[dict[str, float], dict[str, float], dict[str, str], float]:
    pressure, group = Pressure(), Cgroup()
    try:
        before = {"t": CLOCK.now(), **pressure.read(), **group.read()}
        CLOCK.sleep_until(before["t"] + WATCH_S)
        after = {"t": CLOCK.now(), **pressure.read(), **group.read()}
    finally:
        pressure.close()
        group.close()
    return before, after, pressure.reasons, machine.usable_cpus()


def _axis(area: str, entries: Mapping[str, Entry]) -> list[Finding]:
    return [member(area, name, entry) for name, entry in entries.items()]


def member(area: str, name: str, entry: Entry) -> Finding:
    """The finding on one member of an axis: versions of what it needs, or what is missing and how to get it."""
    if entry.env is not None and python_of(entry.env) is None:
        text, remedy = f"{name}: its environment is not created", f"lmbench env create {entry.env}"
        return Finding(area=area, level=NOTE, found=text, why="its cases are skipped", remedy=remedy)
    missing = _missing(entry)
    if missing:
        text = f"{name}: {', '.join(need.module for need in missing)} not installed"
        extras = ",".join(sorted({need.extra for need in missing}))
        remedy = f"pip install 'pytest-lmbench[{extras}]'"
        return Finding(area=area, level=NOTE, found=text, why="its cases are skipped", remedy=remedy)
    versions = ", ".join(f"{need.module} {_version(need.module)}" for need in entry.needs)
    return Finding(area=area, level=OK, found=f"{name}: {versions or 'built in'}", why=entry.about)


def _missing(entry: Entry) -> list[Need]:
    return [need for need in entry.needs if importlib.util.find_spec(need.module) is None]


def _version(module: str) -> str:
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _judged(area: str, bad: bool, found: str, why: str, remedy: str) -> Finding:
    return Finding(area=area, level=WARN if bad else OK, found=found, why=why, remedy=remedy if bad else "")
