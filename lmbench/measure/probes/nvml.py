"""NVIDIA devices through NVML; the only file that knows pynvml (package nvidia-ml-py).

A query a device does not support is asked once, its reason kept. A lost device keeps its reason and is left
alone; everything else goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LOST_CODES = (15, 16)
"""NVML_ERROR_GPU_IS_LOST and NVML_ERROR_RESET_REQUIRED."""
UNSUPPORTED_CODES = (3, 4, 13)
"""NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_FUNCTION_NOT_FOUND."""
THROTTLE_REASONS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}


class Nvml:
    """An initialised NVML with the handles of all devices; `close` shuts it down."""

    def __init__(self, library: Any) -> None:
        self._nvml = library
        self.devices = [Device(library, index) for index in range(library.nvmlDeviceGetCount())]

    @property
    def driver_version(self) -> str | None:
        try:
            return _text(self._nvml.nvmlSystemGetDriverVersion())
        except self._nvml.NVMLError:
            return None

    def read(self, pids: Iterable[int] | None = None) -> list[dict[str, float]]:
        """One row per device; a lost device's row is empty.

        `pids` are those whose device memory is summed as tree_memory_bytes; None leaves that slow query out.
        """
        wanted = None if pids is None else frozenset(pids)
        return [device.read(wanted) for device in self.devices]

    def close(self) -> None:
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return


class Device:
    """One device: static facts, the queries it still answers, the reasons of those it does not."""

    def __init__(self, library: Any, index: int) -> None:
        self._nvml = library
        self.index = index
        self.lost = ""
        self.reasons: dict[str, str] = {}
        self._handle: Any = None
        try:
            self._handle = library.nvmlDeviceGetHandleByIndex(index)
        except library.NVMLError as error:
            self.lost = f"device {index}: {error}"
        self._queries = {} if self.lost else self._all_queries()
        self._tree_query = not self.lost
        self.facts: dict[str, Any] = {
            "index": index,
            "name": self._once("name", self._name),
            "memory_total_bytes": self._once("memory_total_bytes", self._total),
        }

    def ids(self) -> dict[str, Any]:
        """uuid, and slices: the UUIDs of its MIG instances; what the driver does not say is None or absent."""
        return {"uuid": self._once("uuid", self._uuid), "slices": self._slices()}

    def read(self, pids: frozenset[int] | None) -> dict[str, float]:
        row: dict[str, float] = {}
        for name, query in list(self._queries.items()):
            self._ask(name, query, row)
        if pids is not None and self._tree_query:
            self._ask("tree_memory_bytes", lambda: self._tree_memory(pids), row)
        return row

    def _ask(self, name: str, query: Callable[[], float], row: dict[str, float]) -> None:
        if self.lost:
            return
        try:
            row[name] = query()
        except self._nvml.NVMLError as error:
            self._failed(name, error)

    def _all_queries(self) -> dict[str, Callable[[], float]]:
        nvml, handle = self._nvml, self._handle
        return {
            "utilization": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "memory_used_bytes": lambda: int(self._memory().used),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1e3,
            "energy_j": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3,
            "sm_clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM) * 1e6,
            "memory_clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM) * 1e6,
            "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
            # Drivers before 535 know only this older name; newer ones still answer to it.
            "throttle_reasons": lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        }

    def _memory(self) -> Any:
        return self._nvml.nvmlDeviceGetMemoryInfo(self._handle)

    def _tree_memory(self, pids: frozenset[int]) -> int:
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        return int(sum(entry.usedGpuMemory or 0 for entry in running if entry.pid in pids))

    def _name(self) -> str:
        return _text(self._nvml.nvmlDeviceGetName(self._handle))

    def _uuid(self) -> str:
        return _text(self._nvml.nvmlDeviceGetUUID(self._handle))

    def _slices(self) -> list[str]:
        if self.lost:
            return []
        found: list[str] = []
        try:
            for place in range(self._nvml.nvmlDeviceGetMaxMigDeviceCount(self._handle)):
                handle = self._nvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, place)
                found.append(_text(self._nvml.nvmlDeviceGetUUID(handle)))
        except self._nvml.NVMLError:
            return found  # the places are filled from the first; most devices have none
        return found

    def _total(self) -> int:
        return int(self._memory().total)

    def _once(self, name: str, query: Callable[[], Any]) -> Any:
        row: dict[str, Any] = {}
        self._ask(name, query, row)
        return row.get(name)

    def _failed(self, name: str, error: Any) -> None:
        """Keep why; give up on the query if it is not supported, on the device if it is lost."""
        self.reasons[name] = str(error)
        if error.value in LOST_CODES:
            self.lost = f"device {self.index}: {error}"
            self._queries = {}
        elif error.value in UNSUPPORTED_CODES:
            self._queries.pop(name, None)
            self._tree_query = self._tree_query and name != "tree_memory_bytes"


def open_nvml() -> tuple[Nvml | None, str]:
    """NVML ready to be read, or None and why: no binding, no driver, no device."""
    try:
        import ctypes

        # Tried first because importing the binding takes longer than everything else the sampler imports.
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None, "no NVIDIA driver: NVML Shared Library Not Found"
    try:
        import pynvml
    except ImportError:
        return None, "the NVML binding is missing: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return None, f"no NVIDIA driver: {error}"
    try:
        session = Nvml(pynvml)
    except pynvml.NVMLError as error:
        pynvml.nvmlShutdown()
        return None, f"NVML lists no devices: {error}"
    if not session.devices:
        session.close()
        return None, "NVML lists no devices"
    return session, ""


def throttle_names(mask: int) -> list[str]:
    """The set bits of nvmlClocksEventReasons as words, lowest bit first."""
    return [name for bit, name in THROTTLE_REASONS.items() if mask & bit]


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
