"""The recorded trace: 90 pairs of processes of five kernels, the same code on both sides, as numbers per pair."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

TRACE = Path(__file__).parent / "data" / "paired-rounds.jsonl"
KERNELS = ("py", "mm", "mem", "re", "aio")
Numbers = np.ndarray[Any, np.dtype[np.float64]]


@cache
def _lines() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in TRACE.read_text().splitlines())


@cache
def pair_numbers(kernel: str) -> Numbers:
    """ln(B / A) of each recorded pair: the median over its rounds of wall time."""
    both = [np.array(line[kernel])[:, :, 0] for line in _lines()]
    return np.array([float(np.median(np.log(one[1] / one[0]))) for one in both])


@cache
def run_medians(kernel: str) -> Numbers:
    """[pairs, 2]: the median wall time of each process alone, A and B."""
    return np.array([np.median(np.array(line[kernel])[:, :, 0], axis=1) for line in _lines()])
