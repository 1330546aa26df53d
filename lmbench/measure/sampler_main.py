"""The sampler process: reads the probes on a fixed schedule and writes one JSON line per sample; sleeps in between.

Imports only what a sample needs, so that it starts fast. Line 1 is the header, the last line the footer, every
other line a row; totals (names in _s, _j, _switches) count from an arbitrary origin, only differences mean anything.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmbench.measure.clock import CLOCK, process_cpu_s
from lmbench.measure.probes.cgroup import Cgroup
from lmbench.measure.probes.nvml import open_nvml
from lmbench.measure.probes.pressure import Pressure
from lmbench.measure.probes.process import ProcessTree
from lmbench.measure.probes.rapl import Rapl

TREE_REFRESH_S = 0.5
USS_PERIOD_S = 2.0
USS_SHARE = 0.004
"""Largest share of one core spent on USS; a costlier target is read less often."""
FLUSH_S = 1.0
READY = b"ready\n"
PR_SET_PDEATHSIG = 1
PARENT_CHECK_S, PARENT_END_S = 0.02, 5.0
"""A process that is ending closes its pipes a moment before it is gone; how often and how long to look."""
STOPPED = "stopped"
"""The parent asked for it: it reads the file and deletes it."""
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Probes:
    """Every source, opened once; `row` reads them all."""

    def __init__(self, pid: int) -> None:
        self.tree = ProcessTree(pid, exclude=frozenset({os.getpid()}))
        self.pressure, self.cgroup, self.rapl = Pressure(), Cgroup(), Rapl()
        self.nvml, self.nvml_reason = open_nvml()
        self.reasons = {**self.pressure.reasons, **self.cgroup.reasons}
        if self.rapl.reason:
            self.reasons["rapl_j"] = self.rapl.reason
        self._refresh_at = self._uss_at = CLOCK.now()
        self._readers: dict[str, Callable[[], dict[str, float]]] = {"pressure": self.pressure.read, "cgroup": self.cgroup.read}
        if not self.rapl.reason:
            self._readers["rapl"] = self._joules

    def header(self) -> dict[str, Any]:
        nvml = [] if self.nvml is None else self.nvml.devices
        devices = None if self.nvml is None else [device.facts for device in nvml]
        driver = None if self.nvml is None else self.nvml.driver_version
        limits = self.cgroup.limits()
        found = {"limits": limits, "devices": devices, "driver": driver, "gpu_reason": self.nvml_reason, "reasons": self.reasons}
        return {**found, "device_ids": [device.ids() for device in nvml]}

    def footer(self) -> dict[str, Any]:
        """What is known only at the end: which devices were lost, which queries they refused."""
        devices = [] if self.nvml is None else self.nvml.devices
        return {"devices": [{"lost": device.lost, "reasons": device.reasons} for device in devices], "reasons": self.reasons}

    def row(self, now: float) -> dict[str, Any] | None:
        """One sample, or None once the root process has ended."""
        slow = now >= self._refresh_at
        if slow:
            self._refresh_at = now + TREE_REFRESH_S
            self.tree.refresh()
        usage = self.tree.read()
        if usage is None:
            return None
        row: dict[str, Any] = {"t": now, **usage}
        for name, reader in list(self._readers.items()):
            try:
                row |= reader()
            except OSError as error:
                self.reasons[name] = f"{name} went away while sampling: {error.strerror}"
                del self._readers[name]
        if slow:
            row |= self.tree.switches()
        if self.nvml is not None:
            row["devices"] = self.nvml.read(self.tree.pids if slow else None)
        if now >= self._uss_at:
            row |= self._uss(now)
        row["own_cpu_s"] = process_cpu_s()
        return row

    def _joules(self) -> dict[str, float]:
        return {"rapl_j": self.rapl.read() or 0.0}

    def _uss(self, now: float) -> dict[str, float]:
        before = process_cpu_s()
        uss = self.tree.uss_bytes()
        self._uss_at = now + max(USS_PERIOD_S, (process_cpu_s() - before) / USS_SHARE)
        if uss is None:
            self.reasons["uss_bytes"] = "smaps_rollup is missing or may not be read"
            return {}
        return {"uss_bytes": uss}


def run(pid: int, hz: float, path: str, parent: int) -> str:
    """Sample until stdin says or closes, the root ends or the parent is gone; returns which of them it was."""
    start, period = CLOCK.now(), 1.0 / hz
    probes = Probes(pid)
    with open(path, "w", encoding="utf-8") as stream:  # noqa: PTH123  pathlib costs the start-up time
        _write(stream, {"kind": "header", "pid": pid, "hz": hz, **probes.header()})
        tick, flush_at, why, ready = 0, start, "", False
        while not why:
            now = CLOCK.now()
            row = probes.row(now)
            if row is None:
                why = "the sampled process ended"
                break
            _write(stream, row)
            if now >= flush_at:
                stream.flush()
                flush_at = now + FLUSH_S
            if not ready:
                ready = bool(os.write(1, READY))
            tick = max(tick + 1, int((CLOCK.now() - start) / period) + 1)
            why = _wait(start + tick * period, parent)
        last = probes.row(CLOCK.now())
        if last is not None:
            _write(stream, last)
        _write(stream, {"kind": "footer", "why": why, **probes.footer()})
    return why


def _wait(moment: float, parent: int) -> str:
    """Sleep until `moment`; a word about why to stop, or an empty string.

    A forked sibling may hold the other end of stdin open after the parent was killed, hence the second test.
    """
    readable, _, _ = select.select([0], [], [], max(moment - CLOCK.now(), 0.0))
    if readable:
        return STOPPED if os.read(0, 1) else "the parent closed the pipe"
    return "" if os.getppid() == parent else "the parent ended"


def _wake_with_parent() -> None:
    """Let the parent's end continue this process where it is paused: else it would never notice (prctl(2))."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT, 0, 0, 0)


def _clear(folder: str, parent: int) -> None:
    """Delete the folder of a parent that has died; one that lives does it itself."""
    os.close(1)  # nobody waits for a first sample any more
    deadline = CLOCK.now() + PARENT_END_S
    while os.getppid() == parent and CLOCK.now() < deadline:
        if select.select([0], [], [], PARENT_CHECK_S)[0] and os.read(0, 1):
            return  # it lives and asks to stop
        CLOCK.sleep_until(CLOCK.now() + PARENT_CHECK_S)
    if os.getppid() != parent:
        from lmbench.base.scratch import remove

        remove(Path(folder))


def _write(stream: Any, value: dict[str, Any]) -> None:
    stream.write(_ENCODER.encode(value) + "\n")


def main() -> int:
    """Entry point: one argument, a JSON object with pid, hz, path, parent and the folder to leave nothing of."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they reach a whole group
        signal.signal(number, signal.SIG_IGN)  # the parent ends this process in order
    gc.disable()
    _wake_with_parent()
    options = json.loads(sys.argv[1])
    parent, folder = int(options["parent"]), options.get("folder")
    why = ""
    try:
        why = run(int(options["pid"]), float(options["hz"]), str(options["path"]), parent)
    finally:
        if folder is not None and why != STOPPED:
            _clear(str(folder), parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
