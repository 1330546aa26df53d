"""Metrics that come from what an engine, a trainer or the kernel tells, each None with a reason where it does not."""

from __future__ import annotations

from collections.abc import Mapping

from lmbench.measure.measurement import Metric, metric
from lmbench.measure.probes.memory import peak_rss_bytes


def known(name: str, value: float | None, *, n: int | None = None, reason: str) -> Metric:
    """A metric whose `reason` is kept only where the value is not known."""
    return metric(name, value, n=n, reason=reason if value is None else "")


def described(name: str, facts: Mapping[str, object], key: str | None = None) -> Metric:
    """The metric `name` from the number an engine or trainer tells under `key` (its name unless given)."""
    value = facts.get(key or name)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return known(name, number, reason=f"{facts.get('engine', 'the engine')} does not tell its {key or name}")


def peak_rss(highest: int | None = None) -> Metric:
    """`peak_rss_bytes` now, or `highest` where an earlier peak of the same workload was higher."""
    peaks = [peak for peak in (highest, peak_rss_bytes()) if peak is not None]
    return known("peak_rss_bytes", max(peaks, default=None), reason="this kernel has no /proc/self/status to ask")


def device_peak(facts: Mapping[str, object]) -> Metric:
    """`device_peak_bytes`: the allocator's peak as the engine tells it; None on the host, which has no such allocator."""
    if facts.get("device", "cpu") == "cpu":
        return metric("device_peak_bytes", None, reason="the engine runs on the CPU: there is no device allocator to ask")
    return described("device_peak_bytes", facts)
