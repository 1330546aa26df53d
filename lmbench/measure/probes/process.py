"""A process and its descendants through /proc: CPU time, resident memory, threads, context switches (proc(5))."""

from __future__ import annotations

import os

from lmbench.base.kernel_file import KernelFile, list_names, read_text

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Positions in /proc/<pid>/stat counted after the closing parenthesis of the command name.
_STATE, _PARENT, _UTIME, _CSTIME, _THREADS, _RSS = 0, 1, 11, 14, 17, 21


class ProcessTree:
    """One root process and everything that descends from it, less `exclude`.

    `refresh` walks the children and is the expensive part; `read` only rereads descriptors that are open.
    CPU time counts reaped children through their parent's cutime and cstime, so that a short-lived child
    is not lost; the total never falls, although a child vanishes a moment before its parent is charged.
    """

    def __init__(self, root: int, exclude: frozenset[int] = frozenset()) -> None:
        self.root = root
        self._exclude = exclude
        self._stats: dict[int, KernelFile] = {}
        self._cpu_s = 0.0
        self._switches = (0, 0)
        self._per_thread: dict[int, tuple[int, int]] = {}
        self._first_switches = True
        self.refresh()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(self._stats)

    def refresh(self) -> None:
        """Find new descendants; orphans handed to init stay in the tree while they live."""
        pending = [self.root, *self._stats]
        seen: set[int] = set()
        while pending:
            pid = pending.pop()
            if pid in seen or pid in self._exclude:
                continue
            seen.add(pid)
            if pid not in self._stats:
                try:
                    self._stats[pid] = KernelFile(f"/proc/{pid}/stat", 1024)
                except OSError:
                    continue
            pending += children_of(pid)

    def read(self) -> dict[str, float] | None:
        """cpu_s (total so far), rss_bytes, threads, processes; None once the root has ended."""
        ticks = rss = threads = 0
        for pid, file in list(self._stats.items()):
            fields = _fields(file)
            if fields is None or (pid == self.root and fields[_STATE] in "ZX"):
                self._stats.pop(pid).close()
                continue
            ticks += sum(map(int, fields[_UTIME : _CSTIME + 1]))
            rss += int(fields[_RSS])
            threads += int(fields[_THREADS])
        if self.root not in self._stats:
            return None
        self._cpu_s = max(self._cpu_s, ticks / TICKS_PER_S)
        return {"cpu_s": self._cpu_s, "rss_bytes": rss * PAGE_BYTES, "threads": threads, "processes": len(self._stats)}

    def switches(self) -> dict[str, float]:
        """voluntary_switches and involuntary_switches since the first call, summed over threads.

        The kernel keeps them per thread; those of a thread that ended between two calls are lost.
        """
        voluntary, involuntary = self._switches
        current: dict[int, tuple[int, int]] = {}
        for pid in self._stats:
            for name in list_names(f"/proc/{pid}/task"):
                counts = _thread_switches(f"/proc/{pid}/task/{name}/status")
                if counts is None:
                    continue
                before = self._per_thread.get(int(name), counts if self._first_switches else (0, 0))
                voluntary += max(counts[0] - before[0], 0)
                involuntary += max(counts[1] - before[1], 0)
                current[int(name)] = counts
        self._per_thread, self._switches, self._first_switches = current, (voluntary, involuntary), False
        return {"voluntary_switches": voluntary, "involuntary_switches": involuntary}

    def uss_bytes(self) -> int | None:
        """Memory that no other process shares, from smaps_rollup; None where it may not be read.

        Walks page tables while holding the target's memory-map lock: up to 12 ms for a large process.
        """
        total = 0
        for pid in self._stats:
            text = read_text(f"/proc/{pid}/smaps_rollup")
            if text:
                total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
        return total * 1024 or None

    def close(self) -> None:
        for file in self._stats.values():
            file.close()
        self._stats.clear()


def children_of(pid: int) -> list[int]:
    """Direct children of all threads of `pid`, from /proc or, without CONFIG_PROC_CHILDREN, from every process's parent."""
    threads = list_names(f"/proc/{pid}/task")
    texts = [read_text(f"/proc/{pid}/task/{thread}/children") for thread in threads]
    if any(text is not None for text in texts) or not threads:
        return [int(child) for text in texts if text for child in text.split()]
    found = []
    for name in list_names("/proc"):
        stat = read_text(f"/proc/{name}/stat") if name.isdigit() else None
        if stat and int(split_stat(stat)[_PARENT]) == pid:
            found.append(int(name))
    return found


def split_stat(text: str) -> list[str]:
    """Fields of /proc/<pid>/stat from the state on; the command name may hold spaces and parentheses."""
    return text.rpartition(")")[2].split()


def _fields(file: KernelFile) -> list[str] | None:
    try:
        fields = split_stat(file.read())
    except OSError:
        return None
    return fields if len(fields) > _RSS else None


def _thread_switches(path: str) -> tuple[int, int] | None:
    text = read_text(path)
    if text is None:
        return None
    _, found, tail = text.rpartition("\nvoluntary_ctxt_switches:")
    numbers = tail.replace("nonvoluntary_ctxt_switches:", " ").split()
    return (int(numbers[0]), int(numbers[1])) if found and len(numbers) >= 2 else None
