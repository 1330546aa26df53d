"""Kernels that show what the processor and its memory can do at most, through torch; run only to be timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lmbench.base.errors import Unavailable

MATMUL_DTYPES = ("fp32", "bf16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One call and the work it does: `amount` FLOPs (2 n^3 of a product) or bytes (read and written)."""

    name: str
    amount: float
    call: Callable[[], object]


def torch_version() -> str:
    """The version of torch; raises Unavailable when it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise Unavailable(
            "ceilings are measured with torch, which is not installed", "pip install 'pytest-lmbench[torch]'"
        ) from error
    return str(torch.__version__)


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Let torch compute with that many threads, and with as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def matmul(dtype: str, size: int) -> Kernel | None:
    """A product [n, n] x [n, n]^T of 2 n^3 FLOPs, laid out as a linear layer's; None where torch cannot do it here.

    The transposed right side is what models have, and some CPUs are ten times slower without it.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    if dtype == "int8":
        left = torch.randint(-128, 128, (size, size), dtype=torch.int8, generator=generator)
        weight = torch.randint(-128, 128, (size, size), dtype=torch.int8, generator=generator).t()
        try:
            torch._int_mm(left[:32], weight)
        except RuntimeError:
            return None
        return Kernel(name=f"int8 {size}", amount=2.0 * size**3, call=lambda: torch._int_mm(left, weight))
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]
    a = torch.randn(size, size, generator=generator).to(kind)
    b = torch.randn(size, size, generator=generator).to(kind)
    return Kernel(name=f"{dtype} {size}", amount=2.0 * size**3, call=lambda: _product(a, b))


def streams(array_bytes: int) -> list[Kernel]:
    """Streaming kernels over fp32 arrays of `array_bytes` each, far larger than the last-level cache.

    copy a = b moves 2 arrays, triad a = b + s c moves 3, sum reads 1 (McCalpin's STREAM counts the same way:
    the read that a store may cause is not counted).
    """
    import torch

    count = array_bytes // 4
    a, b, c = (torch.full((count,), value) for value in (1.0, 2.0, 3.0))
    moved = float(count * 4)
    return [
        Kernel(name="copy", amount=2 * moved, call=lambda: a.copy_(b)),
        Kernel(name="triad", amount=3 * moved, call=lambda: torch.add(b, c, alpha=0.5, out=a)),
        Kernel(name="sum", amount=moved, call=b.sum),
    ]


def _product(a: object, b: object) -> object:
    import torch

    with torch.inference_mode():
        return torch.nn.functional.linear(a, b)  # type: ignore[arg-type]
