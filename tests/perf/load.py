"""Competing load for experiments: a half-busy process and one that works in bursts, or many busy ones; gone with their parent."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np


def _half_busy() -> None:
    while True:
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            pass
        time.sleep(0.05)


def _bursts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    while True:
        end = time.perf_counter() + rng.exponential(2.0)
        while time.perf_counter() < end:
            pass
        time.sleep(rng.exponential(6.0))


def _busy() -> None:
    while True:
        pass


@contextmanager
def starving(per_cpu: int = 8) -> Iterator[None]:
    """So many processes for every CPU that what is measured mostly waits."""
    busy = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(per_cpu * len(os.sched_getaffinity(0)))]
    with _alive(busy):
        yield


@contextmanager
def competing(seed: int = 0) -> Iterator[None]:
    """Both processes, alive inside the block."""
    processes = [
        multiprocessing.Process(target=_half_busy, daemon=True),
        multiprocessing.Process(target=_bursts, args=(seed,), daemon=True),
    ]
    with _alive(processes):
        yield


@contextmanager
def _alive(processes: Sequence[multiprocessing.Process]) -> Iterator[None]:
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
