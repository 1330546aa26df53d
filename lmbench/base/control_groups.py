"""Where this process's control groups are, version 1 or 2 (cgroups(7)), and the CPU quota that they set.

A limit of an ancestor binds too, so a limit is the smallest on the way up to the mount point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lmbench.base.kernel_file import read_int, read_text

CONTROLLERS = ("memory", "cpu")
PERIOD_US = 100_000
"""The period of a version 2 quota whose file names none (the kernel's default)."""


def locate(mountinfo: str, membership: str) -> dict[str, list[str]]:
    """'v1:memory', 'v1:cpu', 'v2' -> folders from the process's own group up to the mount point.

    `mountinfo` is the text of /proc/self/mountinfo, `membership` of /proc/self/cgroup. Inside a container the
    membership may name a path outside the mount; then only the mount point is left.
    """
    mounts = dict(_mounts(mountinfo))
    found: dict[str, list[str]] = {}
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        keys = ["v2"] if number == "0" and not names else [f"v1:{name}" for name in names.split(",") if name in CONTROLLERS]
        for key in keys:
            if key in mounts:
                found[key] = _chain(*mounts[key], path)
    return found


def located(proc: str = "/proc/self") -> dict[str, list[str]]:
    """The folders of the process whose /proc folder is given (see `locate`)."""
    return locate(read_text(f"{proc}/mountinfo") or "", read_text(f"{proc}/cgroup") or "")


def cpu_quota(folders: Mapping[str, Sequence[str]]) -> float | None:
    """CPUs that the tightest of the groups may use, such as 0.5; None without a limit."""
    quotas = [_quota_v1(folder) for folder in folders.get("v1:cpu", ())]
    quotas += [_quota_v2(folder) for folder in folders.get("v2", ())]
    return min((quota for quota in quotas if quota is not None), default=None)


def _mounts(mountinfo: str) -> list[tuple[str, tuple[str, str]]]:
    """(key, (root inside the hierarchy, mount point)) of every cgroup mount."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        place = (fields[3], fields[4])
        if kind[0] == "cgroup2":
            found.append(("v2", place))
        elif kind[0] == "cgroup":
            found += [(f"v1:{name}", place) for name in kind[2].split(",") if name in CONTROLLERS]
    return found


def _chain(root: str, mount: str, path: str) -> list[str]:
    inside = path.removeprefix(root.rstrip("/")) if path == root or path.startswith(root.rstrip("/") + "/") else ""
    parts = [part for part in inside.split("/") if part]
    if ".." in parts:
        parts = []
    return ["/".join([mount.rstrip("/"), *parts[:depth]]) for depth in range(len(parts), -1, -1)]


def _quota_v1(folder: str) -> float | None:
    quota, period = read_int(f"{folder}/cpu.cfs_quota_us"), read_int(f"{folder}/cpu.cfs_period_us")
    return quota / period if quota is not None and period and quota > 0 else None


def _quota_v2(folder: str) -> float | None:
    quota, *rest = (read_text(f"{folder}/cpu.max") or "max").split() or ["max"]
    period = rest[0] if rest else str(PERIOD_US)
    if not (quota.isdecimal() and period.isdecimal()) or not int(quota) or not int(period):
        return None
    return int(quota) / int(period)
