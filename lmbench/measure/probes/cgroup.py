"""Limits and throttling of this process's control groups, version 1 or 2 (cgroups(7)).

A limit of an ancestor binds too, so limits are the smallest on the way up to the mount point.
"""

from __future__ import annotations

from lmbench.base.control_groups import cpu_quota, located
from lmbench.base.kernel_file import KernelFile, open_file, read_int, read_text

# Version 1 writes "no limit" as the largest page-aligned signed 64-bit number.
UNLIMITED_BYTES = 1 << 60


class Cgroup:
    """Present memory use and throttling of the own group, held open; `reasons` says what is missing."""

    def __init__(self, proc: str = "/proc/self") -> None:
        self.folders = located(proc)
        self.reasons: dict[str, str] = {}
        self._memory = self._first("cgroup_memory_bytes", (("v1:memory", "memory.usage_in_bytes"), ("v2", "memory.current")))
        self._cpu = self._first("cgroup_throttled_s", (("v1:cpu", "cpu.stat"), ("v2", "cpu.stat")), must_hold="nr_throttled")

    def read(self) -> dict[str, float]:
        """cgroup_memory_bytes; cgroup_throttled_periods and cgroup_throttled_s (totals); what there is of them."""
        row: dict[str, float] = {}
        if self._memory is not None:
            row["cgroup_memory_bytes"] = int(self._memory.read())
        if self._cpu is not None:
            row |= parse_throttling(self._cpu.read())
        return row

    def limits(self) -> dict[str, float | str | None]:
        """version, memory_limit_bytes and cpu_quota (in CPUs); None = no limit found."""
        memory = [_limit_bytes(f"{folder}/memory.limit_in_bytes") for folder in self.folders.get("v1:memory", [])]
        memory += [_limit_bytes(f"{folder}/memory.max") for folder in self.folders.get("v2", [])]
        versions = sorted({key.partition(":")[0] for key in self.folders})
        return {
            "version": "+".join(versions) or None,
            "memory_limit_bytes": min((value for value in memory if value is not None), default=None),
            "cpu_quota": cpu_quota(self.folders),
        }

    def memory_left(self) -> int | None:
        """Bytes within the limit; the page cache of files not in use counts as free. None without a limit."""
        limit, used = self.limits()["memory_limit_bytes"], self.read().get("cgroup_memory_bytes")
        if not isinstance(limit, int) or used is None:
            return None
        return max(0, limit - int(used) + self._reclaimable())

    def _reclaimable(self) -> int:
        for key, field in (("v1:memory", "total_inactive_file"), ("v2", "inactive_file")):
            for folder in self.folders.get(key, [])[:1]:
                text = read_text(f"{folder}/memory.stat") or ""
                table = dict(line.split(None, 1) for line in text.splitlines() if " " in line)
                return int(table.get(field, 0))
        return 0

    def close(self) -> None:
        for file in (self._memory, self._cpu):
            if file is not None:
                file.close()

    def _first(self, name: str, places: tuple[tuple[str, str], ...], must_hold: str = "") -> KernelFile | None:
        tried = []
        for key, leaf in places:
            for folder in self.folders.get(key, [])[:1]:
                file, reason = open_file(f"{folder}/{leaf}")
                if file is not None and must_hold in file.read():
                    return file
                if file is not None:
                    file.close()
                    reason = f"{folder}/{leaf} has no {must_hold} (a root group is never throttled)"
                tried.append(reason)
        self.reasons[name] = "; ".join(tried) or "no control group with this controller is mounted"
        return None


def parse_throttling(text: str) -> dict[str, float]:
    """Periods and seconds of throttling in cpu.stat: throttled_time in ns (v1), throttled_usec in us (v2)."""
    values = dict(line.split(None, 1) for line in text.splitlines() if " " in line)
    seconds = int(values.get("throttled_time", 0)) / 1e9 + int(values.get("throttled_usec", 0)) / 1e6
    return {"cgroup_throttled_periods": int(values.get("nr_throttled", 0)), "cgroup_throttled_s": seconds}


def _limit_bytes(path: str) -> int | None:
    value = read_int(path)
    return value if value is not None and value < UNLIMITED_BYTES else None
