"""Small pieces of CPU work by which a machine's ability to see slowdowns is measured; each is a counted loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

_WORDS = [f"token{number % 97}" for number in range(64)]
_SQUARE = np.linspace(0, 1, 48 * 48, dtype=np.float32).reshape(48, 48)
_STREAM = np.zeros(1 << 17, dtype=np.float32)
_TEXT = "def forward(ids, positions): return logits[0, 1:] + 3.14 * state  # comment\n" * 2
_TOKENS = re.compile(r"[A-Za-z_]\w*|\d+(?:\.\d+)?|[^\sA-Za-z_0-9]")


def interpreter(count: int) -> int:
    """Dictionary and string work of the interpreter."""
    table: dict[str, int] = {}
    for _ in range(count):
        for word in _WORDS:
            table[word] = table.get(word, 0) + len(word)
    return len(table)


def matmul(count: int) -> float:
    """Small single-precision matrix products."""
    product = _SQUARE
    for _ in range(count):
        product = _SQUARE @ _SQUARE
    return float(product[0, 0])


def stream(count: int) -> float:
    """Half a mebibyte read and written."""
    for _ in range(count):
        np.add(_STREAM, 1.0, out=_STREAM)
    return float(_STREAM[0])


def tokenise(count: int) -> int:
    """A regular expression over a few lines."""
    return sum(len(_TOKENS.findall(_TEXT)) for _ in range(count))


def queue(count: int) -> int:
    """An asyncio queue passed through, on one event loop."""

    async def pass_through() -> int:
        line: asyncio.Queue[int] = asyncio.Queue()
        total = 0
        for number in range(count):
            line.put_nowait(number)
            total += await line.get()
        return total

    return asyncio.run(pass_through())


KERNELS: dict[str, tuple[Callable[[int], object], int]] = {
    "interpreter": (interpreter, 10),
    "matmul": (matmul, 8),
    "stream": (stream, 4),
    "tokenise": (tokenise, 4),
    "queue": (queue, 60),
}
"""Name -> the work and a count that takes some tens of microseconds."""
FILE = "test_canaries.py"
_SOURCE = """import pytest
from lmbench.paired.canaries import KERNELS

CASES = [(name, size) for name in KERNELS for size in range(1, {sizes} + 1)]

@pytest.mark.parametrize(("name", "size"), CASES, ids=[f"{{name}}{{size}}" for name, size in CASES])
def test_canary(benchmark, name, size):
    work, count = KERNELS[name]
    benchmark(work, count * (size + 3) // 4)
"""


def write_canaries(folder: Path, *, sizes: int) -> list[str]:
    """Write a test file of every kernel at `sizes` sizes into `folder`; returns the node ids."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / FILE).write_text(_SOURCE.format(sizes=sizes), encoding="utf-8")
    return [f"{FILE}::test_canary[{name}{size}]" for name in KERNELS for size in range(1, sizes + 1)]
