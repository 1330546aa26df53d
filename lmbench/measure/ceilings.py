"""What this machine can do at most, measured: matmul FLOP/s per dtype and memory bandwidth, the denominators of MFU and MBU."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from lmbench.base.cache import build_once, entries
from lmbench.base.errors import StoreError, Unreadable
from lmbench.base.files import write_atomically
from lmbench.base.json_text import read_note
from lmbench.base.threads import thread_budget
from lmbench.base.typed import made
from lmbench.measure.clock import CLOCK, Clock, utc_now
from lmbench.measure.machine import machine_class
from lmbench.measure.probes.matmul import MATMUL_DTYPES, Kernel, matmul, on_threads, streams, torch_version
from lmbench.measure.probes.memory import available_bytes

SIZES = (256, 512, 1024, 1536, 2048)
LONGEST_CALL_S = 0.25
"""A larger product is tried only while it should take less: without hardware support bf16 is 100 times slower."""
TRIES, TRY_S = 10, 0.15
BUDGET_S = 3.0
"""Seconds over which the repetitions are spread, so that a burst of foreign load does not hit all of one kernel."""
MIN_REPETITIONS = 3
STREAM_BYTES = 256 << 20
INT8 = "int8"
KIND, FILE = "ceilings", "ceilings.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """Measured peaks of one machine class."""

    matmul_flops: Mapping[str, float]
    """dtype ('fp32', 'bf16', 'int8') -> FLOP/s of the best large matrix product."""
    memory_bytes_per_s: float | None
    """Bytes read and written per second by the best large streaming kernel."""
    measured_at: str
    details: Mapping[str, object] = field(default_factory=dict)
    """Rate of every kernel by name, repetitions, machine class, torch version, threads."""

    @property
    def threads(self) -> int | None:
        """Threads that the kernels computed with."""
        found = self.details.get("threads")
        return found if isinstance(found, int) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoCeilings:
    """There are none for a case, and why; the reason names the command that measures them."""

    reason: str


Peaks = Ceilings | NoCeilings | None
"""What MFU and MBU are computed against; None where nobody looked for ceilings."""


def command(threads: int | None, *, refresh: bool = False) -> str:
    """The command that measures the ceilings of that many threads."""
    parts = ("lmbench ceilings", "" if threads is None else f"--threads {threads}", "--refresh" if refresh else "")
    return " ".join(filter(None, parts))


def ceilings(progress: Callable[[str], None] | None = None, *, threads: int | None = None, refresh: bool = False) -> Ceilings:
    """This machine's ceilings, measured once per machine class, torch version and thread count; `refresh` replaces them.

    `threads` is the budget of this process unless given. Raises Unavailable when torch is not installed.
    """
    count = threads or thread_budget().threads
    key = {"machine": machine_class().digest, "torch": torch_version(), "threads": count}
    fresh: list[Ceilings] = []

    def build(folder: Path) -> None:
        fresh.append(measure_ceilings(progress, count))
        _write(folder / FILE, fresh[0])

    path = build_once(KIND, key, build) / FILE
    kept = _kept(path)
    if kept is None or (refresh and not fresh):
        _write(path, measure_ceilings(progress, count))
        kept = _kept(path)
    if kept is None:
        raise StoreError(f"{path}: found what are no ceilings, right after they were written; run: lmbench cache clear ceilings")
    return kept


def _kept(path: Path) -> Ceilings | None:
    """The ceilings in a file; None for a damaged one, which is measured anew."""
    try:
        return made(Ceilings, read_note(path))
    except Unreadable:
        return None


def known_ceilings(threads: int | None, device: str = "cpu") -> Ceilings | NoCeilings:
    """The newest ceilings that were measured on this machine with that many threads; it measures nothing."""
    if device != "cpu":
        return NoCeilings(reason=f"ceilings are those of the CPU, and this case ran on {device}")
    if threads is None:
        return NoCeilings(reason="the engine does not say how many threads it computes with, so its ceilings are not known")
    machine = machine_class().digest
    wanted = (entry for entry in entries(KIND) if entry.key.get("machine") == machine and entry.key.get("threads") == threads)
    found = [kept for entry in wanted if (kept := _kept(entry.path / FILE)) is not None]
    if not found:
        reason = f"no ceilings of this machine were measured with {threads} thread{'s' if threads > 1 else ''}"
        return NoCeilings(reason=f"{reason}: run `{command(threads)}`")
    return max(found, key=lambda one: one.measured_at)


def measure_ceilings(progress: Callable[[str], None] | None, threads: int) -> Ceilings:
    """Measure now with that many threads, in about 6 s: the best of interleaved repetitions of every kernel."""
    with on_threads(threads):
        return _measured(progress or (lambda _: None), {"torch": torch_version(), "threads": threads})


def _measured(say: Callable[[str], None], facts: Mapping[str, object]) -> Ceilings:
    products = {dtype: _largest(partial(matmul, dtype), CLOCK) for dtype in MATMUL_DTYPES}
    spare = available_bytes()
    memory = streams(STREAM_BYTES if spare is None else min(STREAM_BYTES, spare // 8))
    kernels = [*(kernel for group in products.values() for kernel in group), *memory]
    say(f"measuring ceilings with {facts['threads']} threads: {len(kernels)} kernels, {BUDGET_S:g} s")
    best, repetitions = best_seconds(kernels, CLOCK, BUDGET_S)
    rates = {kernel.name: kernel.amount / best[kernel.name] for kernel in kernels}
    peaks = {dtype: max(rates[kernel.name] for kernel in group) for dtype, group in products.items() if group}
    if peaks.get(INT8, 0.0) < peaks.get("fp32", 0.0):
        # Without VNNI or AMX torch multiplies int8 in a plain loop: its rate is that loop's, not the machine's.
        peaks.pop(INT8, None)
    details: dict[str, object] = {"rates": rates, "repetitions": repetitions, "machine_class": machine_class().slug, **facts}
    return Ceilings(
        matmul_flops=peaks,
        memory_bytes_per_s=max(rates[kernel.name] for kernel in memory),
        measured_at=utc_now(),
        details=details,
    )


def best_seconds(kernels: Sequence[Kernel], clock: Clock, budget_s: float) -> tuple[dict[str, float], int]:
    """Fastest call of each kernel by name, over rounds that run every kernel in turn; and the number of rounds."""
    best: dict[str, float] = {}
    begun, rounds = clock.now(), 0
    while rounds < MIN_REPETITIONS or clock.now() - begun < budget_s:
        for kernel in kernels:
            seconds = _seconds(kernel, clock)
            best[kernel.name] = min(seconds, best.get(kernel.name, seconds))
        rounds += 1
    return best, rounds


def _largest(make: Callable[[int], Kernel | None], clock: Clock) -> list[Kernel]:
    """The two largest products that should stay below LONGEST_CALL_S, judged from the size before."""
    found: list[Kernel] = []
    expected = 0.0
    for size, following in zip(SIZES, (*SIZES[1:], SIZES[-1]), strict=True):
        kernel = make(size) if expected <= LONGEST_CALL_S else None
        if kernel is None:
            break
        _seconds(kernel, clock)  # the first call allocates and picks a kernel
        found.append(kernel)
        expected = _best_of(kernel, clock) * (following / size) ** 3
    return found[-2:]


def _best_of(kernel: Kernel, clock: Clock) -> float:
    """Fastest of a few calls: one alone may have been preempted, and would rule out every larger size."""
    begun = clock.now()
    best = _seconds(kernel, clock)
    for _ in range(TRIES - 1):
        if clock.now() - begun > TRY_S:
            break
        best = min(best, _seconds(kernel, clock))
    return best


def _seconds(kernel: Kernel, clock: Clock) -> float:
    begun = clock.now()
    kernel.call()
    return max(clock.now() - begun, 1e-9)


def _write(path: Path, value: Ceilings) -> None:
    write_atomically(path, json.dumps(asdict(value), indent=1))
