"""Competing load for experiments: one half-busy process and one that works in bursts, gone with their parent."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
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


@contextmanager
def competing(seed: int = 0) -> Iterator[None]:
    """Both processes, alive inside the block."""
    processes = [
        multiprocessing.Process(target=_half_busy, daemon=True),
        multiprocessing.Process(target=_bursts, args=(seed,), daemon=True),
    ]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()
