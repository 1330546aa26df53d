"""Energy of CPU packages and memory from RAPL counters (https://docs.kernel.org/power/powercap/powercap.html)."""

from __future__ import annotations

from lmbench.base.kernel_file import KernelFile, list_names, open_file, read_int, read_text

POWERCAP = "/sys/class/powercap"


class Rapl:
    """The top-level energy counters, held open, unwrapped into totals that only grow."""

    def __init__(self, root: str = POWERCAP) -> None:
        self.reason = ""
        self._domains: list[_Domain] = []
        zones = [name for name in list_names(root) if name.startswith("intel-rapl:")]
        if not zones:
            self.reason = f"no RAPL counters: {root} has no intel-rapl zone"
        for zone in zones:
            folder = f"{root}/{zone}"
            name = read_text(f"{folder}/name") or zone
            # core and uncore are parts of their package, psys contains it: counting them would count twice.
            if not name.startswith(("package", "dram")):
                continue
            file, reason = open_file(f"{folder}/energy_uj", 64)
            if file is None:
                self.reason = f"{reason}; RAPL counters are readable by root only on most kernels"
                continue
            self._domains.append(_Domain(file, read_int(f"{folder}/max_energy_range_uj")))
        if zones and not self._domains and not self.reason:
            self.reason = f"{root} has no package or dram zone"

    def read(self) -> float | None:
        """Joules of all packages and their memory since the first read; None without counters."""
        if not self._domains:
            return None
        return sum(domain.read() for domain in self._domains)

    def close(self) -> None:
        for domain in self._domains:
            domain.file.close()


class _Domain:
    """One counter, which wraps at `range_uj` microjoules."""

    __slots__ = ("_last", "_range_uj", "_total_uj", "file")

    def __init__(self, file: KernelFile, range_uj: int | None) -> None:
        self.file = file
        self._range_uj = range_uj or 0
        self._last = int(file.read())
        self._total_uj = 0

    def read(self) -> float:
        now = int(self.file.read())
        self._total_uj += unwrapped(self._last, now, self._range_uj)
        self._last = now
        return self._total_uj / 1e6


def unwrapped(before: int, now: int, size: int) -> int:
    """Growth of a counter that starts again at 0 after `size`; 0 when it fell and the size is not known."""
    if now >= before:
        return now - before
    return now - before + size if size else 0
