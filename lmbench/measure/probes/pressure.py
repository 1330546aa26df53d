"""How much others were in the way: pressure stall information, stolen time, load average.

PSI: https://docs.kernel.org/accounting/psi.html. Steal: proc(5), /proc/stat.
"""

from __future__ import annotations

from lmbench.base.kernel_file import KernelFile, open_file
from lmbench.measure.clock import Clock
from lmbench.measure.probes.process import TICKS_PER_S

RESOURCES = ("cpu", "memory", "io")


class Pressure:
    """The system's gauges of contention, held open; `reasons` says what is missing and why."""

    def __init__(self, proc: str = "/proc") -> None:
        self.reasons: dict[str, str] = {}
        self._psi: list[tuple[str, KernelFile]] = []
        for resource in RESOURCES:
            file = self._open(f"psi_{resource}", f"{proc}/pressure/{resource}")
            if file is not None:
                self._psi.append((resource, file))
        # Only the first line, which sums all CPUs, is wanted.
        self._stat = self._open("steal_s", f"{proc}/stat", size=256)
        self._load = self._open("loadavg_1m", f"{proc}/loadavg", size=128)

    def read(self) -> dict[str, float]:
        """psi_<resource>_some_avg10 (percent), psi_<resource>_some_s, steal_s and busy_s (totals), loadavg_1m."""
        row: dict[str, float] = {}
        for resource, file in self._psi:
            some = parse_psi(file.read())
            if some is not None:
                row[f"psi_{resource}_some_avg10"], row[f"psi_{resource}_some_s"] = some
        if self._stat is not None:
            line = self._stat.read()
            row["steal_s"], busy = parse_steal(line), parse_busy(line)
            if busy is not None:
                row["busy_s"] = busy
        if self._load is not None:
            row["loadavg_1m"] = float(self._load.read().split()[0])
        return row

    def close(self) -> None:
        for file in (*(file for _, file in self._psi), self._stat, self._load):
            if file is not None:
                file.close()

    def _open(self, name: str, path: str, size: int = 4096) -> KernelFile | None:
        file, reason = open_file(path, size)
        if file is None:
            self.reasons[name] = reason
        return file


def parse_psi(text: str) -> tuple[float, float] | None:
    """(avg10 in percent, total in seconds) of the 'some' line of a pressure file."""
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == "some":
            values = dict(word.split("=", 1) for word in words[1:])
            return float(values["avg10"]), int(values["total"]) / 1e6
    return None


def parse_steal(text: str) -> float:
    """Seconds stolen by the hypervisor from all CPUs since boot: the eighth number of /proc/stat's first line."""
    numbers = text.split("\n", 1)[0].split()[1:]
    return int(numbers[7]) / TICKS_PER_S if len(numbers) > 7 else 0.0


def parse_busy(text: str) -> float | None:
    """Seconds that all CPUs worked since boot, for anybody here: user, nice, system and interrupts of /proc/stat's first line."""
    numbers = [int(word) for word in text.split("\n", 1)[0].split()[1:8]]
    if len(numbers) < 7:
        return None
    user, nice, system, _, _, irq, softirq = numbers
    return (user + nice + system + irq + softirq) / TICKS_PER_S


class Waiting:
    """The share of the time since the last look in which some task waited for a CPU."""

    def __init__(self, clock: Clock, proc: str = "/proc") -> None:
        self._clock = clock
        self._pressure = Pressure(proc)
        self._last = self._read()

    def look(self) -> float | None:
        """The share since the look before, or the start; None where the kernel does not know."""
        before, self._last = self._last, self._read()
        if before is None or self._last is None or self._last[0] <= before[0]:
            return None
        return (self._last[1] - before[1]) / (self._last[0] - before[0])

    def close(self) -> None:
        self._pressure.close()

    def _read(self) -> tuple[float, float] | None:
        total = self._pressure.read().get("psi_cpu_some_s")
        return None if total is None else (self._clock.now(), total)
