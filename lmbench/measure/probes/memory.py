"""Resident memory of this process and its resettable high-water mark (proc(5): VmRSS, VmHWM, clear_refs)."""

from __future__ import annotations

import os

from lmbench.base.kernel_file import read_text
from lmbench.measure.probes.process import PAGE_BYTES


def reset_peak() -> bool:
    """Set VmHWM back to the present VmRSS; False where the kernel does not allow it.

    getrusage's ru_maxrss cannot be reset and is inherited across fork, hence VmHWM.
    """
    try:
        descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, b"5")
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def peak_rss_bytes() -> int | None:
    """Highest resident memory since the start of the process or the last `reset_peak`; None without /proc."""
    return _status_bytes("VmHWM:")


def rss_bytes() -> int | None:
    """Resident memory now; None without /proc."""
    text = read_text("/proc/self/statm")
    return None if text is None else int(text.split()[1]) * PAGE_BYTES


def available_bytes() -> int | None:
    """What the system could still hand out without swapping (MemAvailable); None without /proc."""
    return meminfo().get("MemAvailable")


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes, by the kernel's names; empty without /proc."""
    table = {}
    for line in (read_text("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        table[name] = int(words[0]) * (1024 if len(words) > 1 else 1)
    return table


def _status_bytes(name: str) -> int | None:
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None
