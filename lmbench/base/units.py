"""Units as printed: SI inside, pretty outside; binary prefixes for bytes, decimal for everything else."""

from __future__ import annotations

import math

UNKNOWN = "-"
_DECIMAL = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
_BINARY = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B"))


def pretty(value: float | None, unit: str) -> str:
    """`value` of `unit` for a person: 0.0123 s -> '12.3 ms', 3e9 bytes -> '2.79 GiB', None -> '-'.

    `unit` is the unit as records store it: s, bytes, FLOP/s, bytes/s, tokens/s, 1 (a ratio), count, ...
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if unit == "s":
        return _scaled(value, _SMALL, "s")
    if unit in ("bytes", "bytes/token"):
        return _binary(value) + ("/token" if unit != "bytes" else "")
    if unit == "count":
        return f"{value:,.0f}"
    if unit in ("1", "bits/byte"):
        return f"{value:.4g}" + (f" {unit}" if unit != "1" else "")
    return _scaled(value, _DECIMAL, "B/s" if unit == "bytes/s" else unit)


def pretty_change(ratio: float | None) -> str:
    """A ratio now/then as a signed percentage: 1.05 -> '+5.0 %'."""
    if ratio is None or not math.isfinite(ratio):
        return UNKNOWN
    return f"{(ratio - 1) * 100:+.1f} %"


def duration(seconds: float) -> str:
    """Seconds for a person: '42 s', '5 min 12 s', '1 h 03 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _scaled(value: float, scales: tuple[tuple[float, str], ...], unit: str) -> str:
    for factor, prefix in scales:
        if abs(value) >= factor:
            return (
                f"{value / factor:.3g} {prefix}{unit}" if abs(value) / factor < 1000 else f"{value / factor:.0f} {prefix}{unit}"
            )
    factor, prefix = scales[-1]
    return f"{value / factor:.3g} {prefix}{unit}"


def _binary(value: float) -> str:
    for factor, suffix in _BINARY:
        if abs(value) >= factor:
            return f"{value / factor:.0f} B" if suffix == "B" else f"{value / factor:.4g} {suffix}"
    return f"{value:.0f} B"
